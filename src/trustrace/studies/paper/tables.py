"""The paper's tables, cell by cell, beside what runs hold."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trustrace.core.measurements import Measurement
from trustrace.studies.paper.numbers import AMBER, CELLS, COLUMNS, CONTRASTS, ROWS, Cell
from trustrace.studies.paper.reading import Run
from trustrace.studies.paper.winners import placed, setting_of, winners

_TUNED = ("full", "lora")


@dataclass(frozen=True, kw_only=True)
class Ours:
    """A number of ours that may stand in a cell.

    Attributes:
        row: The number.
        run: The run that says so.
        setting: What was done to the model, for a reader; empty for nothing.
    """

    row: Measurement
    run: str
    setting: str = ""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One cell of the paper, and ours.

    Attributes:
        cell: The paper's.
        ours: Ours; None where the runs lack it.
    """

    cell: Cell
    ours: Ours | None

    @property
    def is_inside(self) -> bool | None:
        """Whether the paper's value lies in our interval; None where we have none."""
        if self.ours is None or not (math.isfinite(self.ours.row.lower) and math.isfinite(self.ours.row.upper)):
            return None
        return self.ours.row.lower <= self.cell.value <= self.ours.row.upper

    @property
    def verdict(self) -> str:
        """The same in words; of another model it would mean nothing."""
        if self.ours is None:
            return "missing"
        if not self.ours.row.checkpoint.startswith(AMBER):
            return "another model"
        return {True: "yes", False: "no", None: "no interval"}[self.is_inside]

    def as_row(self) -> dict[str, Any]:
        """As a line of a table of its own."""
        row = self.ours.row if self.ours else None
        return {
            "where": self.cell.source,
            "row": ROWS[self.cell.who],
            "column": self.cell.column,
            "paper": self.cell.value,
            "ours": row and row.value,
            "lower": row and row.lower,
            "upper": row and row.upper,
            "n": row and row.n,
            "paper in our interval": self.verdict,
            "run": self.ours.run if self.ours else "",
            "protocol": row.protocol if row else "",
            "model": row.checkpoint if row else "",
            "ours is": f"{row.dataset} {row.quantity} by {row.method}" if row else "",
            "setting": self.ours.setting if self.ours else "",
        }


def beside(runs: Sequence[Run]) -> list[Beside]:
    """Every cell of the tables, as often as numbers of ours may stand beside it, and at least once."""
    found = []
    for cell in CELLS:
        ours = [Beside(cell=cell, ours=one) for one in _matching(cell, runs)]
        found += ours or [Beside(cell=cell, ours=None)]
    return found


def several_graders(cells: Sequence[Beside]) -> list[str]:
    """Of each task whose cells are graded by several: numbers of two graders do not compare."""
    graders: dict[str, dict[str, None]] = {}
    for one in cells:
        if one.ours:
            graders.setdefault(f"{one.ours.row.dataset} {one.ours.row.quantity}", {})[one.ours.row.method] = None
    return [
        f"{what} is graded by {' and by '.join(methods)}: these do not compare."
        for what, methods in graders.items()
        if len(methods) > 1
    ]


def _matching(cell: Cell, runs: Sequence[Run]) -> Iterator[Ours]:
    """Of every run, model and protocol, each number that may stand in a cell."""
    for task, quantity in COLUMNS[cell.column]:
        by_run = [(run, _of_task(run, task, quantity)) for run in runs]
        usual = _most_used([row for _, rows in by_run for row in rows])
        for run, rows in by_run:
            method = usual if any(row.method == usual for row in rows) else _most_used(rows)
            yield from _of(cell, run, [row for row in rows if row.method == method])


def _of_task(run: Run, task: str, quantity: str) -> list[Measurement]:
    return [
        row
        for row in run.rows
        if row.dataset == f"{task}/test" and row.quantity == quantity and run.whose(row.checkpoint) is not None
    ]


def _most_used(rows: Sequence[Measurement]) -> str:
    """By whom a column is graded wherever it can be: whoever graded most rows, the first of equals."""
    counts = Counter(row.method for row in rows)
    return max(counts, key=lambda method: counts[method], default="")


def _of(cell: Cell, run: Run, rows: Sequence[Measurement]) -> Iterator[Ours]:
    if cell.who in ("early", "own"):
        yield from _steered(cell, run, rows)
        return
    for row in rows:
        kind = row.vector.partition(":")[0]
        is_tuned = cell.who in _TUNED and kind == cell.who
        if is_tuned or (not kind and run.whose(row.checkpoint) == cell.who):
            yield Ours(row=row, run=run.name, setting=placed(run, row, run.unit))


def _steered(cell: Cell, run: Run, rows: Sequence[Measurement]) -> Iterator[Ours]:
    by_setting: dict[tuple[str, str, str, float], list[Measurement]] = {}
    for row in rows:
        by_setting.setdefault(setting_of(row), []).append(row)
    for target in dict.fromkeys(row.checkpoint for row in rows):
        for winner in winners(run, target, CONTRASTS[cell.table], is_own=cell.who == "own"):
            for row in by_setting.get(winner.setting, []):
                yield Ours(row=row, run=run.name, setting=winner.says)
