"""How results and progress look in a terminal, and in a log."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from trustrace.core.progress import Progress as Report

LOG_WIDTH = 160
"""Columns where there is no terminal to ask: a log or a pipe."""

console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)

LOG_SECONDS = 10.0
"""Between two lines of one kind where there is no terminal to draw bars in."""


def show_table(title: str, rows: Sequence[dict[str, Any]], *, columns: Sequence[str] | None = None) -> None:
    """Print rows as a table; all text is shown as text, whatever it contains."""
    if not rows:
        console.print(f"{escape(title)}: nothing to show")
        return
    names = list(columns or rows[0])
    table = Table(title=escape(title), title_justify="left", header_style="bold", show_edge=False)
    for name in names:
        numeric = all(isinstance(row.get(name), int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(plain(_cell(row.get(name)))) for name in names))
    console.print(table)


def plain(text: str, *, is_line: bool = False) -> str:
    """`text` without what would move a terminal's cursor, change its colours or turn its letters round; line breaks may stay."""
    kept = "" if is_line else "\n\t"
    return "".join(one if one.isprintable() or one in kept else "\N{REPLACEMENT CHARACTER}" for one in text)


def say(text: str) -> None:
    """Print a line."""
    console.print(escape(plain(text)), highlight=False, soft_wrap=True)


@contextmanager
def showing_progress() -> Iterator[Report]:
    """Yield a progress report that draws a bar for each kind of work, or writes a line now and then when not at a terminal."""
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars, self._tasks = bars, dict[str, TaskID]()

    def __call__(self, done: int, total: int, what: str) -> None:
        kind, _, detail = what.partition(":")
        if kind not in self._tasks:
            self._tasks[kind] = self._bars.add_task(escape(plain(what)), total=total)
        if done == 0:
            self._bars.reset(self._tasks[kind], total=total)
        self._bars.update(self._tasks[kind], completed=done, total=total, description=escape(plain(f"{kind}{detail}")))


class _Lines:
    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, done: int, total: int, what: str) -> None:
        kind, now = what.partition(":")[0], time.monotonic()
        if done < total and now - self._last.get(kind, -LOG_SECONDS) < LOG_SECONDS:
            return
        self._last[kind] = now
        print(f"{time.strftime('%H:%M:%S')} {plain(what)}: {done}/{total}", file=sys.stderr, flush=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
