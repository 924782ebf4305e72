"""The models of a trace in turn: in which order they are measured, each with the place that holds its files while it is its turn."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from trustrace.models.ordering import coarse_first
from trustrace.models.sources import CheckpointSource
from trustrace.models.stream import CheckpointStream
from trustrace.studies.planning import Plan, Subject
from trustrace.studies.settings import Order, Settings

Turn = tuple[Subject, CheckpointSource]
"""A model, and where to load it from."""


def ordered(
    subjects: Sequence[Subject], *, waiting: Collection[str], last: Subject | None, order: Order
) -> tuple[Subject, ...]:
    """The order in which models are measured.

    Args:
        subjects: All models of a trace.
        waiting: The keys of those that are to be measured.
        last: The one that has to come first whether it is waiting or not, because all others are compared with it.
        order: Of the trained ones; what is finished has its place in it, so that a run which goes on refines what it has.

    Returns:
        Those that are waiting, and `last`. Models with fresh weights follow the first checkpoint of the series where it is among them,
        since they take its architecture, and otherwise begin, but for `last`.
    """
    trained = {subject.checkpoint: subject for subject in subjects if subject.role == "measured"}
    fresh = [one for one in subjects if one.role == "floor" and one.checkpoint.key in waiting]
    in_order = [trained[one] for one in (coarse_first(tuple(trained)) if order == "coarse" else trained)]
    queue = [one for one in in_order if one is last or one.checkpoint.key in waiting]
    queue.sort(key=lambda subject: subject is not last)
    first = next((place for place, one in enumerate(queue, start=1) if one.checkpoint == min(trained)), int(bool(last)))
    return (*queue[:first], *fresh, *queue[first:])


@contextmanager
def in_turn(plan: Plan, queue: Sequence[Subject], *, settings: Settings) -> Iterator[Iterator[Turn]]:
    """The models of `queue` one after the other; while one is measured the next ones are fetched, within the budget of the disk."""
    wanted = [subject.checkpoint for subject in queue if subject.role == "measured"]
    stream = CheckpointStream(
        plan.source, wanted, budget=settings.disk_budget, ahead=settings.ahead, keep=not settings.lets_go
    )
    with stream:
        yield _turns(queue, iter(stream), plan.source)


def _turns(queue: Sequence[Subject], arrivals: Iterator[CheckpointSource], series: CheckpointSource) -> Iterator[Turn]:
    """A model with fresh weights takes its configuration from what is there at its turn, where that is what it imitates."""
    here = series
    for subject in queue:
        if subject.role == "measured":
            here = next(arrivals)
        yield subject, here
