"""A series of checkpoints as a stream: the next ones are fetched while one is in use, and each goes when it has been used.

>>> with CheckpointStream(source, checkpoints, budget=60 * 10**9) as stream:
...     for arrival in stream:
...         model = load(arrival, arrival.checkpoint)
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from functools import partial
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError, ConfigError, IntegrityError
from trustrace.models.arrivals import Arrival
from trustrace.models.fetching import Fetching
from trustrace.models.holdings import Holdings
from trustrace.models.hub import HubSource
from trustrace.models.shelf import HubFile, Shelf, differs
from trustrace.models.sources import CheckpointSource
from trustrace.models.transience import PATIENCE, asked_wait, is_damage, is_transient

Value = TypeVar("Value")


class State(Enum):
    """Where a checkpoint of a stream stands."""

    WANTED = "wanted"
    RESERVED = "reserved"
    DOWNLOADING = "downloading"
    READY = "ready"
    IN_USE = "in use"
    EVICTED = "evicted"
    KEPT = "kept"
    FAILED = "failed"


FOLLOWING: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.WANTED: frozenset({State.RESERVED, State.FAILED}),
        State.RESERVED: frozenset({State.DOWNLOADING, State.EVICTED}),
        State.DOWNLOADING: frozenset({State.READY, State.FAILED, State.EVICTED}),
        State.READY: frozenset({State.IN_USE, State.EVICTED, State.KEPT}),
        State.IN_USE: frozenset({State.EVICTED, State.KEPT}),
        State.EVICTED: frozenset(),
        State.KEPT: frozenset(),
        State.FAILED: frozenset(),
    }
)
"""Which state may follow which."""

HASHED_AT_ONCE = 4
"""Files of a checkpoint that are held against the hub's hashes at the same time."""

LOOK_AGAIN = 2.0
"""Seconds between looks whether another process has given back room on the disk."""

_CLAIMED = frozenset({State.RESERVED, State.DOWNLOADING, State.READY, State.IN_USE})


class CheckpointStream:
    """The checkpoints of a series, one after the other, in the order they are given.

    A background thread fetches the next ones while one is in use. What the stream brought goes when the next checkpoint is asked for;
    what was in the cache before is not touched. Checkpoints in folders are there already and pass untouched.

    A checkpoint that cannot be fetched arrives as its error, and the others go on. Failures that may pass are tried again
    (:mod:`trustrace.models.transience`); what arrives is compared with the hash that the hub lists.
    """

    def __init__(
        self,
        source: CheckpointSource,
        checkpoints: Iterable[Checkpoint],
        *,
        budget: int | None = None,
        ahead: int = 1,
        keep: bool = False,
        patience: Sequence[float] = PATIENCE,
    ) -> None:
        """Describe a stream; nothing happens before it is entered or iterated.

        Args:
            source: Where the checkpoints come from.
            checkpoints: Which, in which order. The fetching thread asks for the next one when it may be fetched, so that several
                streams can share the checkpoints of a queue.
            budget: Bytes that may lie on the disk of what the stream brings, half files included; None is what the disk has.
            ahead: How many checkpoints are fetched before their turn.
            keep: Whether what was brought stays in the cache.
            patience: Seconds before each further attempt.
        """
        self._series, self._coming = source, iter(checkpoints)
        self._fetcher = (
            _Fetcher(source, self._coming, budget=budget, ahead=ahead, keep=keep, patience=tuple(patience))
            if isinstance(source, HubSource)
            else None
        )

    def __enter__(self) -> "CheckpointStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop fetching; what the stream brought and nobody uses any more goes. A wait that the hub's client sits out is waited for."""
        if self._fetcher is not None:
            self._fetcher.close()

    @property
    def states(self) -> Mapping[str, State]:
        """Where each checkpoint that was asked for stands, by its key; empty where nothing is to be fetched."""
        return self._fetcher.states if self._fetcher is not None else {}

    @property
    def held_bytes(self) -> int:
        """Bytes that are taken of the budget now."""
        return self._fetcher.held if self._fetcher is not None else 0

    @property
    def fetching(self) -> Fetching | None:
        """What is being fetched now."""
        return self._fetcher.fetching if self._fetcher is not None else None

    def __iter__(self) -> Iterator[Arrival]:
        """The checkpoints; each is let go when the next one is asked for.

        Raises:
            ConfigError: a checkpoint is larger than the budget.
        """
        if self._fetcher is None:
            yield from (Arrival(checkpoint=one, series=self._series) for one in self._coming)
            return
        try:
            for place in count():
                arrival = self._fetcher.arrival(place)
                if arrival is None:
                    return
                yield arrival
                self._fetcher.let_go(place)
        finally:
            self.close()


