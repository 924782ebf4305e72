"""What chance gives: the distribution of ⟨A, P B P'⟩ when the rows of one variable are permuted against the other.

Its first two moments are known exactly, without drawing a permutation; a Pearson III distribution with these moments gives tails and bands.
Labels are permuted for real, and only in ways that keep groups together: rows of one group are not independent, so exchanging single rows
would call everything significant.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.stats import pearson3

from trustrace.measures.information.operators import Operator, unbiased_inner


@dataclass(frozen=True, kw_only=True)
class Null:
    """The permutation distribution of a measure, by its moments."""

    mean: float
    deviation: float
    skewness: float

    def p_value(self, value: float) -> float:
        """The chance of a value as large or larger."""
        if self.deviation == 0:
            return float("nan")
        return float(pearson3.sf(value, self.skewness, loc=self.mean, scale=self.deviation))

    def band(self, level: float = 0.95) -> tuple[float, float]:
        """The central `level` of the distribution."""
        if self.deviation == 0:
            return self.mean, self.mean
        tail = (1 - level) / 2
        lower, upper = pearson3.ppf([tail, 1 - tail], self.skewness, loc=self.mean, scale=self.deviation)
        return float(lower), float(upper)

    def scaled(self, factor: float) -> "Null":
        """The distribution of the measure times `factor`."""
        return Null(mean=self.mean * factor, deviation=self.deviation * factor, skewness=self.skewness)


def permutation_null(a: Operator, b: Operator) -> Null:
    """The null of ⟨A, P B P'⟩ over all n! permutations: exact mean and deviation; skewness as of a weighted sum of squares.

    References:
        Kazi-Aoual, Hitier, Sabatier and Lebreton (1995), Refined approximations to permutation tests for multivariate inference.
        Josse, Pagès and Husson (2008), Testing the significance of the RV coefficient.
    """
    n = len(a)
    mean = a.trace * b.trace / (n - 1)
    spread = [(n - 1) * one.squared - one.trace**2 for one in (a, b)]
    peak = [n * (n + 1) * one.diagonal_squared - (n - 1) * (one.trace**2 + 2 * one.squared) for one in (a, b)]
    variance = 2 * spread[0] * spread[1] / ((n - 1) ** 2 * (n + 1) * (n - 2))
    variance += peak[0] * peak[1] / ((n + 1) * n * (n - 1) * (n - 2) * (n - 3))
    deviation = max(0.0, variance) ** 0.5
    # A gamma distribution that starts at 0 has this skewness; sums of squares with few large weights are close to it.
    return Null(mean=mean, deviation=deviation, skewness=2 * deviation / mean if mean > 0 else 0.0)


def unbiased_null(a: Operator, b: Operator, biased: Null) -> Null:
    """The null of the U-centred forms: their traces are 0, and so is their mean.

    The unbiased form is the biased one, shifted and rescaled, up to diagonals that permutations hardly move; so it has its skewness.
    """
    n = len(a)
    sizes = [unbiased_inner(one, one, one.squared) for one in (a, b)]
    variance = 2 * sizes[0] * sizes[1] / ((n + 1) * (n - 2)) * (1 + 2 * (n - 1) / (n * (n - 3)))
    return Null(mean=0.0, deviation=max(0.0, variance) ** 0.5, skewness=biased.skewness)


def excess(a: Operator, b: Operator, product: float) -> float:
    """⟨A, B⟩ above its permutation mean: the inner product of what A and B are beyond a multiple of the identity."""
    return product - a.trace * b.trace / (len(a) - 1)


def permuted_labels(
    labels: Int[np.ndarray, " statement"], groups: tuple[str, ...], *, draws: int, rng: np.random.Generator
) -> Int[np.ndarray, "statement draw"]:
    """Labels that mean nothing, but sit in the groups as the real ones do.

    Each draw exchanges whole groups of one size with each other and shuffles labels inside each group. A group of a clean and a perturbed
    twin keeps one of each; a group whose rows share a label is moved as one.

    References:
        Winkler, Webster, Vidaurre, Nichols and Smith (2015), Multi-level block permutation.
    """
    _, membership = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(membership, kind="stable")
    sizes = np.bincount(membership)
    starts = np.cumsum(sizes) - sizes
    drawn = np.empty((len(labels), draws), dtype=labels.dtype)
    for size in np.unique(sizes):
        # Row k of `blocks` holds the statements of one group of this size.
        blocks = order[starts[sizes == size][:, None] + np.arange(size)]
        for draw in range(draws):
            shuffled = rng.permuted(labels[blocks], axis=1) if size > 1 else labels[blocks]
            drawn[blocks, draw] = shuffled[rng.permutation(len(blocks))]
    return drawn
