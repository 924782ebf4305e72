"""A run at work, as a person sees it: a table that is drawn anew while there is a terminal, and a line now and then where there is none."""

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from trustrace.cli.run_table import doing, download, holding, left, run_table, spent, units
from trustrace.cli.view import console, plain, say, show_table
from trustrace.core.errors import TrustraceError
from trustrace.core.progress import Progress, silent
from trustrace.runs.beats import Beat, hostname
from trustrace.studies.status import Following, Status

REDRAWN = 1.0
"""Seconds between two drawings of the table."""

LINES = (3.0, 10.0, 10.0, 30.0)
LINES_AFTERWARDS = 60.0
"""Seconds until each of the first lines of a log, and between all others."""

SHOWN = 3
"""Failures that are named beneath the table."""

PATIENCE = 30.0
"""Seconds for which a run that is watched may be unreadable."""


@contextmanager
def showing_run(run: Path) -> Iterator[Progress]:
    """Show the run in the folder `run` while the body works in it; what is yielded is to be told of that work."""
    errors = Console(stderr=True)
    if not _draws(errors):
        with _logging(run):
            yield silent
        return
    with _Drawing(run).live(errors):
        yield silent


def watch(run: Path) -> None:
    """Show the run in the folder `run` until nobody is at work in it, or Ctrl-C."""
    following, errors = Following(run), Console(stderr=True)
    following.status()
    try:
        if _draws(errors):
            with _Drawing(run).live(errors):
                _wait_for_the_end(following)
        else:
            with _logging(run):
                _wait_for_the_end(following)
    except KeyboardInterrupt:
        # Who ends the watching ends nothing else.
        return


def show_status(status: Status) -> None:
    """Print how far a run is, what its processes do, and all that failed."""
    say(f"{status.name}: {units(status)}; time left: {left(status)}")
    if status.workers:
        console.print(drawn(status, width=console.width, names_failures=False))
    else:
        for one in status.unreadable:
            say(f"not shown: {one}")
    if status.failures:
        show_table("failures", list(status.failures))


def drawn(status: Status, *, width: int, height: int | None = None, names_failures: bool = True) -> RenderableType:
    """The table of a run, and beneath it how long it will take, where its time goes, and what failed.

    Args:
        status: How far the run is.
        width: Columns of the terminal.
        height: Lines of it; None is as many as it takes.
        names_failures: Whether failures are named, the first ones of them.
    """
    beneath = [f"time left: {left(status)}"]
    beneath += [f"time spent: {said}"] if (said := spent(status.workers)) else []
    beneath += [f"not shown: {one}" for one in status.unreadable[:SHOWN]]
    beneath += [f"... and {len(status.unreadable) - SHOWN} more files like that"] * (len(status.unreadable) > SHOWN)
    failures = status.failures if names_failures else ()
    beneath += [f"failed: {one['unit']}: {one['message']}" for one in failures[:SHOWN]]
    beneath += [f"... and {len(failures) - SHOWN} more; `trustrace status` lists them"] if len(failures) > SHOWN else []
    room = None if height is None else height - len(beneath) - 1
    lines = (Text(plain(line, is_line=True), no_wrap=True, overflow="ellipsis") for line in beneath)
    return Group(run_table(status, width=width, height=room), *lines)


def log_line(status: Status) -> str:
    """One line that says what this process does in a run, or what those do that work for it."""
    here = [beat for beat in status.at_work if (beat["pid"], beat["host"]) == (os.getpid(), hostname())]
    said = [units(status), *_said(here[0] if here else None, status.at_work)]
    if status.at_work:
        said.append(f"time left: {left(status, is_short=True)}")
    return plain("; ".join(said), is_line=True)


class _Drawing:
    """The table as it is now; what cannot be read for a moment is shown as it was."""

    def __init__(self, run: Path) -> None:
        self._following = Following(run)
        self._status: Status | None = None

    def live(self, errors: Console) -> Live:
        """The table on `errors`, drawn anew while it is entered."""
        return Live(
            get_renderable=lambda: self.now(errors),
            console=errors,
            transient=True,
            refresh_per_second=1 / REDRAWN,
            # What goes into a file stays out of the picture.
            redirect_stdout=sys.stdout.isatty(),
        )

    def now(self, errors: Console) -> RenderableType:
        self._status = _glance(self._following) or self._status
        if self._status is None:
            return Text("preparing: reading the study, the data and the list of checkpoints")
        return drawn(self._status, width=errors.width, height=errors.height)


@contextmanager
def _logging(run: Path) -> Iterator[None]:
    """Write a line of the run now and then while the body works, and a last one."""
    over = threading.Event()
    thread = threading.Thread(target=_log, args=(Following(run), over), name="trustrace-log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _log(following: Following, over: threading.Event) -> None:
    waits, is_over = iter(LINES), False
    while not is_over:
        is_over = over.wait(next(waits, LINES_AFTERWARDS))
        status = _glance(following)
        if status is not None:
            print(f"{time.strftime('%H:%M:%S')} {log_line(status)}", file=sys.stderr, flush=True)


def _wait_for_the_end(following: Following) -> None:
    """Return when nobody is at work; what cannot be read for a moment says nothing of that.

    Raises:
        RunError: nothing could be read for a while.
    """
    readable = time.monotonic()
    while time.monotonic() - readable <= PATIENCE:
        status = _glance(following)
        if status is not None and not status.at_work and not status.unreadable:
            return
        if status is not None and status.at_work:
            readable = time.monotonic()
        time.sleep(REDRAWN)
    following.status()


def _glance(following: Following) -> Status | None:
    """The status, where it can be read at this moment."""
    try:
        return following.status()
    except (TrustraceError, OSError):
        return None


def _draws(console: Console) -> bool:
    """Whether there is a terminal that can be drawn in; a log that is told to have colours is none."""
    return console.file.isatty() and not console.is_dumb_terminal


def _said(own: Beat | None, at_work: Sequence[Beat]) -> list[str]:
    if own is not None:
        at = f" at {own['checkpoint']}" if own["checkpoint"] else ""
        what, how = doing(own)
        return [f"{what}{at}, {how}", *_more(own)]
    stages = Counter(beat["stage"] for beat in at_work)
    return [
        f"{len(at_work)} at work: " + ", ".join(f"{count} {stage}" for stage, count in stages.most_common())
    ] * bool(at_work)


def _more(own: Beat) -> list[str]:
    what, how = download(own)
    fetched = [f"fetching {what}, {how}"] if what else []
    held, budget = holding(own)
    return [*fetched, f"disk {held} {budget}".rstrip()] if held else fetched
