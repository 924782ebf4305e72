"""What every process that works in a run does just now: a small file each, which any shell can read.

::

    live/alone.json     of a run that is not divided
    live/3-of-8.json    of a share of one

A beat decides nothing and no number depends on it. It is written about once a second; one that cannot be written is skipped; it goes when
its process ends in order. What a kill leaves of it says where the process was.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import psutil
from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from trustrace.core.documents import FolderName, shaped
from trustrace.core.errors import RunError
from trustrace.core.progress import Stage

LIVE = "live"
"""The folder of a run in which its beats lie."""

LONGEST = 400
"""Characters of a name in a beat."""

MISSED = 5.0
"""Seconds without a beat after which a process that is not there any more is gone."""

SILENT = 20.0
"""Seconds without a beat after which a process is called silent: it hangs, its machine is asleep, or nothing can be written."""

BESIDE: frozenset[Stage] = frozenset({"starting", "floors", "overseeing", "courses", "concluding"})
"""Stages that say nothing of how long the checkpoints take."""

Pulse = Literal["at work", "silent", "gone"]
"""What can be said of a process by its beat."""

Name = Annotated[str, StringConstraints(max_length=LONGEST)]
Count = Annotated[int, Field(ge=0, le=2**62)]
Amount = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]


class Download(TypedDict):
    """What is being fetched."""

    checkpoint: Name
    fetched: Count
    size: Count
    rate: Amount | None


class Beat(TypedDict):
    """What one process does just now.

    Attributes:
        worker: Its name: of its share, ``3-of-8``, or ``alone``.
        host: The machine.
        pid: The process there.
        written: When this was said, in seconds since 1970 by the clock of `host`, which may be wrong.
        stage: What is being done, of `checkpoint`, with `dataset`; both may be empty.
        lasted: For how many seconds.
        done: How much of `total` it has done; both are 0 where that cannot be said.
        counted: Of what: ``tokens``.
        rate: How many a second.
        download: What is being fetched meanwhile.
        held: Bytes of the disk that fetched checkpoints take.
        budget: Bytes that they may take; None is what the disk has.
        finished: Units of this worker that are finished, now or from before.
        units: All units of this worker; 0 where it takes whatever nobody else has taken.
        failed: Units that failed in this process.
        here: Units of checkpoints that this process has finished.
        spent: Seconds in each stage.
    """

    worker: FolderName
    host: Name
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    written: Amount
    stage: Stage
    checkpoint: Name
    dataset: Name
    lasted: Amount
    done: Count
    total: Count
    counted: Name
    rate: Amount | None
    download: Download | None
    held: Count
    budget: Count | None
    finished: Count
    units: Count
    failed: Count
    here: Count
    spent: dict[Stage, Amount]


def write_beat(run: Path, beat: Beat) -> bool:
    """Write `beat` into the run folder `run`; False where it cannot be written, which is no reason to stop.

    It is there whole or not at all, as :mod:`trustrace.runs.files` has it, but waits for no disk: it need not outlive a power cut.
    """
    path = _path(run, beat["worker"])
    try:
        path.parent.mkdir(exist_ok=True)
        _scratch(path).write_text(json.dumps(beat), encoding="utf-8")
        _scratch(path).replace(path)
    except OSError:
        return False
    return True


def remove_beat(run: Path, worker: str) -> None:
    """Remove what `worker` has said, and the folder if nobody else says anything."""
    try:
        _path(run, worker).unlink(missing_ok=True)
        _scratch(_path(run, worker)).unlink(missing_ok=True)
        (run / LIVE).rmdir()
    except OSError:
        # Others are at work, or the disk is gone: a beat that stays is called by its age.
        return


def remove_dead(run: Path) -> None:
    """Remove what is said of processes that are gone or silent, and what cannot be read; a live one says it again."""
    for path in (run / LIVE).glob("*"):
        if not _is_of_the_living(path):
            with suppress(OSError):
                path.unlink()


def read_beats(run: Path) -> tuple[Beat, ...]:
    """The beats in the run folder `run`, by the names of their workers.

    Raises:
        RunError: a file there is no beat.
    """
    found = (read_beat(path) for path in _beats_in(run))
    return tuple(sorted((beat for beat in found if beat is not None), key=_in_order))


def read_beat(path: Path) -> Beat | None:
    """The beat at `path`; None if it went in this moment.

    Raises:
        RunError: it is no beat.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    beat: Beat = shaped(
        content, Beat, where=path, error=RunError, way_out="remove it: nothing but the view of a run depends on it"
    )
    return beat


def pulse(beat: Beat, *, now: float | None = None) -> Pulse:
    """Whether the process of `beat` is at work, by what it said last and, on its own machine, by whether it is still there.

    Args:
        beat: What it said.
        now: Seconds since 1970; by default what the clock says.
    """
    silent_for = age(beat, now=now)
    if beat["host"] == hostname() and silent_for > MISSED and not psutil.pid_exists(beat["pid"]):
        return "gone"
    return "silent" if silent_for > SILENT else "at work"


def age(beat: Beat, *, now: float | None = None) -> float:
    """Seconds since `beat` was written, as far as clocks can be trusted."""
    passed = (time.time() if now is None else now) - beat["written"]
    # Clocks of two machines differ, but what one machine said "in an hour" it said before its clock was set back.
    return abs(passed) if beat["host"] == hostname() else max(0.0, passed)


def on_checkpoints(beat: Beat) -> float:
    """Seconds that a worker has been at its checkpoints: waiting for them, loading, capturing, measuring."""
    return sum(seconds for stage, seconds in beat["spent"].items() if stage not in BESIDE)


def hostname() -> str:
    """What this machine is called."""
    return socket.gethostname()[:LONGEST]


def _is_of_the_living(path: Path) -> bool:
    try:
        beat = None if path.name.startswith(".") else read_beat(path)
    except (RunError, OSError):
        return False
    return beat is not None and pulse(beat) == "at work"


def _scratch(path: Path) -> Path:
    """Where a beat is written before it is one; nobody else writes beats of that name."""
    return path.with_name(f".{path.name}")


def _beats_in(run: Path) -> Iterator[Path]:
    return (path for path in sorted((run / LIVE).glob("*.json")) if path.is_file() and not path.name.startswith("."))


def _path(run: Path, worker: str) -> Path:
    return run / LIVE / f"{worker}.json"


def _in_order(beat: Beat) -> tuple[int, str]:
    """``2-of-10`` before ``10-of-10``."""
    return len(beat["worker"]), beat["worker"]
