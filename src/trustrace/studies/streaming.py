"""The models of a trace in turn: in which order they are measured, each with the place that holds its files while it is its turn."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.progress import Progress, silent
from trustrace.models.ordering import coarse_first
from trustrace.models.sources import CheckpointSource
from trustrace.models.stream import CheckpointStream
from trustrace.studies.planning import Plan, Subject
from trustrace.studies.settings import Order, Settings
from trustrace.studies.watched import Watched


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What is measured while the files of one checkpoint are here.

    Attributes:
        checkpoint: The one whose files are brought; None where nothing has to be.
        subjects: The models that are measured then, one after the other.
    """

    checkpoint: Checkpoint | None
    subjects: tuple[Subject, ...]

    @property
    def key(self) -> str:
        """What tells it from the other visits of a trace."""
        return self.checkpoint.key if self.checkpoint else "fresh"


Turn = tuple[Visit, CheckpointSource]
"""A visit, and where to load its models from."""


def ordered(
    subjects: Sequence[Subject], *, waiting: Collection[str], last: Subject | None, order: Order
) -> tuple[Visit, ...]:
    """The order in which models are measured.

    Args:
        subjects: All models of a trace.
        waiting: The keys of those that are to be measured.
        last: The one that has to come first whether it is waiting or not, because all others are compared with it.
        order: Of the trained ones; what is finished has its place in it, so that a run which goes on refines what it has.

    Returns:
        Those that are waiting, and `last`. Models with fresh weights belong to the visit of the first checkpoint of the series where there
        is one, since they take its architecture; otherwise they begin, but for `last`.
    """
    trained = {subject.checkpoint: subject for subject in subjects if subject.role == "measured"}
    fresh = tuple(one for one in subjects if one.role == "floor" and one.checkpoint.key in waiting)
    in_order = [trained[one] for one in (coarse_first(tuple(trained)) if order == "coarse" else trained)]
    queue = [one for one in in_order if one is last or one.checkpoint.key in waiting]
    queue.sort(key=lambda subject: subject is not last)
    visits = [Visit(checkpoint=one.checkpoint, subjects=(one,)) for one in queue]
    host = next((place for place, one in enumerate(queue) if one.checkpoint == min(trained)), None)
    if host is not None:
        visits[host] = replace(visits[host], subjects=(*visits[host].subjects, *fresh))
    elif fresh:
        visits.insert(int(bool(last)), Visit(checkpoint=None, subjects=fresh))
    return tuple(visits)


@contextmanager
def in_turn(
    plan: Plan, visits: Iterable[Visit], *, settings: Settings, progress: Progress = silent
) -> Iterator[Iterator[Turn]]:
    """The `visits` one after the other; while one is made, files for the next ones are fetched, within the budget of the disk.

    The next visit is asked for when its files may be fetched.
    """
    known: deque[Visit] = deque()

    def wanted() -> Iterator[Checkpoint]:
        for visit in visits:
            known.append(visit)
            if visit.checkpoint is not None:
                yield visit.checkpoint

    stream = CheckpointStream(
        plan.source, wanted(), budget=settings.disk_budget, ahead=settings.ahead, keep=not settings.lets_go
    )
    if isinstance(progress, Watched):
        progress.follow(stream, budget=settings.disk_budget)
    with stream:
        yield _turns(known, stream, plan.source)


def _turns(known: deque[Visit], arrivals: Iterable[CheckpointSource], series: CheckpointSource) -> Iterator[Turn]:
    """Arrivals come in the order of the visits that bring files; the others are made when they are met."""
    for arrival in arrivals:
        while known[0].checkpoint is None:
            yield known.popleft(), series
        yield known.popleft(), arrival
    while known:
        yield known.popleft(), series
