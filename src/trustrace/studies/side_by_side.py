"""How a comparison is written down: one table to see by, one with every interval, and one for programs."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from io import StringIO
from pathlib import Path

from trustrace.core.cells import csv_cell, markdown_cell
from trustrace.studies.comparing import PLAIN, Compared, Comparison

_Row = tuple[str, str, str, str]
_Column = tuple[str, str, str, str]


def write_comparison(comparison: Comparison, out: Path) -> tuple[Path, Path]:
    """Write ``comparison.md`` and ``comparison.csv`` into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    markdown, table = out / "comparison.md", out / "comparison.csv"
    markdown.write_text(as_markdown(comparison), encoding="utf-8")
    table.write_text(as_csv(comparison), encoding="utf-8")
    return markdown, table


def as_csv(comparison: Comparison) -> str:
    """One line a number, in full precision; what is undefined stays empty."""
    written = StringIO()
    names = [one.name for one in fields(Compared)]
    writer = csv.DictWriter(written, names, lineterminator="\n")
    writer.writeheader()
    for row in comparison.rows:
        writer.writerow({name: "" if _is_nan(value) else csv_cell(value) for name, value in vars(row).items()})
    return written.getvalue()


def as_markdown(comparison: Comparison) -> str:
    """Everything in one table, the notes, and every interval model by model."""
    notes = "\n".join(f"* {markdown_cell(note)}" for note in comparison.notes)
    parts = ["# Side by side", _table(in_one_table(comparison)), notes]
    for target in dict.fromkeys(row.target for row in comparison.rows):
        cells = [_cells(row) for row in comparison.rows if row.target == target]
        parts.append(f"## {markdown_cell(target)}\n\n{_table(cells)}")
    return "\n\n".join(parts) + "\n"


def in_one_table(comparison: Comparison) -> list[dict[str, str]]:
    """One row for each model and what is done to it, one column for each number: the value, its change and the p-value of that."""
    placed: dict[_Row, dict[_Column, Compared]] = {}
    for row in comparison.rows:
        placed.setdefault(_row_of(row), {})[_column_of(row)] = row
    columns = list(dict.fromkeys(_column_of(row) for row in comparison.rows))
    titles = _titles(columns)
    models = list(dict.fromkeys(row.target for row in comparison.rows))
    rows = sorted(placed, key=lambda row: models.index(row[0]))
    return [
        {"model": row[0], "what is done": _done(row)}
        | {titles[column]: _short(placed[row].get(column)) for column in columns}
        for row in rows
    ]


def _row_of(row: Compared) -> _Row:
    """Two runs that do the same to one model stay two rows; as it is, a model is one."""
    return (row.target, row.system, row.role, "" if row.system == PLAIN else row.run)


def _column_of(row: Compared) -> _Column:
    return (row.task, row.quantity, row.by, row.items)


def _titles(columns: Sequence[_Column]) -> Mapping[_Column, str]:
    """Who graded, and which items, is said where there is more than one of them."""
    return {
        one: " ".join(
            [one[0], one[1]]
            + [f"({one[2]})"] * (len({other[2] for other in columns if other[:2] == one[:2]}) > 1)
            + [one[3]] * (len({other[3] for other in columns if other[0] == one[0]}) > 1)
        )
        for one in columns
    }


def _done(row: _Row) -> str:
    return row[1] + (" (control)" if row[2] == "control" else "")


def _short(row: Compared | None) -> str:
    if row is None:
        return ""
    if math.isnan(row.change):
        return f"{row.value:.4g}"
    p = "" if math.isnan(row.p) else f", p {row.p:.2g}"
    return f"{row.value:.4g} ({row.change:+.3g}{p})"


def _cells(row: Compared) -> dict[str, str]:
    is_plain = math.isnan(row.change)
    return {
        "task": row.task,
        "quantity": f"{row.quantity} ({row.by})",
        "what is done": row.system + (" (control)" if row.role == "control" else ""),
        "value": f"{row.value:.4g}",
        "95 %": _interval(row.lower, row.upper),
        "change": "" if is_plain else f"{row.change:+.4g}",
        "of change": "" if is_plain else _interval(row.change_lower, row.change_upper),
        "p": "" if math.isnan(row.p) else f"{row.p:.2g}",
        "q": "" if math.isnan(row.q) else f"{row.q:.2g}",
        "n": str(row.n),
        "items": row.items,
        "run": row.run,
    }


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    cells = (
        [[markdown_cell(text) for text in line] for line in (rows[0], *(row.values() for row in rows))] if rows else []
    )
    lines = [*cells[:1], *([["---"] * len(line) for line in cells[:1]]), *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _interval(lower: float, upper: float) -> str:
    return "" if math.isnan(lower) else f"{lower:.4g} to {upper:.4g}"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
