"""A crew of workers in simulated time: the real streams, disks and queue, with a simulated network below and sleeping in place of models.

Simulated time stands still while the real code works. What that takes, some milliseconds a checkpoint, is counted apart.
"""

import contextlib
import hashlib
import heapq
import itertools
import math
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from trustrace.core.checkpoints import Checkpoint
from trustrace.models import families
from trustrace.models.hub import HubSource
from trustrace.models.known import known_checkpoints
from trustrace.models.ordering import coarse_first
from trustrace.models.shelf import HubFile, Shelf
from trustrace.models.stream import CheckpointStream
from trustrace.studies.clusters.dispatch import Answer, Dispatch

SUITE = "LLM360/Amber"
SHRINKING = 200_000
"""A file on the disk stands for one that is so many times as large."""
SHARDS = 1


@dataclass(frozen=True, kw_only=True)
class Regime:
    """What everything takes: seconds, bytes, and bytes a second.

    Attributes:
        name: What it is called.
        compute: Seconds to measure one checkpoint.
        load: Seconds from the disk into the device.
        line: What a line carries.
        on_a_line: How many workers share one line; they also share a disk, as the devices of a machine do.
        each: The most that one stream gets of it.
        check: Seconds to hold the bytes of a checkpoint against the hub's hashes; those of Amber lie in three files, the largest of 10 GB.
        size: Bytes of a checkpoint.
        budget: Bytes of the disk that each stream may take.
        ahead: How many checkpoints are fetched before their turn.
    """

    name: str
    compute: float
    load: float = 18.0
    line: float = 1.25e9
    on_a_line: int = 8
    each: float = 0.5e9
    check: float = 6.7
    size: int = 27 * 10**9
    budget: int = 60 * 10**9
    ahead: int = 1

    @property
    def fetch(self) -> float:
        """Seconds to fetch a checkpoint where nobody else does."""
        return self.size / min(self.each, self.line)


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Who works.

    Attributes:
        speeds: How fast each worker loads and computes; 1 is as the regime says.
        ends: When a worker ends without a word, in simulated seconds, by its place.
        dealt: Whether each worker has its share from the start, as with ``--shard``, in place of a queue for all.
    """

    speeds: tuple[float, ...]
    ends: Mapping[int, float] = field(default_factory=dict)
    dealt: bool = False

    @classmethod
    def of(cls, workers: int, *, dealt: bool = False) -> "Crew":
        """Workers that are alike."""
        return cls(speeds=(1.0,) * workers, dealt=dealt)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What no crew can beat, in seconds.

    Attributes:
        download: All bytes over what all lines together give the streams.
        compute: All computing, divided evenly.
        load: All loading, divided evenly.
        steps: What is left when a worker loads and computes in turn and checkpoints cannot be cut: the largest of three times. The last
            checkpoint is checked, loaded and computed after all bytes are here; the worker with the most checkpoints begins after a first
            fetch; and the stream with the most fetches and checks one after the other.
    """

    download: float
    compute: float
    load: float
    steps: float

    @property
    def largest(self) -> float:
        """The bound that does not know how the work is done."""
        return max(self.download, self.compute, self.load)

    @classmethod
    def of(cls, regime: Regime, crew: Crew, *, checkpoints: int) -> "Bound":
        """The bound in closed form; a worker that ends counts until then."""
        workers, strength = len(crew.speeds), sum(crew.speeds)
        lines = [min(regime.on_a_line, workers - first) for first in range(0, workers, regime.on_a_line)]
        rate = sum(min(regime.line, there * regime.each) for there in lines)
        download = checkpoints * regime.size / rate
        one, most = regime.load + regime.compute, math.ceil(checkpoints / workers)
        steps = [download + regime.check + one, regime.fetch + regime.check + checkpoints * one / strength]
        if set(crew.speeds) == {1.0}:
            steps += [regime.fetch + regime.check + most * one, most * (regime.fetch + regime.check) + one]
        return cls(
            download=download,
            compute=_shared(checkpoints * regime.compute, crew),
            load=_shared(checkpoints * regime.load, crew),
            steps=max(steps),
        )


