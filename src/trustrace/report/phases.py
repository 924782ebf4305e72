"""From rows that speak of a whole course of training to one value per site and measure; chosen and counted, never computed."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trustrace.core.errors import RunError
from trustrace.report.axis import CheckpointAxis
from trustrace.report.grids import Moment, Phase, Trace, View
from trustrace.report.information import CALIBRATED, SPECTRUM, main_method, phase_part

TWO_PHASES = "rises then falls"
_KEY = ("dataset", "checkpoint", "protocol", "position", "seed", "site", "method")


def without_phases(table: pa.Table) -> tuple[pa.Table, tuple[Phase, ...]]:
    """`table` without its rows on phases, and what these say.

    Raises:
        RunError: two rows say the same thing of one site, so that one of them would be lost.
    """
    names = [name for name in pc.unique(table.column("quantity")).to_pylist() if name and phase_part(name)]
    if not names:
        return table, ()
    says = pc.is_in(table.column("quantity"), value_set=pa.array(names))
    return table.filter(pc.invert(says)), tuple(_phases(table.filter(says).to_pylist()))


def judged(trace: Trace, view: View) -> dict[tuple[str, str, bool], Phase]:
    """What the main estimator and the spectrum say of `view`, by site, measure, and whether it is calibrated."""
    methods = {main_method(trace, view), SPECTRUM}
    return {
        (phase.site, phase.quantity, phase.is_calibrated): phase
        for phase in trace.phases
        if phase.view == view and phase.method in methods
    }


def peak_place(phase: Phase, axis: CheckpointAxis) -> tuple[float, float, float] | None:
    """Where the peak of a rise and fall and the ends of its interval stand on `axis`; None where there is no such place."""
    if phase.shape != TWO_PHASES or phase.peak is None:
        return None
    value, lower, upper = (
        axis.place(end, phase.unit) for end in (phase.peak.value, phase.peak.lower, phase.peak.upper)
    )
    return None if math.isnan(value) else (value, lower, upper)


def _phases(rows: list[dict[str, Any]]) -> Iterator[Phase]:
    said: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        stem, part = phase_part(row["quantity"]) or ("", "")
        parts = said.setdefault((*(row[name] for name in _KEY), stem), {})
        if part in parts:
            raise RunError(
                f"measurements.parquet: 2 rows claim {row['quantity']} ({row['method']}) of {row['dataset']} at {row['site']}, protocol "
                f"{row['protocol']}, seed {row['seed']}; one of them would be lost; keep one row per place"
            )
        parts[part] = row
    for (*_, stem), parts in said.items():
        if "shape" in parts:  # Without a shape nothing is known to have been judged.
            yield _phase(stem, parts)


def _phase(stem: str, parts: Mapping[str, Mapping[str, Any]]) -> Phase:
    shape = parts["shape"]
    view = View(
        dataset=shape["dataset"],
        model=shape["checkpoint"].rpartition("@")[0],
        protocol=shape["protocol"],
        position=shape["position"] or "",
        seed=shape["seed"],
    )
    return Phase(
        view=view,
        site=shape["site"] or "",
        quantity=stem.removesuffix(CALIBRATED),
        is_calibrated=stem.endswith(CALIBRATED),
        method=shape["method"],
        unit="steps" if shape["tokens_seen"] is None else "tokens",
        shape=shape["note"] or "",
        q=_number(shape["value"]),
        tests={part: _number(row["value"]) for part, row in parts.items() if part[-1] in "pq" and " " in part},
        peak=_moment(parts.get("peak")),
        onset=_moment(parts.get("onset")),
    )


def _moment(row: Mapping[str, Any] | None) -> Moment | None:
    if row is None:
        return None
    value, lower, upper = (_number(row[plane]) for plane in ("value", "lower", "upper"))
    return Moment(value=value, lower=lower, upper=upper, note=row["note"] or "")


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
