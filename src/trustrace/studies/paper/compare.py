"""One page: the paper's numbers, and ours from any runs."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trustrace.core.errors import ConfigError
from trustrace.runs.table import read_table
from trustrace.studies.paper.findings import findings, ranges
from trustrace.studies.paper.numbers import AMBER, ROWS, Who
from trustrace.studies.paper.tables import Beside, Labelled, beside

ROUNDED = 4
SAID = (
    "The paper gives neither the number of items nor an interval with any of its values: whether one lies within our interval says how "
    "far it is from ours in our uncertainty alone."
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Ours beside the paper's.

    Attributes:
        cells: Tables 1 and 2.
        ranges: Figures 8 to 12.
        findings: What figures show, as sentences.
        models: The models that our rows are of.
    """

    cells: tuple[Beside, ...]
    ranges: tuple[dict[str, Any], ...]
    findings: tuple[dict[str, Any], ...]
    models: tuple[str, ...]

    @property
    def is_the_same_model(self) -> bool:
        """Whether the paper's own model is among ours."""
        return any(model.startswith(AMBER) for model in self.models)

    @property
    def missing(self) -> tuple[str, ...]:
        """The cells that the runs lack, a row of a table each."""
        lacking: dict[tuple[int, Who], list[str]] = {}
        for one in self.cells:
            if one.row is None:
                lacking.setdefault((one.cell.table, one.cell.who), []).append(one.cell.column)
        return tuple(f"table {table}, {ROWS[who]}: {', '.join(columns)}" for (table, who), columns in lacking.items())

    def remarks(self) -> list[str]:
        """What a reader must know of all of it."""
        names = ", ".join(self.models) or "no model"
        other = f"Ours are of another model ({names}): values do not compare, only what they show may."
        return [SAID, *([] if self.is_the_same_model else [other])]

    def rows(self) -> list[dict[str, Any]]:
        """The cells that are there."""
        return [one.as_row() for one in self.cells if one.row is not None]

    def as_markdown(self) -> str:
        """The whole page."""
        lacking = [f"* {one}" for one in self.missing] or ["none"]
        parts = [
            "# The paper's numbers and ours",
            *self.remarks(),
            "## Tables 1 and 2",
            markdown_table(self.rows()),
            "Missing, since no run given here holds them:\n",
            "\n".join(lacking),
            "## Figures 8 to 12: accuracy of the probes",
            markdown_table(self.ranges),
            "## Findings",
            markdown_table(self.findings),
        ]
        return "\n\n".join(parts) + "\n"

    def as_csv(self) -> str:
        """All cells, the missing ones among them."""
        written = io.StringIO()
        lines = [one.as_row() for one in self.cells]
        writer = csv.DictWriter(written, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
        return written.getvalue()


def compare(runs: Sequence[str]) -> Comparison:
    """Lay runs beside the paper.

    Args:
        runs: Run folders. ``WHO=FOLDER`` says whose the unsteered rows of a folder are: ``full``, ``lora`` or ``safe``.

    Raises:
        ConfigError: `WHO` is none of these.
        RunError: a folder holds no table.
    """
    labelled = [_read(run) for run in runs]
    rows = [row for one in labelled for row in one.rows]
    return Comparison(
        cells=tuple(beside(labelled)),
        ranges=tuple(ranges(rows)),
        findings=tuple(findings(rows)),
        models=tuple(dict.fromkeys(row["checkpoint"].partition("@")[0] for row in rows if row["checkpoint"])),
    )


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """`rows` as a table; a bar in a text would end its cell."""
    if not rows:
        return "nothing to show"
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_text(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _read(run: str) -> Labelled:
    who, found, folder = run.partition("=")
    if not found or Path(run).is_dir():
        return Labelled(rows=read_table(Path(run) / "measurements.parquet").to_pylist())
    if who not in ROWS:
        raise ConfigError(f"{run}: {who!r} is no row of the paper's tables; rows are {', '.join(ROWS)}")
    return Labelled(rows=read_table(Path(folder) / "measurements.parquet").to_pylist(), who=cast("Who", who))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{ROUNDED}f}"
    return str(value).replace("|", "\\|")
