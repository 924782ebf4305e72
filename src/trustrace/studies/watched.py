"""A run that can be watched: each process at work in it tells what it does, and a thread writes that down where any shell can read it."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol, get_args, runtime_checkable

from trustrace.core.progress import Progress, Stage, silent
from trustrace.core.secrets import without_secrets
from trustrace.models.fetching import Fetching
from trustrace.runs.beats import BESIDE, LONGEST, Beat, Download, hostname, remove_beat, remove_dead, write_beat

ALONE = "alone"
"""What the worker of a run that is not divided is called."""

EVERY = 1.0
"""Seconds between two beats while one thing is done."""

CLOSEST = 0.5
"""Seconds between two beats at the least, however fast stages follow each other."""

RECENT = 15
"""Beats over which the speed of a download is taken."""

Clock = Callable[[], float]


@runtime_checkable
class Stream(Protocol):
    """What is asked of a stream of checkpoints."""

    @property
    def fetching(self) -> Fetching | None:
        """What is being fetched."""

    @property
    def held_bytes(self) -> int:
        """Bytes that are taken of the budget now."""


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is being done, since when, how far, and what was spent before: one value, which is never seen half changed."""

    stage: Stage = "starting"
    checkpoint: str = ""
    dataset: str = ""
    began: float
    done: int = 0
    total: int = 0
    counted: str = ""
    spent: Mapping[Stage, float]


class Watched:
    """What one worker does, as it tells it; a :class:`~trustrace.core.progress.Watch`.

    Whoever tells pays for an assignment: nothing is written in its thread.
    """

    def __init__(
        self, worker: str, *, takes_any: bool = False, progress: Progress = silent, clock: Clock = time.monotonic
    ) -> None:
        """A worker that has just begun.

        Args:
            worker: What it is called.
            takes_any: Whether it has no units of its own, but takes those that nobody else has taken.
            progress: Told of everything that is counted as well.
            clock: Seconds, of which only differences count.
        """
        self.worker, self._progress, self._clock = worker, progress, clock
        self.changed = threading.Event()
        self._work = _Work(began=clock(), spent=dict.fromkeys(get_args(Stage), 0.0))
        self._takes_any = takes_any
        self._finished = self._units = self._failed = self._here = 0
        self._stream: Stream | None = None
        self._budget: int | None = None
        self._speed = _Speed()

    def __call__(self, done: int, total: int, what: str) -> None:
        """`done` of `total` are finished: units of this worker, or parts of what it does at this stage."""
        if what.partition(":")[0] == "units":
            self._finished, self._units = done, total
        else:
            self._work = replace(self._work, done=done, total=total, counted=what)
        self._progress(done, total, what)

    def stage(self, stage: Stage, *, checkpoint: str | None = None, dataset: str = "") -> None:
        """From now on `stage` is at work; None is the checkpoint that was at work before."""
        now, work = self._clock(), self._work
        key = work.checkpoint if checkpoint is None else checkpoint
        spent = _and_spent(work, now)
        self._work = _Work(stage=stage, checkpoint=key, dataset=dataset, began=now, spent=spent)
        self.changed.set()

    def unit(self, *, is_finished: bool) -> None:
        """One more unit was tried here, and is finished or has failed."""
        self._failed += not is_finished
        self._here += is_finished and self._work.stage not in BESIDE

    def follow(self, stream: Stream, *, budget: int | None) -> None:
        """Tell from now on of what `stream` fetches and holds."""
        self._stream, self._budget = stream, budget

    def beat(self) -> Beat:
        """What is to be said now; asked by one thread alone."""
        # The work first: a stage that begins in between began after `now` otherwise.
        work = self._work
        now = self._clock()
        lasted = max(0.0, now - work.began)
        return Beat(
            worker=self.worker,
            host=hostname(),
            pid=os.getpid(),
            written=max(0.0, time.time()),
            stage=work.stage,
            checkpoint=_sayable(work.checkpoint),
            dataset=_sayable(work.dataset),
            lasted=lasted,
            done=work.done,
            total=work.total,
            counted=_sayable(work.counted),
            rate=work.done / lasted if work.done and lasted > 0 else None,
            download=self._download(now),
            held=self._stream.held_bytes if self._stream else 0,
            budget=self._budget,
            finished=self._here if self._takes_any else self._finished,
            units=0 if self._takes_any else self._units,
            failed=self._failed,
            here=self._here,
            spent=_told(_and_spent(work, now)),
        )

    def _download(self, now: float) -> Download | None:
        fetching = self._stream.fetching if self._stream else None
        if fetching is None:
            return None
        rate = self._speed.after(fetching.checkpoint, fetching.fetched, now)
        return {
            "checkpoint": _sayable(fetching.checkpoint),
            "fetched": fetching.fetched,
            "size": fetching.size,
            "rate": rate,
        }


@contextmanager
def watching(
    run: Path, *, worker: str = ALONE, takes_any: bool = False, progress: Progress = silent, every: float = EVERY
) -> Iterator[Watched]:
    """Yield a worker in the run folder `run` whose beats a thread writes there while the body runs; afterwards they are gone.

    Args:
        run: The run folder, which this process has claimed.
        worker: What the worker is called.
        takes_any: Whether it has no units of its own, but takes those that nobody else has taken.
        progress: Told of everything that is counted as well.
        every: Seconds between two beats.
    """
    watched, over = Watched(worker or ALONE, takes_any=takes_any, progress=progress), threading.Event()
    remove_dead(run)
    thread = threading.Thread(target=_beat, args=(run, watched, over, every), name="trustrace-beats", daemon=True)
    thread.start()
    try:
        yield watched
    finally:
        over.set()
        watched.changed.set()
        thread.join()
        remove_beat(run, watched.worker)


def _beat(run: Path, watched: Watched, over: threading.Event, every: float) -> None:
    """The thread's work: a beat now and then, and one when a stage begins."""
    while not over.is_set():
        write_beat(run, watched.beat())
        watched.changed.wait(every)
        watched.changed.clear()
        over.wait(min(CLOSEST, every))


class _Speed:
    """Bytes a second of one download over the last moments at which it was asked for."""

    def __init__(self) -> None:
        self._what, self._seen = "", deque[tuple[float, int]](maxlen=RECENT)

    def after(self, what: str, fetched: int, now: float) -> float | None:
        """The speed, `fetched` bytes of `what` being here; None where that cannot be said yet."""
        if what != self._what or (self._seen and fetched < self._seen[-1][1]):
            self._what = what
            self._seen.clear()
        self._seen.append((now, fetched))
        (began, first), seconds = self._seen[0], now - self._seen[0][0]
        return (fetched - first) / seconds if seconds > 0 and now > began else None


def _and_spent(work: _Work, now: float) -> dict[Stage, float]:
    """Seconds in each stage, those of `work` until `now` included."""
    return {**work.spent, work.stage: work.spent[work.stage] + max(0.0, now - work.began)}


def _told(spent: Mapping[Stage, float]) -> dict[Stage, float]:
    return {stage: round(seconds, 2) for stage, seconds in spent.items() if seconds > 0}


@lru_cache(maxsize=64)
def _sayable(name: str) -> str:
    """A name as it may be written down: without secrets, without halves of characters, and not endless."""
    return without_secrets(name).encode("utf-8", "replace").decode()[:LONGEST]
