"""When to save and how fast to learn: pure functions of the step."""

import math

from trustrace.training.config import Optimizer, Saves


def save_steps(total: int, saves: Saves) -> tuple[int, ...]:
    """The steps at which a run of `total` steps is saved, in order.

    Step 0; ``dense`` steps from 1 to ``dense_until``, evenly spaced in the logarithm and rounded; every multiple of ``every`` beyond;
    the last.

    Example:
        >>> save_steps(12, Saves(dense=3, dense_until=4, every=5))
        (0, 1, 2, 4, 5, 10, 12)
    """
    steps = {0, total, *log_spaced(saves.dense, until=saves.dense_until)}
    steps |= {step for step in range(saves.every, total, saves.every) if step > saves.dense_until}
    return tuple(sorted(step for step in steps if step <= total))


def log_spaced(count: int, *, until: int) -> set[int]:
    """`count` steps from 1 to `until`, evenly spaced in the logarithm and rounded; fewer where they coincide."""
    if count < 2:
        return {until} if count else set()
    return {round(until ** (i / (count - 1))) for i in range(count)}


def learning_rate(update: int, *, total: int, optimizer: Optimizer) -> float:
    """The learning rate of update 1 .. `total`.

    Linear up to the peak, which update ``warmup_steps`` has; then ``floor + (peak - floor) (1 + cos(pi p)) / 2``, where p runs from 0 to 1
    at update `total`, which has the floor.
    """
    peak, floor, warmup = optimizer.learning_rate, optimizer.floor, optimizer.warmup_steps
    if update <= warmup:
        return peak * update / warmup
    position = (update - warmup) / (total - warmup)
    return floor + (peak - floor) * (1 + math.cos(math.pi * position)) / 2