def _shared(work: float, crew: Crew) -> float:
    """When `work` is done if nobody ever waits."""
    passed, strength = 0.0, sum(crew.speeds)
    for place, end in sorted(crew.ends.items(), key=lambda item: item[1]):
        if work <= (end - passed) * strength:
            break
        work, passed, strength = work - (end - passed) * strength, end, strength - crew.speeds[place]
    return passed + work / strength


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it.

    Attributes:
        makespan: Simulated seconds from the start until the last checkpoint was measured.
        finished: Who measured which checkpoint, in the order in which they were done.
        disk: The most that lay on a disk at any time, as a share of the budgets of those who share it.
        own: Seconds of the processor for each measurement, of the real code and of the simulation.
    """

    makespan: float
    finished: tuple[tuple[int, str], ...]
    disk: float
    own: float


class Clock:
    """Simulated time: it goes on to the next moment that somebody waits for when all threads of the process are at rest.

    So it stands still while the real code works, however busy the machine is. Linux tells whether threads are at rest.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._lock = threading.Lock()
        self._moments: list[tuple[float, int, threading.Event]] = []
        self._number = itertools.count()

    def sleep(self, seconds: float, *, woken: threading.Event | None = None) -> None:
        """Return after so many simulated seconds, or when somebody sets `woken`."""
        event = woken or threading.Event()
        with self._lock:
            heapq.heappush(self._moments, (self.now + max(0.0, seconds), next(self._number), event))
        event.wait()

    def run(self, work: Future[None]) -> None:
        """Let time pass until `work` is done."""
        while not work.done():
            _rest()
            with self._lock:
                self._go_on()

    def _go_on(self) -> None:
        """Wake who waits for the next moment, and whoever waits for the same but for a thousandth of a second."""
        while self._moments and self._moments[0][2].is_set():
            heapq.heappop(self._moments)
        end = self._moments[0][0] + 1e-3 if self._moments else 0.0
        while self._moments and self._moments[0][0] <= end:
            moment, _, event = heapq.heappop(self._moments)
            self.now = max(self.now, moment)
            event.set()


def _rest() -> None:
    """Return when no other thread of this process has anything to do.

    One that waits for the interpreter's lock gets it while this one sleeps. So a thread that did not come to the processor meanwhile, and
    is not about to, waits for something else.
    """
    for pause in itertools.chain((2e-4, 5e-4, 1e-3), itertools.repeat(2e-3)):
        before = _switches()
        time.sleep(pause)
        if before == _switches() and not _is_any_running() and before == _switches():
            return


def _switches() -> int:
    """How often all other threads have left the processor until now."""
    whole, own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_THREAD))
    return whole.ru_nvcsw + whole.ru_nivcsw - own.ru_nvcsw - own.ru_nivcsw


def _is_any_running() -> bool:
    """Whether another thread runs, waits for a processor or for the disk."""
    own = str(threading.get_native_id())
    for task in Path("/proc/self/task").iterdir():
        try:
            state = (task / "stat").read_bytes().rpartition(b") ")[2][:1]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state != b"S" and task.name != own:
            return True
    return False


class Line:
    """A connection that transfers share evenly, none of them faster than `each`.

    All of them have the same rate at any time, so that one sum says how many bytes each that was there has got; a transfer is over when
    the sum has grown by its size.
    """

    def __init__(self, clock: Clock, *, total: float, each: float) -> None:
        self._clock, self._total, self._each = clock, total, each
        self._lock = threading.Lock()
        self._waiting: list[threading.Event] = []
        self._active, self._sum, self._seen = 0, 0.0, 0.0

    def carry(self, amount: float, *, heed: Callable[[], object]) -> None:
        """Return when `amount` bytes have passed; `heed` is called now and then, and what it raises ends the transfer."""
        self._join(+1)
        end = self._sum + amount
        try:
            while (left := self._left(end)) > 0:
                heed()
                woken = threading.Event()
                self._waiting.append(woken)
                self._clock.sleep(left, woken=woken)
        finally:
            self._join(-1)

    def _join(self, count: int) -> None:
        with self._lock:
            self._advance()
            self._active += count
            # Who leaves makes the others faster. Who comes makes them slower, and then they wake too early on their own.
            if count < 0:
                while self._waiting:
                    self._waiting.pop().set()

    def _left(self, end: float) -> float:
        """Seconds until the sum is `end`, if nobody comes or leaves; a byte more or less is none."""
        with self._lock:
            self._advance()
            return (end - self._sum) / self._rate if end - self._sum > 1 else 0.0

    @property
    def _rate(self) -> float:
        return min(self._each, self._total / max(1, self._active))

    def _advance(self) -> None:
        now = self._clock.now
        self._sum += (now - self._seen) * self._rate
        self._seen = now


@dataclass(frozen=True, kw_only=True)
class SimulatedHub(HubSource):
    """A hub behind a line, as the machines of one line see it; it leaves in the cache what the hub's client would.

    Attributes:
        line: Who carries.
        clock: Whose time it takes.
        regime: What everything takes.
        peaks: What lay on the disk, each time after something was put there; a file counts in full from its first byte.
    """

    line: Line
    clock: Clock
    regime: Regime
    peaks: list[int] = field(default_factory=list)

    def files(self, checkpoint: Checkpoint) -> tuple[HubFile, ...]:
        return _files(checkpoint.commit, self.regime.size)

    def fetch(self, checkpoint: Checkpoint, files: Sequence[HubFile], *, bar: type[Any], named: bool) -> Path:
        del named
        shelf, progress = Shelf.of(self.name), bar()
        for file in files:
            blob, link = shelf.blob(file.content), shelf.link(checkpoint.commit, file.name)
            half = blob.with_name(f"{blob.name}.1.incomplete")
            for path in (half, link):
                path.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(_content(checkpoint.commit, file.name, file.size))
            self.peaks.append(_taken(shelf.root))
            self.line.carry(self.regime.size / len(files), heed=lambda: progress.update(0))
            half.rename(blob)
            link.symlink_to(os.path.relpath(blob, link.parent))
        self.clock.sleep(self.regime.check)
        return shelf.link(checkpoint.commit, "")


