"""The logistic probe, its regulariser chosen inside the training rows, over all folds at once.

Every inner fit of every outer fold, at every regulariser, is one column of one call of :func:`trustrace.measures.solver.solve`. Inner fits
that leave out the same two folds are the same fit and are made once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor
from torch.nn.functional import softplus

from trustrace.measures.config import Features
from trustrace.measures.folds import Fold
from trustrace.measures.solver import Columns, Solution, solve
from trustrace.measures.spaces import FeatureSpace, feature_space

SELECTION_TOLERANCE = 1e-2
"""Enough to rank regularisers: a loss within 1e-4 of its optimum."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldSpace:
    """The feature space of some outer folds: of all of them, unless features are fitted on each fold's training rows."""

    space: FeatureSpace
    pairs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """A probe as its outer folds see it.

    Attributes:
        log_odds: Of label 1 for each row, from the fold that tests it; NaN where no fold does.
        regularisers: The ``C`` that each outer fold chose.
        inner_losses: The inner log loss (nats) of each outer fold at its choice: the score by which sites may be chosen.
    """

    log_odds: Float64[np.ndarray, " statement"]
    regularisers: tuple[float, ...]
    inner_losses: tuple[float, ...]


def fold_spaces(values: Tensor, pairs: Sequence[Fold], *, features: Features) -> tuple[FoldSpace, ...]:
    """One space for all folds, or one for each where features are fitted on training rows."""
    if features != "zscore":
        return (FoldSpace(space=feature_space(values, features=features), pairs=tuple(range(len(pairs)))),)
    return tuple(
        FoldSpace(
            space=feature_space(values, features=features, train=torch.from_numpy(pair.train).to(values.device)),
            pairs=(index,),
        )
        for index, pair in enumerate(pairs)
    )


def logistic_probe(
    spaces: Sequence[FoldSpace],
    labels: Float64[Tensor, " statement"],
    pairs: Sequence[Fold],
    *,
    regularisers: Sequence[float],
) -> Probe:
    """Fit and score the logistic probe.

    Args:
        spaces: From :func:`fold_spaces`.
        labels: 0 or 1 each.
        pairs: The outer folds, with their inner ones.
        regularisers: The grid of ``C``, ascending; a tie goes to the smaller, which regularises more.
    """
    chosen: dict[int, tuple[float, float]] = {}
    log_odds = np.full(len(labels), np.nan)
    for part in spaces:
        own = [pairs[index] for index in part.pairs]
        chosen |= dict(zip(part.pairs, choices(part.space, labels, own, regularisers=regularisers), strict=True))
        outer = fit_masks(
            part.space, labels[:, None], [pair.train for pair in own], [chosen[index][0] for index in part.pairs]
        )
        scatter(log_odds, outer, own)
    return Probe(
        log_odds=log_odds,
        regularisers=tuple(chosen[index][0] for index in range(len(pairs))),
        inner_losses=tuple(chosen[index][1] for index in range(len(pairs))),
    )


def fit_masks(
    space: FeatureSpace,
    labels: Float64[Tensor, "statement #column"],
    masks: Sequence[Bool[np.ndarray, " statement"]],
    regularisers: Sequence[float],
    *,
    tolerance: float = 1e-3,
) -> Float64[Tensor, "statement column"]:
    """The log-odds of every row under logistic probes fitted on `masks`, each at its own ``C`` on features of mean training variance 1."""
    return solve_masks(space, labels, masks, regularisers, tolerance=tolerance).responses


def solve_masks(
    space: FeatureSpace,
    labels: Float64[Tensor, "statement #column"],
    masks: Sequence[Bool[np.ndarray, " statement"]],
    regularisers: Sequence[float],
    *,
    tolerance: float = 1e-3,
) -> Solution:
    """The probes of :func:`fit_masks` themselves."""
    train = stack(masks, space)
    penalties = space.mean_variance(train) / torch.tensor(regularisers, dtype=torch.float64, device=train.device)
    columns = Columns(labels=labels.expand(-1, len(masks)).contiguous(), weights=train.double(), penalties=penalties)
    return solve(space, columns, tolerance=tolerance)


def choices(
    space: FeatureSpace,
    labels: Float64[Tensor, " statement"],
    pairs: Sequence[Fold],
    *,
    regularisers: Sequence[float],
) -> list[tuple[float, float]]:
    """The ``C`` that each of `pairs` chooses inside its training rows, and its log loss (nats) there."""
    losses = _inner_losses(space, labels, pairs, regularisers=regularisers)
    return [(regularisers[int(row.argmin())], float(row.min())) for row in losses]


def stack(masks: Sequence[Bool[np.ndarray, " statement"]], space: FeatureSpace) -> Bool[Tensor, "statement column"]:
    """Masks as columns, where the space lives."""
    return torch.from_numpy(np.stack(masks, axis=1)).to(space.device)


def scatter(
    log_odds: Float64[np.ndarray, " statement"], fitted: Float64[Tensor, "statement column"], pairs: Sequence[Fold]
) -> None:
    """Fill in the rows that each of `pairs` tests from its own column."""
    for column, pair in zip(fitted.cpu().numpy().T, pairs, strict=True):
        log_odds[pair.test] = column[pair.test]


def distinct_inner_masks(pairs: Sequence[Fold]) -> tuple[list[Bool[np.ndarray, " statement"]], dict[bytes, int]]:
    """The different training masks of all inner folds, and where each of them stands."""
    masks = {inner.train.tobytes(): inner.train for pair in pairs for inner in pair.inner}
    return list(masks.values()), {key: place for place, key in enumerate(masks)}


def _inner_losses(
    space: FeatureSpace,
    labels: Float64[Tensor, " statement"],
    pairs: Sequence[Fold],
    *,
    regularisers: Sequence[float],
) -> Float64[np.ndarray, "pair regulariser"]:
    """The mean log loss of each outer fold's inner test rows, at each regulariser."""
    masks, place = distinct_inner_masks(pairs)
    grid = len(regularisers)
    fitted = fit_masks(
        space,
        labels[:, None],
        [mask for mask in masks for _ in regularisers],
        list(regularisers) * len(masks),
        tolerance=SELECTION_TOLERANCE,
    )
    losses = (softplus(fitted) - labels[:, None] * fitted).cpu().numpy()
    table = np.empty((len(pairs), grid))
    for row, pair in enumerate(pairs):
        total = np.zeros(grid)
        for inner in pair.inner:
            first = place[inner.train.tobytes()] * grid
            total += losses[inner.test, first : first + grid].sum(axis=0)
        table[row] = total / sum(int(inner.test.sum()) for inner in pair.inner)
    return table
