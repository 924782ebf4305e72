"""What becomes of each statement: when it is learned, how often it is forgotten, whether it is ever right.

A statement is right at a checkpoint if the probe that is fitted without its group names its label. It is learned at the first checkpoint
from which on it stays right; a forgetting is a checkpoint at which it is wrong after it was right at the one before. Predictions flicker,
so that forgettings mean nothing without what chance gives:

* ``strangers``: as if who is right were drawn anew at each checkpoint, at that checkpoint's accuracy: Σ a_t (1 - a_{t+1}) a statement.
* ``shuffled``: as if each statement's own right and wrong checkpoints came in random order: k (C - k) / C for k right of C. What is
  forgotten less often than that is kept by training, not by luck.

References:
    Toneva, Sordoni, Tachet des Combes, Trischler, Bengio and Gordon (2019), An empirical study of example forgetting during deep neural
    network learning.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int

from trustrace.core.errors import MeasurementError
from trustrace.core.measurements import Estimate
from trustrace.measures.scoring import Sample, Scores, Weights, mean

Hits = Bool[np.ndarray, "checkpoint tested"]
Kind = Literal["always right", "learned", "lost", "never right"]
"""``learned``: wrong at first, right at the end. ``lost``: right at some checkpoint, wrong at the last."""

NEVER = -1

_Score = Callable[[Weights], Scores]


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One statement over the checkpoints.

    Attributes:
        row: Its place in the dataset.
        kind: What became of it.
        learned_at: The checkpoint from which on it stays right; None where the last one is wrong.
        forgettings: How often it was right and then wrong.
        right: At how many checkpoints it is right.
        margin: The mean over checkpoints of the log-odds of its own label.
    """

    row: int
    kind: Kind
    learned_at: int | None
    forgettings: int
    right: int
    margin: float


def learned_at(hits: Hits) -> Int[np.ndarray, " tested"]:
    """The first checkpoint from which on each statement stays right; ``NEVER`` where the last one is wrong."""
    staying = np.cumprod(hits[::-1], axis=0).sum(axis=0)
    return np.where(staying > 0, len(hits) - staying, NEVER)


def forgettings(hits: Hits) -> Int[np.ndarray, " tested"]:
    """How often each statement is right at one checkpoint and wrong at the next."""
    return np.asarray((hits[:-1] & ~hits[1:]).sum(axis=0))


def trajectories(
    log_odds: Float64[np.ndarray, "checkpoint tested"],
    labels: Int[np.ndarray, " tested"],
    rows: Int[np.ndarray, " tested"],
) -> tuple[Trajectory, ...]:
    """What becomes of each statement, in the order of the dataset.

    Args:
        log_odds: Of label 1, from the fold that tests each statement.
        labels: 0 or 1 each.
        rows: The place of each tested statement in the dataset.
    """
    hits = right(log_odds, labels)
    margins = np.where(labels == 1, log_odds, -log_odds).mean(axis=0)
    learned, forgotten, count = learned_at(hits), forgettings(hits), hits.sum(axis=0)
    return tuple(
        Trajectory(
            row=int(row),
            kind=_kind(int(n), int(at), len(hits)),
            learned_at=None if at == NEVER else int(at),
            forgettings=int(lost),
            right=int(n),
            margin=float(margin),
        )
        for row, at, lost, n, margin in zip(rows, learned, forgotten, count, margins, strict=True)
    )


def hardest(found: Sequence[Trajectory], *, most: int) -> tuple[Trajectory, ...]:
    """The statements that are right at the fewest checkpoints; among equals, those most surely wrong."""
    return tuple(sorted(found, key=lambda one: (one.right, one.margin, one.row))[:most])


def right(log_odds: Float64[np.ndarray, "checkpoint tested"], labels: Int[np.ndarray, " tested"]) -> Hits:
    """Whether the sign of the log-odds names the label; even odds mean label 0."""
    return np.asarray((log_odds > 0) == (labels == 1))


def trajectory_estimates(hits: Hits, sample: Sample, *, method: str = "logistic") -> list[Estimate]:
    """The shares of kinds, and forgettings a statement beside what chance gives.

    ``always right`` and ``never right`` (and what strangers would give, as role ``control``), ``learned``, ``lost``, ``forgettings`` and
    its two controls. All with intervals by resampling groups.

    Raises:
        MeasurementError: there are fewer than two checkpoints.
    """
    if len(hits) < 2:
        raise MeasurementError("one checkpoint is no course: nothing can be learned or forgotten; bring at least two")
    return list(_shares(hits, sample, method)) + list(_forgetting(hits, sample, method))


def _shares(hits: Hits, sample: Sample, method: str) -> Iterator[Estimate]:
    always, never, last = hits.all(axis=0), ~hits.any(axis=0), hits[-1]
    kinds = {"always right": always, "learned": last & ~always, "lost": ~last & ~never, "never right": never}
    for name, members in kinds.items():
        yield sample.estimate(name, _share(members), method=method)
    for name, of in (("always right", hits), ("never right", ~hits)):
        yield sample.estimate(
            name, _product_of_rates(of), method=method, role="control", note="if strangers were right each time"
        )


def _forgetting(hits: Hits, sample: Sample, method: str) -> Iterator[Estimate]:
    counts, n, k = forgettings(hits).astype(np.float64), len(hits), hits.sum(axis=0)
    yield sample.estimate("forgettings", lambda w: mean(counts, w), method=method)
    shuffled = k * (n - k) / n
    yield sample.estimate(
        "forgettings", lambda w: mean(shuffled, w), method=f"{method} shuffled", role="control", note="in random order"
    )
    yield sample.estimate(
        "forgettings",
        _strangers(hits),
        method=f"{method} strangers",
        role="control",
        note="if strangers were right each time",
    )
    yield sample.estimate("forgettings beyond shuffled", lambda w: mean(counts - shuffled, w), method=method)


def _share(members: Bool[np.ndarray, " tested"]) -> _Score:
    values = members.astype(np.float64)
    return lambda w: mean(values, w)


def _rates(hits: Hits, weights: Weights) -> Float64[np.ndarray, "checkpoint draw"]:
    return np.stack([mean(one.astype(np.float64), weights) for one in hits])


def _product_of_rates(hits: Hits) -> _Score:
    return lambda w: np.asarray(_rates(hits, w).prod(axis=0))


def _strangers(hits: Hits) -> _Score:
    def expected(weights: Weights) -> Scores:
        rates = _rates(hits, weights)
        return np.asarray((rates[:-1] * (1 - rates[1:])).sum(axis=0))

    return expected


def _kind(count: int, at: int, checkpoints: int) -> Kind:
    if count == checkpoints:
        return "always right"
    if count == 0:
        return "never right"
    return "lost" if at == NEVER else "learned"