@cache
def _files(commit: str, size: int) -> tuple[HubFile, ...]:
    share = size // SHRINKING // SHARDS
    names = [f"model-{shard}.safetensors" for shard in range(SHARDS)]
    hashes = [hashlib.sha256(_content(commit, name, share)).hexdigest() for name in names]
    return tuple(HubFile(name=name, size=share, content=one) for name, one in zip(names, hashes, strict=True))


def _content(commit: str, name: str, size: int) -> bytes:
    words = f"{commit} {name} ".encode()
    return (words * (size // len(words) + 1))[:size]


def _taken(folder: Path) -> int:
    """Bytes of the disk's blocks; files come and go meanwhile."""
    total = 0
    for place in (folder / "blobs", *_inside(folder / "snapshots")):
        for path in _inside(place):
            with contextlib.suppress(FileNotFoundError):
                total += path.lstat().st_blocks * 512
    return total


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where it just went."""
    with contextlib.suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []


def suite(count: int) -> tuple[Checkpoint, ...]:
    """The first `count` checkpoints of Amber's 360, coarse ones first, with commits that are made up."""
    known = known_checkpoints(SUITE)[:count]
    commits = [hashlib.sha1(one.revision.encode(), usedforsecurity=False).hexdigest() for one in known]
    return coarse_first([_pinned(one, commit) for one, commit in zip(known, commits, strict=True)])


def _pinned(checkpoint: Checkpoint, commit: str) -> Checkpoint:
    return Checkpoint(**{**vars(checkpoint), "commit": commit})


def simulate(regime: Regime, crew: Crew, *, checkpoints: Sequence[Checkpoint]) -> Outcome:
    """Let a crew work through `checkpoints`, in the cache that the hub's client uses now."""
    _files_of_all(checkpoints, regime)
    workers, dispatch = len(crew.speeds), Dispatch([one.key for one in checkpoints])
    clock = Clock()
    hubs = [_hub(regime, clock, line) for line in range(math.ceil(workers / regime.on_a_line))]
    finished: list[tuple[float, int, str]] = []

    def work(place: int) -> None:
        dispatch.enlist(place)
        mine = checkpoints[place::workers] if crew.dealt else _given(dispatch, place, checkpoints)
        for checkpoint in _measured(hubs[place // regime.on_a_line], iter(mine), crew, place):
            finished.append((clock.now, place, checkpoint.key))
            dispatch.end(place, checkpoint.key)
        dispatch.leave(place)

    spent = time.process_time()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(work, place) for place in range(workers)]
        for future in futures:
            clock.run(future)
            future.result()
    return Outcome(
        makespan=max(when for when, _, _ in finished),
        finished=tuple((place, key) for _, place, key in finished),
        disk=max(_share(hub, min(workers, regime.on_a_line)) for hub in hubs),
        own=(time.process_time() - spent) / len(finished),
    )


def _given(dispatch: Dispatch, worker: int, checkpoints: Sequence[Checkpoint]) -> Iterator[Checkpoint]:
    """What the queue gives to `worker`, each when it may be fetched."""
    named = {one.key: one for one in checkpoints}
    while not isinstance(answer := dispatch.take(worker), Answer):
        yield named[answer]


def _measured(hub: SimulatedHub, mine: Iterator[Checkpoint], crew: Crew, place: int) -> Iterator[Checkpoint]:
    """What one worker measures, one after the other, until nothing is left or its end comes."""
    regime, clock, end = hub.regime, hub.clock, crew.ends.get(place, math.inf)
    needed = (regime.load + regime.compute) / crew.speeds[place]
    budget = regime.budget // SHRINKING
    with CheckpointStream(hub, mine, budget=budget, ahead=regime.ahead) as stream:
        for arrival in stream:
            with arrival.path(arrival.checkpoint):
                clock.sleep(min(needed, end - clock.now))
            if clock.now >= end:
                return
            yield arrival.checkpoint


def _files_of_all(checkpoints: Sequence[Checkpoint], regime: Regime) -> None:
    """Hash what the hub lists before the clock starts."""
    for checkpoint in checkpoints:
        _files(checkpoint.commit, regime.size)


def _hub(regime: Regime, clock: Clock, place: int) -> SimulatedHub:
    return SimulatedHub(
        name=f"line-{place}/{SUITE.partition('/')[2]}",
        family=families.of(SUITE),
        listing=(),
        line=Line(clock, total=regime.line, each=regime.each),
        clock=clock,
        regime=regime,
    )


def _share(hub: SimulatedHub, workers: int) -> float:
    return max(hub.peaks, default=0) / (workers * (hub.regime.budget // SHRINKING))
