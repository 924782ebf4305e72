"""What chance gives: the distribution of ⟨A, P B P'⟩ when the rows of one variable are permuted against the other.

Rows of one group are not independent, and exchanging single rows would call everything significant. So permutations exchange whole
groups of one size with each other and shuffle the rows inside each group. The mean over all of them is known exactly, without drawing
one; so is the deviation where every row is a group of its own, and elsewhere some are drawn.

References:
    Winkler, Webster, Vidaurre, Nichols and Smith (2015), Multi-level block permutation.
"""

from dataclasses import dataclass

from scipy.stats import pearson3

from trustrace.measures.information.operators import Operator

LEAST_P = 1e-6
"""A tail that is fitted to moments says no more."""


@dataclass(frozen=True, kw_only=True)
class Null:
    """The permutation distribution of a measure, by its moments."""

    mean: float
    deviation: float
    skewness: float

    def p_value(self, value: float) -> float:
        """The chance of a value as large or larger."""
        if not self.deviation > 0:
            return float("nan")
        return max(LEAST_P, float(pearson3.sf(value, self.skewness, loc=self.mean, scale=self.deviation)))

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
    """The null of ⟨A, P B P'⟩ over all n! permutations of single rows: exact mean and deviation; skewness as of a weighted sum of squares.

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
