"""What the page carries for its figures: names and axes as JSON, numbers as one block of typed arrays.

Five planes stand for each grid, in the order of `PLANES`, row-major over checkpoint x site, little-endian float32. Values and interval
ends keep 16 bits of mantissa (a relative error of at most 1/131,072, beyond what is ever shown), so that they compress; the exact numbers
stay in the tidy table. Bytes of equal rank are stored together, which compresses better still.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Measurement
from trustrace.report import glossary
from trustrace.report.axis import checkpoint_axis
from trustrace.report.findings import chosen_sites, finding
from trustrace.report.grids import Grid, Series, Trace, View
from trustrace.report.information_payload import information_payload
from trustrace.report.packing import packed, plane
from trustrace.report.palette import DARK, FLOOR_DASHES, LIGHT, depth_colours

PLANES = ("value", "lower", "upper", "n", "notes")


def payload(trace: Trace) -> dict[str, Any]:
    """Everything the page's figures and their tables need, as plain values."""
    grids = sorted(trace.grids.values(), key=lambda grid: (grid.address.view.preference, str(grid.address)))
    return {
        "series": {name: _series(series) for name, series in trace.series.items()},
        "datasets": [{"name": name, "title": glossary.dataset_title(name)} for name in trace.datasets],
        "grids": [_address(grid) for grid in grids],
        "floors": [_floor(row) for row in trace.text_floors],
        "choices": [choice for view in trace.views for choice in _choices(trace, view)],
        "notes": list(trace.notes),
        "terms": _terms(trace),
        "dashes": {name: dash[1] for name, dash in FLOOR_DASHES.items()},
        "palettes": {"light": asdict(LIGHT), "dark": asdict(DARK)},
        "numbers": packed([plane(grid, name) for grid in grids for name in PLANES]),
        "information": information_payload(trace),
    }


def as_json(content: dict[str, Any]) -> str:
    """JSON that may stand inside a script element: no character in it can end the element or open a comment."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _series(series: Series) -> dict[str, Any]:
    axis = checkpoint_axis(series.checkpoints)
    colours = {name: depth_colours(len(series.sites), theme) for name, theme in (("light", LIGHT), ("dark", DARK))}
    return {
        **asdict(axis),
        "limits": axis.limits,
        "columns": [_column(checkpoint) for checkpoint in series.columns],
        "n_checkpoints": len(series.checkpoints),
        "sites": series.sites,
        "colours": colours,
    }


def _column(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"key": checkpoint.key, "step": checkpoint.step, "tokens_seen": checkpoint.tokens_seen}


def _address(grid: Grid) -> dict[str, Any]:
    address = grid.address
    return {**asdict(address.view), "method": address.method, "role": address.role, "quantity": address.quantity}


def _floor(row: Measurement) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(row).items()
    }


def _choices(trace: Trace, view: View) -> Iterable[dict[str, Any]]:
    """The chosen site of every checkpoint, which of them lie above every floor, and the first that does; for each probe."""
    for method in sorted({address.method for address in trace.grids if address.view == view}):
        found = finding(trace, view, method=method)
        above = {} if found is None else dict(zip((r.column for r in found.best), found.above, strict=True))
        yield {
            **asdict(view),
            "method": method,
            "sites": chosen_sites(trace, view, method=method).tolist(),
            "above": [column for column, is_above in above.items() if is_above],
            "first": found.first.column if found and found.first else None,
        }


def _terms(trace: Trace) -> dict[str, Any]:
    used = {(address.quantity, address.method) for address in trace.grids}
    floors = {row.method for row in trace.text_floors} | {"input_embedding", "random_initialisation"}
    return {
        "quantities": {
            name: _term(glossary.quantity(name)) for name in _ordered({q for q, _ in used}, glossary.QUANTITIES)
        },
        "methods": {name: _term(glossary.method(name)) for name in _ordered({m for _, m in used}, glossary.METHODS)},
        "floors": {name: _term(glossary.floor(name)) for name in _ordered(floors, glossary.FLOORS)},
    }


def _ordered(names: set[str], known: Iterable[str]) -> list[str]:
    return [name for name in known if name in names] + sorted(names - set(known))


def _term(term: glossary.Term) -> dict[str, str]:
    return {"title": term.title, "axis": term.axis_title, "sentence": term.sentence, "better": term.better}
