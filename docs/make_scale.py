"""Write the tables of ``docs/scale.md`` and its figure from ``docs/scale/simulated.csv``: `python docs/make_scale.py`.

The CSV is what `python -m benchmarks.scale docs/scale/simulated.csv` wrote.
"""

import csv
import hashlib
import statistics
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).parent
TABLE, PAGE, FIGURE = DOCS / "scale" / "simulated.csv", DOCS / "scale.md", DOCS / "scale" / "makespan.png"
BEGIN, END = "<!-- Written by docs/make_scale.py from scale/simulated.csv: {} -->", "<!-- End of what is written -->"

Rows = Sequence[dict[str, str]]


def workers_table(rows: Rows) -> str:
    """Every regime with every number of workers."""
    head = (
        "regime",
        "workers",
        "download",
        "computing",
        "loading",
        "bound",
        "simulated",
        "over",
        "utilisation",
        "disk",
    )
    lines = []
    for regime in _names(rows, "workers"):
        title = regime
        for workers, found in _by(rows, "workers", regime, "workers").items():
            lines.append((title, workers, *_hours(found[0]), *_came_of_it(found)))
            title = ""
    return _markdown(head, lines)


def ahead_table(rows: Rows) -> str:
    """How far ahead is enough."""
    lines = []
    for ahead, found in _by(rows, "ahead", "balanced", "ahead").items():
        lines.append((ahead, f"{found[0]['budget_gb']} GB", *_came_of_it(found)))
    return _markdown(("ahead", "budget a worker", "simulated", "over", "utilisation", "disk"), lines)


def against_table(rows: Rows) -> str:
    """What a worker does that is slow or ends."""
    lines = []
    for row in (row for row in rows if row["what"] == "against"):
        queue = "one for all" if row["queue"] == "shared" else "a share each from the start"
        bound = f"{_bound(row):.2f} h"
        once = f"{row['checkpoints']}, {row['measurements']}"
        lines.append((row["crew"], queue, bound, *_came_of_it([row])[:2], once))
    head = ("eight workers,", "queue", "bound", "simulated", "over", "checkpoints, measurements")
    return _markdown(head, lines)


TABLES = {"workers": workers_table, "ahead": ahead_table, "against": against_table}


def _names(rows: Rows, what: str) -> list[str]:
    return list(dict.fromkeys(row["regime"] for row in rows if row["what"] == what))


def _by(rows: Rows, what: str, regime: str, key: str) -> dict[str, list[dict[str, str]]]:
    mine = [row for row in rows if row["what"] == what and row["regime"] == regime]
    return {value: [row for row in mine if row[key] == value] for value in dict.fromkeys(row[key] for row in mine)}


def _hours(row: dict[str, str]) -> list[str]:
    parts = [float(row[f"{part}_hours"]) for part in ("download", "compute", "load")]
    return [f"{hours:.2f} h" for hours in (*parts, max(parts))]


def _bound(row: dict[str, str]) -> float:
    return max(float(row[f"{part}_hours"]) for part in ("download", "compute", "load"))


def _came_of_it(found: Rows) -> tuple[str, str, str, str]:
    """The median of the repeats, with the range where there are several."""
    ratios = sorted(float(row["over_bound"]) for row in found)
    hours = statistics.median(float(row["makespan_hours"]) for row in found)
    spread = f" ({ratios[0]:.3f} to {ratios[-1]:.3f})" if len(ratios) > 1 else ""
    busy = statistics.median(float(row["utilisation"]) for row in found)
    disk = max(float(row["disk_share"]) for row in found)
    return f"{hours:.2f} h", f"{statistics.median(ratios):.3f}{spread}", f"{busy:.0%}", f"{disk:.0%}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


def page(text: str, rows: Rows) -> str:
    """The page with the tables of these rows in their places."""
    for name, table in TABLES.items():
        begin = BEGIN.format(name)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{table(rows)}\n\n{END}{rest.partition(END)[2]}"
    return text


def read(path: Path) -> list[dict[str, str]]:
    """The simulations, a row each."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digest(path: Path) -> str:
    """What names the rows that a figure was drawn from."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def draw(rows: Rows, path: Path, *, source: str) -> None:
    """Hours and bounds, and the one over the other, against workers."""
    from trustrace.report.canvas import canvas, drawing_style
    from trustrace.report.palette import LIGHT

    colours = (LIGHT.deep, "#5b8fc7", LIGHT.focus, LIGHT.muted)
    with drawing_style():
        figure, (left, right) = canvas(1, 2, height=2.6)
        for regime, colour, marker in zip(_names(rows, "workers"), colours, "os^D", strict=True):
            each = _by(rows, "workers", regime, "workers")
            workers = [int(one) for one in each]
            hours = [statistics.median(float(row["makespan_hours"]) for row in found) for found in each.values()]
            bounds = [_bound(found[0]) for found in each.values()]
            ratios = [one / bound for one, bound in zip(hours, bounds, strict=True)]
            left.plot(workers, bounds, color=colour, lw=0.8, ls=(0, (3, 2)))
            left.plot(workers, hours, color=colour, lw=1.1, marker=marker, ms=3, label=regime)
            right.plot(workers, ratios, color=colour, lw=1.1, marker=marker, ms=3, label=regime)
        left.set(title="Hours for 360 checkpoints; dashed: the bound", yscale="log")
        right.set(title="Makespan over the bound", ylim=(1.0, None))
        right.axhline(1.1, color=LIGHT.edge, lw=0.8, ls=(0, (1, 1.6)))
        right.annotate("10 % over", (1, 1.1), xytext=(70, 2), textcoords="offset points", fontsize=6, color=LIGHT.muted)
        for panel in (left, right):
            panel.set_xscale("log", base=2)
            panel.set_xticks(workers, [str(one) for one in workers])
            panel.set_xlabel("workers")
            panel.grid(axis="y", color=LIGHT.grid, lw=0.6)
        ticks = (1, 2, 5, 10, 20, 50)
        left.set_yticks(ticks, [str(one) for one in ticks])
        left.minorticks_off()
        left.set_ylabel("hours")
        left.legend(loc="lower left")
        figure.savefig(path, metadata={"Source": source})


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8"), read(TABLE)), encoding="utf-8")
    draw(read(TABLE), FIGURE, source=digest(TABLE))
