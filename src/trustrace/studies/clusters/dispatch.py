"""Who makes which visit of a trace that several workers divide as they go.

Nothing here says what is finished: that is the run folder's to say, and a visit that is made twice finds its units there. So whatever is
lost with a worker, or with this, costs time and nothing else.
"""

import threading
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

LIVES = 3
"""How often a visit may end with the death of its worker before nobody makes it any more."""

FALSE_STARTS = 10
"""How often in a row a worker may die without having made a visit."""


class Answer(Enum):
    """What a worker is told that asks for a visit when none can be given."""

    WAIT = "wait"
    OVER = "over"


@dataclass
class _Leases:
    """What one worker has, in the order in which it got it."""

    taken: list[str] = field(default_factory=list)
    begun: str | None = None
    false_starts: int = 0
    node: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far the visits are.

    Attributes:
        waiting: Those that nobody has.
        under_way: Those that a worker has.
        done: How many were made.
        lost: Those that nobody makes any more, since their workers died of them.
        members: What was said of the workers, in the order in which they were enlisted.
    """

    waiting: tuple[str, ...]
    under_way: tuple[str, ...]
    done: int
    lost: tuple[str, ...]
    members: tuple[Mapping[str, Any], ...] = ()


class Dispatch:
    """Hands out visits by their keys, in order, to workers that ask for the next one when they may fetch its files.

    A worker that dies is enlisted again when it comes back, and what it had goes to whoever asks next.
    """

    def __init__(self, visits: Sequence[str], *, first_alone: bool = False) -> None:
        """Describe the visits.

        Args:
            visits: Their keys, in order.
            first_alone: Whether the others can only be begun when the first one has given what they need (:meth:`open`).
        """
        self._waiting = deque(visits)
        self._gate = visits[0] if first_alone and visits else None
        self._leases: dict[int, _Leases] = {}
        self._deaths: Counter[str] = Counter()
        self._lost: list[str] = []
        self._done: set[str] = set()
        self._members: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def enlist(self, worker: int, about: Mapping[str, Any] | None = None, *, node: str = "") -> int:
        """`worker` begins, or begins again after its death.

        Args:
            worker: Its number.
            about: What should be kept of the machine that it works on.
            node: Where it is.

        Returns:
            A number that no worker had before: its name in the run folder, where the dead may hold their locks for a while.
        """
        with self._lock:
            returns = worker in self._leases
            leases = self._leases.setdefault(worker, _Leases())
            leases.node = node
            leases.false_starts += returns
            self._bury(leases)
            self._give_back(leases)
            self._members.append(dict(about or {}))
            return len(self._members)

    def take(self, worker: int) -> str | Answer:
        """The next visit for `worker`."""
        with self._lock:
            leases = self._leases[worker]
            if leases.false_starts >= FALSE_STARTS:
                return Answer.OVER
            if self._gate is not None and self._gate not in self._waiting:
                return Answer.WAIT
            if not self._waiting:
                return Answer.OVER
            leases.taken.append(self._waiting.popleft())
            return leases.taken[-1]

    def begin(self, worker: int, visit: str) -> None:
        """The models of `visit` are loaded from now on: if the worker dies, it may be of this visit."""
        with self._lock:
            self._leases[worker].begun = visit

    def open(self) -> None:
        """The first visit has given what all others need."""
        with self._lock:
            self._gate = None

    def end(self, worker: int, visit: str) -> None:
        """All units of `visit` are finished, or have failed."""
        with self._lock:
            leases = self._leases[worker]
            leases.begun, leases.false_starts = None, 0
            leases.taken = [one for one in leases.taken if one != visit]
            self._done.add(visit)
            if visit == self._gate:
                self._gate = None

    def stop(self) -> None:
        """No further visit can be made."""
        with self._lock:
            self._waiting.clear()
            self._gate = None

    def leave(self, worker: int) -> None:
        """`worker` makes no more visits; what it has goes back."""
        with self._lock:
            self._give_back(self._leases.setdefault(worker, _Leases()))

    def fall(self, worker: int) -> None:
        """`worker` ended with an error and comes back no more; the visit it was at is tried by others, after all that are waiting."""
        with self._lock:
            leases = self._leases.setdefault(worker, _Leases())
            visit = leases.begun
            self._bury(leases)
            if visit in leases.taken and visit != self._gate:
                leases.taken.remove(visit)
                self._waiting.append(visit)
            self._give_back(leases)

    def miss(self, present: Collection[str]) -> None:
        """Only the nodes that are `present` are there; what workers on others had goes back, before they come again elsewhere."""
        with self._lock:
            for leases in self._leases.values():
                if leases.taken and leases.node and leases.node not in present:
                    self._bury(leases)
                    self._give_back(leases)

    def standing(self) -> Standing:
        """How far the visits are."""
        with self._lock:
            under_way = tuple(visit for leases in self._leases.values() for visit in leases.taken)
            return Standing(
                waiting=tuple(self._waiting),
                under_way=under_way,
                done=len(self._done),
                lost=tuple(self._lost),
                members=tuple(self._members),
            )

    def _bury(self, leases: _Leases) -> None:
        """Count a death for the visit that was under way; one that killed too often is nobody's any more."""
        visit, leases.begun = leases.begun, None
        if visit is None:
            return
        self._deaths[visit] += 1
        if self._deaths[visit] < LIVES:
            return
        leases.taken.remove(visit)
        self._lost.append(visit)
        if visit == self._gate:
            self._waiting.clear()
            self._gate = None

    def _give_back(self, leases: _Leases) -> None:
        self._waiting.extendleft(reversed(leases.taken))
        leases.taken, leases.begun = [], None