class _Closed(Exception):  # noqa: N818
    """The stream is closed; whatever is under way ends."""


class _Fetcher:
    """The thread behind a stream, and what it shares with whoever iterates."""

    def __init__(
        self,
        source: HubSource,
        coming: Iterator[Checkpoint],
        *,
        budget: int | None,
        ahead: int,
        keep: bool,
        patience: tuple[float, ...],
    ) -> None:
        self._source, self._coming, self._ahead, self._keep, self._patience = source, coming, ahead, keep, patience
        self._shelf = Shelf.of(source.name)
        self._budget = budget
        self._holdings: Holdings | None = None
        self.fetching: Fetching | None = None
        self._changed = threading.Condition()
        self._order: list[Checkpoint] = []
        self._states: list[State] = []
        self._commits: list[str] = []
        self._arrivals: dict[int, Arrival] = {}
        self._asked = -1
        self._closed = False
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trustrace-stream")
        self._work: Future[None] | None = None

    @property
    def states(self) -> Mapping[str, State]:
        with self._changed:
            return {one.key: state for one, state in zip(self._order, self._states, strict=True)}

    @property
    def held(self) -> int:
        with self._changed:
            return self._holdings.held if self._holdings is not None else 0

    def arrival(self, place: int) -> Arrival | None:
        """Wait until the checkpoint is here or has failed; None where no more is coming."""
        with self._changed:
            self._start()
            self._asked = place
            self._changed.notify_all()
            while place not in self._arrivals and not self._is_over():
                self._changed.wait()
            if place not in self._arrivals:
                self._require_the_end()
                return None
            if self._states[place] is State.READY:
                self._move(place, State.IN_USE)
            return self._arrivals[place]

    def let_go(self, place: int) -> None:
        """The checkpoint has been used."""
        with self._changed:
            self._release(place)
            self._changed.notify_all()

    def close(self) -> None:
        """Stop the thread and let go of what is here."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._changed:
            for place in range(len(self._order)):
                self.let_go(place)
            if self._holdings is not None:
                self._holdings.close()
                self._holdings = None

    def _start(self) -> None:
        if self._closed:
            raise CheckpointError(f"{self._source.name}: this stream is closed; open another one")
        if self._work is None:
            self._holdings = Holdings(self._shelf, budget=self._budget, keep=self._keep)
            self._work = self._pool.submit(self._fetch_all)
            self._work.add_done_callback(self._tell)

    def _tell(self, _: Future[None]) -> None:
        with self._changed:
            self._changed.notify_all()

    def _is_over(self) -> bool:
        return self._closed or (self._work is not None and self._work.done())

    def _require_the_end(self) -> None:
        """Raise whatever the thread ended with, or that it was stopped; nothing where it came to the end."""
        if self._work is not None and self._work.done() and not self._work.cancelled():
            self._work.result()
        if self._closed:
            raise CheckpointError(f"{self._source.name}: this stream was closed while a checkpoint was waited for")

    def _fetch_all(self) -> None:
        """The thread's work: one checkpoint after the other, never further ahead than is asked for."""
        with contextlib.suppress(_Closed):
            for place in count():
                self._wait_for(partial(self._is_asked_for, place))
                checkpoint = next(self._coming, None)
                if checkpoint is None:
                    return
                with self._changed:
                    self._order.append(checkpoint)
                    self._states.append(State.WANTED)
                    self._commits.append(checkpoint.commit)
                self._attend(place, checkpoint)

    def _attend(self, place: int, checkpoint: Checkpoint) -> None:
        """Fetch one checkpoint; it arrives, or its error does."""
        try:
            folder = self._brought(place, checkpoint)
        except CheckpointError as error:
            self._fail(place, error)
        except ConfigError as error:
            # A budget that is too small for the first checkpoint is too small for the series.
            if not self._arrivals:
                raise
            self._fail(place, CheckpointError(str(error)))
        else:
            self._arrive(place, Arrival(checkpoint=checkpoint, series=self._source, folder=folder), State.READY)

    def _is_asked_for(self, place: int) -> bool:
        return place <= self._asked + self._ahead

    def _brought(self, place: int, checkpoint: Checkpoint) -> Path:
        """The folder of a checkpoint, fetched and compared with what the hub lists."""
        pinned = self._trying(lambda: self._source.pin(checkpoint))
        self._commits[place] = pinned.commit
        files = self._trying(lambda: self._source.files(pinned))
        self._wait_for(lambda: self._is_claimed(place, pinned, files), every=LOOK_AGAIN)
        with self._changed:
            self._move(place, State.DOWNLOADING)
        self.fetching = Fetching(checkpoint=checkpoint.key, files=tuple(files), shelf=self._shelf)
        try:
            return self._trying(lambda: self._fetched(pinned, files))
        finally:
            self.fetching = None

    def _is_claimed(self, place: int, checkpoint: Checkpoint, files: Sequence[HubFile]) -> bool:
        if self._holdings is None or not self._holdings.claim(checkpoint.commit, files, name=checkpoint.key):
            return False
        self._move(place, State.RESERVED)
        return True

    def _fetched(self, checkpoint: Checkpoint, files: Sequence[HubFile]) -> Path:
        folder = self._source.fetch(checkpoint, files, bar=self._bar(), named=self._keep)
        # Hashing one file takes one core, and the line waits for it.
        with ThreadPoolExecutor(max_workers=HASHED_AT_ONCE, thread_name_prefix="trustrace-hash") as pool:
            wrong = pool.map(lambda file: differs(folder / file.name, file, heed=self._heed), files)
            for file, is_wrong in zip(files, wrong, strict=True):
                if is_wrong:
                    self._refuse(checkpoint, file)
        return folder

    def _refuse(self, checkpoint: Checkpoint, file: HubFile) -> None:
        with self._changed:
            ours = self._holdings is not None and self._holdings.discard(checkpoint.commit, file)
        path = self._shelf.blob(file.content)
        way_out = "the hub's own copy may be damaged" if ours else f"it was in the cache before; remove {path}"
        wrong = IntegrityError(f"{file.name} differs from {file.content}, the hash that the hub lists")
        raise CheckpointError(f"{checkpoint.key}: {wrong}; {way_out}") from wrong

    def _trying(self, work: Callable[[], Value]) -> Value:
        """What `work` gives, tried again where its failure may pass; damage is given one more chance alone."""
        damages = 0
        for wait in self._patience:
            try:
                return work()
            except CheckpointError as error:
                damages += is_damage(error)
                if not is_transient(error) or damages > 1:
                    raise
                self._sleep(max(wait, asked_wait(error)))
        return work()

    def _fail(self, place: int, error: CheckpointError) -> None:
        with self._changed:
            if self._states[place] is not State.WANTED and self._holdings is not None:
                self._holdings.release(self._commits[place], is_complete=False)
            arrival = Arrival(checkpoint=self._order[place], series=self._source, error=error)
            self._arrive(place, arrival, State.FAILED)

    def _arrive(self, place: int, arrival: Arrival, state: State) -> None:
        with self._changed:
            self._move(place, state)
            self._arrivals[place] = arrival
            self._changed.notify_all()

    def _release(self, place: int) -> None:
        if self._holdings is not None and self._states[place] in _CLAIMED:
            is_complete = self._states[place] in (State.READY, State.IN_USE)
            self._holdings.release(self._commits[place], is_complete=is_complete)
            self._move(place, State.KEPT if self._keep and is_complete else State.EVICTED)

    def _move(self, place: int, state: State) -> None:
        if state not in FOLLOWING[self._states[place]]:
            raise RuntimeError(f"a checkpoint cannot go from {self._states[place].value} to {state.value}")
        self._states[place] = state

    def _wait_for(self, ready: Callable[[], bool], *, every: float | None = None) -> None:
        """Wait until `ready`, which is asked when something changes here, and `every` so many seconds."""
        with self._changed:
            while True:
                self._heed()
                if ready():
                    return
                self._changed.wait(every)

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, timeout=seconds)
            self._heed()

    def _heed(self) -> None:
        if self._closed:
            raise _Closed

    def _bar(self) -> type[Any]:
        """A progress bar that nobody sees and that ends the download when the stream is closed."""
        heed = self._heed

        class Heeding(tqdm):
            # tqdm would start a thread for this class to watch its bars, one more with each checkpoint.
            monitor_interval = 0

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs | {"disable": True})  # type: ignore[no-untyped-call]

            def update(self, n: int | float | None = 1) -> Any:
                heed()
                return super().update(n)

        return Heeding
