"""What each process of a run does, as rows of a table that fits its terminal, and as words."""

from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from trustrace.cli.view import plain
from trustrace.runs.beats import Beat, age, pulse
from trustrace.studies.status import Status

Cell = tuple[str, str]
"""Two lines, one beneath the other."""

COLUMNS = ("worker", "checkpoint", "stage", "download", "disk", "units")
NARROWEST = {"worker": 8, "checkpoint": 12, "stage": 18, "download": 18}
"""Columns that give way where a terminal is narrow, and how far."""

ROOMY = 100
"""Columns of a terminal from which on cells stand two apart, and not one."""

_TROUBLE = {"gone": "bold red", "silent": "yellow"}


def run_table(status: Status, *, width: int, height: int | None = None) -> Table:
    """A row for each worker, and one for the whole run.

    Args:
        status: How far the run is.
        width: Columns of the terminal; long names give way.
        height: Lines that the table may take: with many workers each has one line in place of two, and the last ones are counted only.
    """
    lines = 2 if height is None or 2 * len(status.workers) + 4 <= height else 1
    fitting = len(status.workers) if height is None else max(1, (height - 3 - lines) // lines)
    rows = [_row(beat) for beat in status.workers[:fitting]]
    rows += [_counted(status.workers[fitting:])] * (len(status.workers) > fitting)
    whole = _whole(status)
    gap = 2 if width >= ROOMY else 1
    widths = _widths([*rows, whole], width=width - gap * len(COLUMNS), lines=lines)
    table = Table(title=_title(status), title_justify="left", title_style="bold", box=None, padding=(0, gap, 0, 0))
    for name in COLUMNS:
        table.add_column(name, width=widths[name], no_wrap=True, overflow="ellipsis", header_style="dim")
    for beat, row in zip([*status.workers[:fitting], None], rows, strict=False):
        table.add_row(*(_text(cell, lines) for cell in row.values()), style=_TROUBLE.get(pulse(beat)) if beat else None)
    table.add_row(*(_text(cell, lines) for cell in whole.values()), style="bold")
    return table


def doing(beat: Beat) -> Cell:
    """What a worker does, and how far it is with that; of one that is not heard of, since when."""
    what = "waiting for files" if beat["stage"] == "waiting" else f"{beat['stage']} {beat['dataset']}".rstrip()
    if pulse(beat) != "at work":
        return what, f"heard {duration(age(beat))} ago"
    if not beat["total"]:
        return what, f"for {duration(beat['lasted'])}"
    rate = f", {_count(beat['rate'])} {beat['counted']}/s" if beat["rate"] else ""
    return what, f"{100 * beat['done'] / beat['total']:.0f} %{rate}"


def download(beat: Beat) -> Cell:
    """What is fetched for a worker, and how much of that is here."""
    fetched = beat["download"]
    if fetched is None:
        return "", ""
    rate = f", {_bytes(fetched['rate'])}/s" if fetched["rate"] else ""
    return _revision(fetched["checkpoint"]), f"{_of(fetched['fetched'], fetched['size'])}{rate}"


def holding(beat: Beat) -> Cell:
    """What fetched checkpoints take of the disk, and what they may take."""
    if not beat["held"] and beat["budget"] is None:
        return "", ""
    return _bytes(beat["held"]), f"of {_bytes(beat['budget'])}" if beat["budget"] is not None else ""


def units(status: Status) -> str:
    """How many units are finished and have failed."""
    return f"{status.finished} of {status.total} units finished, {len(status.failures)} failed"


def left(status: Status, *, is_short: bool = False) -> str:
    """How long a run will still take, and what that is told by."""
    seconds = status.left.seconds
    said = "unknown" if seconds is None else "none" if seconds == 0 else f"about {duration(seconds)}"
    return said if is_short else f"{said} ({status.left.basis})"


def spent(workers: Sequence[Beat]) -> str:
    """Where the time of all workers went, by stages; empty where there are none."""
    seconds = Counter[str]()
    for beat in workers:
        seconds.update(beat["spent"])
    whole = sum(seconds.values())
    shares = [(stage, 100 * part / whole) for stage, part in seconds.most_common() if whole and 100 * part >= whole]
    return ", ".join(f"{stage} {share:.0f} %" for stage, share in shares)


def duration(seconds: int | float) -> str:
    """Seconds in the units in which a person thinks of them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _row(beat: Beat) -> dict[str, Cell]:
    state = pulse(beat)
    worker = beat["worker"], "" if state == "at work" else state
    done = f"{beat['finished']}/{beat['units']}" if beat["units"] else str(beat["finished"])
    own = done, f"{beat['failed']} failed" if beat["failed"] else ""
    cells = (worker, (_revision(beat["checkpoint"]), ""), doing(beat), download(beat), holding(beat), own)
    return dict(zip(COLUMNS, cells, strict=True))


def _counted(workers: Sequence[Beat]) -> dict[str, Cell]:
    """Those for whom there is no room."""
    stages = Counter(beat["stage"] for beat in workers).most_common(2)
    said = ", ".join(f"{count} {stage}" for stage, count in stages)
    return dict.fromkeys(COLUMNS, ("", "")) | {"worker": (f"+ {len(workers)}", ""), "stage": (said, "")}


def _whole(status: Status) -> dict[str, Cell]:
    workers = status.at_work
    rates = [beat["download"]["rate"] or 0.0 for beat in workers if beat["download"]]
    held = sum(beat["held"] for beat in workers)
    cells = {
        "worker": ("all", f"{len(workers)} at work"),
        "download": (f"{_bytes(sum(rates))}/s" if sum(rates) else "", ""),
        "disk": (_bytes(held) if held else "", ""),
        "units": (f"{status.finished}/{status.total}", f"{len(status.failures)} failed"),
    }
    return dict.fromkeys(COLUMNS, ("", "")) | cells


def _title(status: Status) -> Text:
    """The study's name, and the model's where all work on one."""
    models = {beat["checkpoint"].partition("@")[0] for beat in status.workers if "@" in beat["checkpoint"]}
    return Text(plain("   ".join([status.name, *models]) if len(models) == 1 else status.name, is_line=True))


def _widths(rows: Sequence[dict[str, Cell]], *, width: int, lines: int) -> dict[str, int]:
    """The width of each column: what it needs, or less for those that can give way, the widest first."""
    widths = {
        name: max(len(name), *(cell_len(line) for row in rows for line in _lines(row[name], lines))) for name in COLUMNS
    }
    while sum(widths.values()) > width:
        giving = {name: widths[name] - least for name, least in NARROWEST.items() if widths[name] > least}
        if not giving:
            break
        widths[max(giving, key=giving.__getitem__)] -= 1
    return widths


def _lines(cell: Cell, lines: int) -> list[str]:
    return [plain(line, is_line=True) for line in cell[:lines]]


def _text(cell: Cell, lines: int) -> Text:
    return Text("\n".join(_lines(cell, lines)).rstrip("\n"))


def _revision(checkpoint: str) -> str:
    """A checkpoint without its model, which is the same for all."""
    return checkpoint.partition("@")[2] or checkpoint


def _of(part: int | float, whole: int | float) -> str:
    """``1.2/27 GB``, and both units where they differ."""
    here, size = _bytes(part), _bytes(whole)
    unit = size.partition(" ")[2]
    return f"{here.removesuffix(f' {unit}')}/{size}"


def _count(number: int | float | None) -> str:
    value, unit = _scaled(float(number or 0), ("", "k", "M", "G", "T"))
    return f"{value}{unit}"


def _bytes(number: int | float | None) -> str:
    value, unit = _scaled(float(number or 0), ("B", "kB", "MB", "GB", "TB"))
    return f"{value} {unit}"


def _scaled(value: float, units: Sequence[str]) -> tuple[str, str]:
    """Three digits of `value`, and the unit that they are in."""
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}", units[power]
