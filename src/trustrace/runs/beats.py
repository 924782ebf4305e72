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
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the processes of a run say at one look.

    Attributes:
        beats: What each says, by the names of their workers.
        unreadable: What is wrong with each file that is no beat, or cannot be read at this moment.
    """

    beats: tuple[Beat, ...] = ()
    unreadable: tuple[str, ...] = ()


class Listener:
    """Who looks at the beats of a run again and again, and knows by its own clock for how long each of them is the same.

    A clock of another machine may be wrong by any time. So `written` of a beat that came while it was listened for is when it came, by the
    clock here; and one that has stayed the same is at least as old as that. At the first look there is only what the beats say.
    """

    def __init__(self, run: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """For the run in the folder `run`, which need not be there yet.

        Args:
            run: The run folder.
            clock: Seconds, of which only differences count.
        """
        self._run, self._clock = run, clock
        self._last: dict[Path, _Last] = {}
        self._has_looked = False

    def listen(self) -> Heard:
        """What is said now; a file that is no beat hides no other."""
        beats, unreadable = list[Beat](), list[str]()
        for path in _beats_in(self._run):
            try:
                beat = read_beat(path)
            except RunError as error:
                unreadable.append(str(error))
            except OSError as error:
                unreadable.append(f"{path} cannot be read: {error.strerror or error}")
            else:
                if beat is not None:
                    beats.append(self._dated(path, beat))
        self._has_looked = True
        return Heard(beats=tuple(sorted(beats, key=_in_order)), unreadable=tuple(unreadable))

    def _dated(self, path: Path, beat: Beat) -> Beat:
        now, last = self._clock(), self._last.get(path)
        if last is None or last.beat != beat:
            last = self._last[path] = _Last(beat=beat, seen=now, is_new=self._has_looked)
        # Of one that was there at the first look it is only known how old it is at the least.
        if last.is_new or age(beat) < now - last.seen:
            return {**beat, "written": max(0.0, time.time() - (now - last.seen))}
        return beat


@dataclass(frozen=True, kw_only=True)
class _Last:
    """What a worker said last, when that was seen first, and whether it was not there yet at the look before."""

    beat: Beat
    seen: float
    is_new: bool


def read_beats(run: Path) -> tuple[Beat, ...]:
    """The beats in the run folder `run` that can be read, by the names of their workers."""
    return Listener(run).listen().beats


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
    return sum((seconds for stage, seconds in beat["spent"].items() if stage not in BESIDE), 0.0)


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
