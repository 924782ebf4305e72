"""Probes that are a difference of means: plain, and whitened by the covariance of the activations.

* ``mass_mean``: the direction μ₁ - μ₀ of the training rows.
* ``whitened_mean``: (Σ + γ)⁻¹ (μ₁ - μ₀), the direction of linear discriminant analysis. It is computed as ridge regression of the
  labels, whose weights have that direction for within-class and for total covariance alike (Sherman-Morrison). Its shrinkage is the
  regulariser that the logistic probe chose on the same training rows, with rows weighted 1/4, the curvature of the logistic loss at even
  odds: it is the first Newton step of that probe.

Each has one number per statement; slope and offset that make it log-odds (so also the threshold) are fitted on training rows, on scores
from inner folds, since scores of rows that formed the direction are too good.

References:
    Marks and Tegmark (2023), The geometry of truth (mass-mean probes).
    Platt (1999), Probabilistic outputs for support vector machines (targets that keep the fit finite).
    Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 4.3 and exercise 4.2.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from trustrace.measures.folds import Fold
from trustrace.measures.probing import FoldSpace, stack
from trustrace.measures.solver import Columns, solve
from trustrace.measures.spaces import FeatureSpace, TallSpace

RowScores = Float64[Tensor, "statement column"]
Direction = Callable[
    [FeatureSpace, Float64[Tensor, " statement"], Bool[Tensor, "statement column"], Float64[Tensor, " column"]],
    RowScores,
]
"""(space, labels, training masks, the C of each) to the scores of all rows under each mask's direction."""

# Where a direction does not carry over to the inner folds, it says next to nothing rather than the opposite; the order of rows is kept.
_FAINT = 1e-6

_ROUNDING = 1e-12


def mass_mean_scores(
    space: FeatureSpace,
    labels: Float64[Tensor, " statement"],
    train: Bool[Tensor, "statement column"],
    _: Float64[Tensor, " column"],
) -> RowScores:
    """Projections on μ₁ - μ₀, from the midpoint and in units of the distance: -1/2 and 1/2 at the training means."""
    ones, zeros = train * labels[:, None], train * (1 - labels[:, None])
    upper, lower = ones / ones.sum(0), zeros / zeros.sum(0)
    direction = space.double.pull(upper - lower)
    projections = space.responses(direction)
    distance = ((upper - lower) * projections).sum(0)
    midpoint = ((upper + lower) * projections).sum(0) / 2
    return torch.where(distance > 0, (projections - midpoint) / distance, 0.0)


def whitened_mean_scores(
    space: FeatureSpace,
    labels: Float64[Tensor, " statement"],
    train: Bool[Tensor, "statement column"],
    regularisers: Float64[Tensor, " column"],
) -> RowScores:
    """Projections on (Σ + γ)⁻¹ (μ₁ - μ₀): the predictions of ridge regression on the labels."""
    columns = Columns(
        labels=labels[:, None].expand(-1, train.shape[1]).contiguous(),
        weights=train.double() / 4,
        penalties=space.mean_variance(train) / regularisers,
    )
    return solve(space, columns, loss="squared", tolerance=1e-4).responses


def mean_probe(
    direction: Direction,
    spaces: Sequence[FoldSpace],
    labels: Float64[Tensor, " statement"],
    pairs: Sequence[Fold],
    *,
    regularisers: Sequence[float],
) -> Float64[np.ndarray, " statement"]:
    """The log-odds of label 1 for each row, from the fold that tests it; NaN where no fold does.

    Args:
        direction: :func:`mass_mean_scores` or :func:`whitened_mean_scores`.
        spaces: From :func:`trustrace.measures.probing.fold_spaces`.
        labels: 0 or 1 each.
        pairs: The outer folds, with their inner ones.
        regularisers: The ``C`` of each outer fold.
    """
    log_odds = np.full(len(labels), np.nan)
    for part in spaces:
        own = [pairs[index] for index in part.pairs]
        strengths = [regularisers[index] for index in part.pairs]
        columns = calibrated(direction, part.space, labels, own, regularisers=strengths)
        for column, pair in zip(columns.T, own, strict=True):
            log_odds[pair.test] = column[pair.test]
    return log_odds


def calibrated(
    direction: Direction,
    space: FeatureSpace,
    labels: Float64[Tensor, " statement"],
    pairs: Sequence[Fold],
    *,
    regularisers: Sequence[float],
) -> Float64[np.ndarray, "statement pair"]:
    """The log-odds of every row under each outer fold's probe, each fold at its own ``C``; all are in one space."""
    masks = [fold.train for pair in pairs for fold in (pair, *pair.inner)]
    strengths = [strength for pair, strength in zip(pairs, regularisers, strict=True) for _ in (pair, *pair.inner)]
    at = torch.tensor(strengths, dtype=torch.float64, device=labels.device)
    scored = direction(space, labels, stack(masks, space), at).cpu().numpy()
    columns, start = [], 0
    for pair in pairs:
        outer, inner = scored[:, start], scored[:, start + 1 : start + 1 + len(pair.inner)]
        start += 1 + len(pair.inner)
        slope, offset = platt(_held_out(inner, pair.inner)[pair.train], labels.cpu().numpy()[pair.train])
        columns.append(slope * outer + offset)
    return np.stack(columns, axis=1)


def platt(scores: Float64[np.ndarray, " statement"], labels: Float64[np.ndarray, " statement"]) -> tuple[float, float]:
    """Slope and offset of the log-odds of label 1 given a score; a slope below zero becomes faint, since the direction has a sign.

    The targets are (n₁ + 1)/(n₁ + 2) and 1/(n₀ + 2) instead of 1 and 0, so that a perfect separation stays finite.
    """
    positives, n = float(labels.sum()), len(labels)
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (n - positives + 2))
    centre, spread = float(scores.mean()), float(scores.std())
    base = float(np.log(targets.mean() / (1 - targets.mean())))
    # Scores that differ by rounding alone, as at a site where every activation is the same, say nothing.
    if spread <= _ROUNDING * float(np.abs(scores).max()):
        return 0.0, base
    standard = torch.from_numpy((scores - centre) / spread)
    line = TallSpace(coordinates=standard[:, None], d_model=1)
    columns = Columns(
        labels=torch.from_numpy(targets)[:, None],
        weights=torch.ones(n, 1, dtype=torch.float64),
        # Too weak to be seen, strong enough to define the optimum of any scores.
        penalties=torch.full((1,), 1e-9 * n, dtype=torch.float64),
    )
    fitted = solve(line, columns, tolerance=1e-6)
    slope, offset = float(fitted.coefficients[0, 0]), float(fitted.intercepts[0])
    if slope <= 0:
        return _FAINT / spread, base - _FAINT * centre / spread
    return slope / spread, offset - slope * centre / spread


def _held_out(
    scored: Float64[np.ndarray, "statement column"], inner: Sequence[Fold]
) -> Float64[np.ndarray, " statement"]:
    """The score of each row from the inner fold that tests it."""
    held_out = np.full(len(scored), np.nan)
    for column, fold in zip(scored.T, inner, strict=True):
        held_out[fold.test] = column[fold.test]
    return held_out
