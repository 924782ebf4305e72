"""In which order a series is worked through, so that a run that is stopped has seen all of training, if coarsely."""

from collections.abc import Sequence

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ConfigError
from trustrace.models.selection import log_progress


def coarse_first(checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """The last checkpoint, the first, and then always the one that is furthest from all before it in the logarithm of training.

    With x = log(1 + tokens seen) (steps where tokens are unknown, the place in the series where both are), the radius of the first k is
    the largest distance of any checkpoint to the nearest of them. It is at most twice that of the best choice of k checkpoints, for every
    k: the theorem of Gonzalez (1985) on farthest-first traversals.

    Returns:
        All checkpoints, each once. Of equally far ones the earlier comes first.
    """
    series = sorted(checkpoints)
    marks = _marks(series) if series else []
    distances = [float("inf")] * len(series)
    left = set(range(len(series)))
    order: list[int] = []
    for _ in series:
        furthest = max(left, key=lambda place: (distances[place], -place)) if order else len(series) - 1
        left.remove(furthest)
        order.append(furthest)
        distances = [min(known, abs(mark - marks[furthest])) for known, mark in zip(distances, marks, strict=True)]
    return tuple(series[place] for place in order)


def _marks(series: Sequence[Checkpoint]) -> list[float]:
    try:
        return log_progress(series)
    except ConfigError:
        return [float(place) for place in range(len(series))]
