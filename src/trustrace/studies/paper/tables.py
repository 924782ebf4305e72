"""The paper's tables, cell by cell, beside what a run holds."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trustrace.studies.paper.numbers import AMBER, CELLS, COLUMNS, CONTRASTS, ROWS, Cell, Who

Row = Mapping[str, Any]
"""A row of the tidy table."""

EARLIER = "ckpt_179"
_TUNED = ("full", "lora")


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Rows of a run.

    Attributes:
        rows: Its tidy table.
        who: Whose rows its unsteered ones are: of a tuned model, unless said otherwise.
    """

    rows: Sequence[Row]
    who: Who = "plain"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One cell of the paper, and ours.

    Attributes:
        cell: The paper's.
        row: Ours; None where the runs lack it.
    """

    cell: Cell
    row: Row | None

    @property
    def is_inside(self) -> bool | None:
        """Whether the paper's value lies in our interval; None where we have none."""
        if self.row is None or not all(math.isfinite(self.row[end]) for end in ("lower", "upper")):
            return None
        return bool(self.row["lower"] <= self.cell.value <= self.row["upper"])

    @property
    def verdict(self) -> str:
        """The same in words; of another model it would mean nothing."""
        if self.row is None:
            return "missing"
        if not str(self.row["checkpoint"]).startswith(AMBER):
            return "another model"
        return {True: "yes", False: "no", None: "no interval"}[self.is_inside]

    def as_row(self) -> dict[str, Any]:
        """As a line of a table of its own."""
        ours = self.row or {}
        return {
            "where": self.cell.source,
            "row": ROWS[self.cell.who],
            "column": self.cell.column,
            "paper": self.cell.value,
            "ours": ours.get("value"),
            "lower": ours.get("lower"),
            "upper": ours.get("upper"),
            "n": ours.get("n"),
            "paper in our interval": self.verdict,
            "ours is": described(self.row) if self.row else "",
        }


def beside(runs: Sequence[Labelled]) -> list[Beside]:
    """Every cell of the tables, as often as rows of ours may stand beside it, and at least once."""
    found = []
    for cell in CELLS:
        ours = list(_matching(cell, runs))
        found += [Beside(cell=cell, row=row) for row in ours] or [Beside(cell=cell, row=None)]
    return found


def described(row: Row) -> str:
    """What a row of ours is."""
    at = f" at {row['site']}, alpha {row['alpha']:g}" if row["site"] else ""
    steered = f", {row['vector']}{at}" if row["vector"] else ""
    return f"{row['dataset']} {row['quantity']} by {row['method']} of {row['checkpoint']}{steered} ({row['protocol']})"


def _matching(cell: Cell, runs: Sequence[Labelled]) -> Iterator[Row]:
    """The first row of ours for each task that may stand in the cell's column."""
    for task, quantity in COLUMNS[cell.column]:
        wanted = [(run, _measured(run, task, quantity)) for run in runs]
        method = _one_method([row for _, rows in wanted for row in rows])
        for run, rows in wanted:
            if row := _of(cell, run, [row for row in rows if row["method"] == method]):
                yield row
                break


def _measured(run: Labelled, task: str, quantity: str) -> list[Row]:
    return [
        row
        for row in run.rows
        if row["dataset"] == f"{task}/test" and row["quantity"] == quantity and row["role"] == "measured"
    ]


def _one_method(rows: Sequence[Row]) -> str:
    """By whom a whole column is graded: cells of two graders do not compare. Whoever graded most rows, the first of equals."""
    counts = Counter(row["method"] for row in rows)
    return max(counts, key=lambda method: counts[method], default="")


def _of(cell: Cell, run: Labelled, rows: Sequence[Row]) -> Row | None:
    done = {row["vector"].partition(":")[0]: row for row in reversed(rows)}
    if cell.who in _TUNED and cell.who in done:
        return done[cell.who]
    if cell.who not in ("early", "own"):
        # What a fine-tuning run holds without a vector is the model before it.
        whose = "plain" if done.keys() & set(_TUNED) else run.who
        return done.get("") if cell.who == whose else None
    steered = [row for row in rows if _contrast(row).startswith(CONTRASTS[cell.table])]
    is_own = cell.who == "own"
    fitting = sorted((row for row in steered if (_source(row) == row["checkpoint"]) == is_own), key=_source)
    named = [row for row in fitting if _source(row).endswith(f"@{EARLIER}")]
    # Where there is no such checkpoint: the one in the middle of those that there are.
    return named[0] if named else fitting[len(fitting) // 2] if fitting else None


def _contrast(row: Row) -> str:
    """``mass_mean:reliability/defined@LLM360--Amber@ckpt_179`` gives ``reliability/defined``; empty without a source."""
    made, _, source = str(row["vector"]).partition(":")[2].partition("@")
    return made if source else ""


def _source(row: Row) -> str:
    return str(row["vector"]).partition(":")[2].partition("@")[2]
