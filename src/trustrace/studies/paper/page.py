"""A comparison as a page to read, and as lines to compute with."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trustrace.core.cells import csv_cell, markdown_cell
from trustrace.studies.paper.claims import Finding
from trustrace.studies.paper.compare import Comparison
from trustrace.studies.paper.probed import RangeBeside
from trustrace.studies.paper.tables import Beside

ROUNDED = 4

FIELDS = (
    "kind",
    "where",
    "row",
    "column",
    "paper",
    "paper_low",
    "paper_high",
    "ours",
    "low",
    "high",
    "n",
    "verdict",
    "least",
    "greatest",
    "share",
    "run",
    "protocol",
    "model",
    "dataset",
    "quantity",
    "method",
    "setting",
    "says",
)
"""Columns of the CSV. `low` and `high` are the 95 % interval of `ours`. Of a range over checkpoints and blocks `least` and `greatest` are
its ends, `low` the lower end of the interval of the one and `high` the upper end of that of the other, and `share` is how many of our
numbers lie between `paper_low` and `paper_high`."""


def as_markdown(found: Comparison) -> str:
    """The whole page."""
    parts = [
        "# The paper's numbers and ours",
        *found.remarks(),
        "## Tables 1 and 2",
        markdown_table([one.as_row() for one in found.present]),
        "## Figures 8 to 12: accuracy of the probes",
        "Least and greatest over the blocks and checkpoints of one model, each with its interval.",
        markdown_table([one.as_row() for one in found.ranges if one.rows]),
        "## What the figures show",
        "A claim agrees with ours where our whole 95 % interval lies on its side, and disagrees where all of it lies on the other; "
        "verdicts are not corrected for their number.",
        markdown_table([one.as_row() for one in found.findings]),
        "## Missing, since no run given here holds them",
        "\n".join(f"* {one}" for one in found.missing) or "none",
    ]
    return "\n\n".join(parts) + "\n"


def as_csv(found: Comparison) -> str:
    """All cells, ranges and findings, one a line, in full precision; what is missing or undefined stays empty."""
    written = io.StringIO()
    writer = csv.DictWriter(written, FIELDS, lineterminator="\n", restval="")
    writer.writeheader()
    for line in (*map(_cell, found.cells), *_ranges(found.ranges), *map(_finding, found.findings)):
        writer.writerow({name: "" if _is_undefined(value) else csv_cell(value) for name, value in line.items()})
    return written.getvalue()


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """`rows` as a table; a bar in a text would end its cell."""
    if not rows:
        return "nothing to show"
    names = list(rows[0])
    lines = [
        list(map(markdown_cell, names)),
        ["---"] * len(names),
        *([_text(row[name]) for name in names] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(one: Beside) -> dict[str, Any]:
    line = one.as_row()
    said = {
        name: line[name]
        for name in ("where", "row", "column", "paper", "ours", "n", "run", "protocol", "model", "setting")
    }
    said |= {"kind": "cell", "low": line["lower"], "high": line["upper"], "verdict": one.verdict}
    if one.ours:
        said |= {name: getattr(one.ours.row, name) for name in ("dataset", "quantity", "method")}
    return said


def _ranges(several: Sequence[RangeBeside]) -> Iterator[dict[str, Any]]:
    for one in several:
        line: dict[str, Any] = {"kind": "range", "where": "figures 8-12", "column": one.known.dataset}
        line |= {"paper_low": one.known.low, "paper_high": one.known.high, "verdict": "" if one.rows else "missing"}
        if one.rows:
            least, greatest = one.ends
            line |= {
                "share": one.share,
                "least": least.value,
                "greatest": greatest.value,
                "low": least.lower,
                "high": greatest.upper,
            }
            line |= {
                "n": least.n,
                "run": one.run,
                "protocol": least.protocol,
                "model": least.checkpoint.partition("@")[0],
            }
            line |= {"dataset": least.dataset, "quantity": least.quantity, "method": least.method}
        yield line


def _finding(one: Finding) -> dict[str, Any]:
    said = {
        name: getattr(one, name)
        for name in (
            "where",
            "paper",
            "n",
            "verdict",
            "run",
            "protocol",
            "model",
            "dataset",
            "quantity",
            "method",
            "setting",
        )
    }
    return said | {
        "kind": "finding",
        "ours": one.value,
        "low": one.lower,
        "high": one.upper,
        "n": one.n or "",
        "says": one.ours,
    }


def _is_undefined(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str:
    if _is_undefined(value):
        return ""
    if isinstance(value, float):
        return f"{value:.{ROUNDED}f}"
    return markdown_cell(str(value))
