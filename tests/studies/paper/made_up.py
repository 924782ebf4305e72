"""Run folders with made-up numbers, as runs lay them down."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trustrace.core.measurements import Measurement
from trustrace.runs.table import as_table, write_table
from trustrace.studies.paper.compare import Comparison, compare

CHAT, EARLY = "LLM360--AmberChat@main", "LLM360--Amber@ckpt_179"
ROW = Measurement(
    quantity="truth",
    method="judge",
    value=0.4,
    lower=0.35,
    upper=0.45,
    n=407,
    n_groups=407,
    role="measured",
    note="",
    dataset="truthfulqa/test",
    checkpoint=CHAT,
    step=None,
    tokens_seen=None,
    site="",
    position="",
    protocol="published",
    seed=0,
)

Choice = tuple[str, str, float]
"""Vector, site and strength."""


def at(value: float, *, wide: float = 0.05, **changes: Any) -> Measurement:
    """A row of `value`, with an interval `wide` to either side."""
    return replace(ROW, **{"value": value, "lower": value - wide, "upper": value + wide, **changes})


def steered(source: str, value: float, *, contrast: str = "reliability/published", **changes: Any) -> Measurement:
    """A row of a model that is steered by a vector of `source`."""
    place = {"alpha": 2.0, "site": "block_18"}
    return at(value, **{"vector": f"published:{contrast}@{source}", **place, **changes})


def probed(block: int, step: int, value: float, **changes: Any) -> Measurement:
    """The accuracy of a probe."""
    known = {"quantity": "accuracy", "method": "logistic", "dataset": "reliability/published", "step": step}
    place = {"checkpoint": f"LLM360--Amber@ckpt_{step}", "site": f"block_{block}"}
    return at(value, **{**known, **place, **changes})


def write_run(
    folder: Path,
    rows: Iterable[Measurement],
    *,
    study: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
    chosen: Sequence[Choice] = (),
    quantity: str = "truth",
    better: str = "higher",
) -> Path:
    """A run of `rows`; with `chosen` one whose search kept these settings by `quantity` on the development half of TruthfulQA."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(as_table(list(rows)), folder / "measurements.parquet")
    (folder / "study.json").write_text(json.dumps({"study": "steer", "unit": "projection_std"} | dict(study or {})))
    (folder / "manifest.json").write_text(json.dumps(dict(manifest or {})))
    if chosen:
        unit = folder / "units" / "search-made-up"
        unit.mkdir(parents=True)
        (unit / "chosen.json").write_text(json.dumps({"chosen": [list(one) for one in chosen], "better": better}))
        inputs = {
            "quantity": [quantity, None],
            "target": [CHAT, ""],
            "task": {"name": "truthfulqa"},
            "unit": "projection_std",
        }
        (unit / "record.json").write_text(json.dumps({"step": "search", "name": "", "inputs": inputs}))
    return folder


def compared(folder: Path, *rows: Measurement, as_: str = "", **told: Any) -> Comparison:
    """One run of `rows`, beside the paper."""
    return compare([f"{as_}{write_run(folder / 'run', rows, **told)}"])


def cells(found: Comparison, who: str, column: str, *, table: int = 1) -> list[dict[str, Any]]:
    """The lines of a cell."""
    return [
        one.as_row() for one in found.cells if (one.cell.table, one.cell.who, one.cell.column) == (table, who, column)
    ]


def cell(found: Comparison, who: str, column: str, *, table: int = 1) -> dict[str, Any]:
    """The one line of a cell."""
    (one,) = cells(found, who, column, table=table)
    return one


def said(found: Comparison, where: str, about: str = "") -> list[Any]:
    """The findings on a figure whose claim names `about`."""
    return [one for one in found.findings if one.where == where and about in one.paper]
