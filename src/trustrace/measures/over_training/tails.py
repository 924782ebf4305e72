"""How rare an AUROC is that lies beyond all draws of its null.

The p-value of N draws is never below 1 / (1 + N), and false-discovery control over hundreds of cells needs smaller ones. AUROCs A are read
as t = |Φ⁻¹(A)|, which has no end and is what a direction's share of the class difference is proportional to, where classes are Gaussian.
Beyond the largest draw the tail of t is taken to be a power law, whose exponent is read from the upper fifth of the draws: with k + 1 of
them, u the smallest of these and S = Σ log(tᵢ / u) over the other k,

    p(t) = (k + 1) / (N + 1) · (1 + log(t / u) / S)^-k.

This is the exact law of the next draw under a power law (a ratio of an exponential to the sum of k others is F with 2 and 2k degrees of
freedom), so that an uncertain exponent makes no small p-values by itself. The assumption: beyond u the tail falls at least as fast as the
power law that holds above u. A ratio of Gaussians, which random directions give where few axes hold most of the variance, has such a
tail; those of a Gaussian, of an exponential and of whatever ends fall faster: p is too large there, not too small. It is too small for a
null that lies far out so seldom that no draw shows it.

References:
    Hill (1975), A simple general approach to inference about the tail of a distribution.
    Knijnenburg, Wessels, Reinders and Shmulevich (2009), Fewer permutations, more accurate P-values.
"""

import numpy as np
from jaxtyping import Float64
from scipy.stats import norm

UPPER = 0.2
"""The share of the draws that the tail is read from."""

_ROUNDING = 1e-12

Areas = Float64[np.ndarray, " draw"]


def upper_p(draws: Areas, own: float, *, pairs: int, extends: bool = True) -> float:
    """How often a null is as far from 1/2 as `own`, on either side.

    The count of :func:`counted_p` where a draw is as far. Where none is, the smaller of the count and the tail: as no p-value below the
    count's floor comes from elsewhere, and the count is below every level above it, this is as valid as both are.

    Args:
        draws: AUROCs of the null.
        own: What was observed.
        pairs: Of a row of label 1 and one of label 0: AUROCs differ by steps of their reciprocal, and none is taken to be certain.
        extends: Whether the tail may be asked; not so where the null has few different values in all.
    """
    counted = counted_p(draws, own)
    k = int(UPPER * (len(draws) + 1)) - 1
    if not extends or k < 1 or counted > 1 / (1 + len(draws)):
        return counted
    top = np.sort(_distances(draws, pairs=pairs))[-(k + 1) :]
    u, beyond = float(top[0]), float(_distances(np.array([own]), pairs=pairs)[0])
    if u <= 0:
        return counted
    # Draws that agree within a step of the AUROC have no exponent.
    finest = float(np.log1p(1 / (pairs * norm.pdf(u) * u)))
    total = max(float(np.log(top[1:] / u).sum()), k * finest)
    return float(min(counted, (k + 1) / (len(draws) + 1) * (1 + np.log(beyond / u) / total) ** -k))


def counted_p(draws: Areas, own: float) -> float:
    """The draws as far from 1/2 as `own`, the observed one among them: (1 + reached) / (1 + N); what differs by rounding is equal."""
    reached = np.abs(draws - 0.5) >= abs(own - 0.5) - _ROUNDING
    return float((1 + reached.sum()) / (1 + len(draws)))


def _distances(areas: Areas, *, pairs: int) -> Areas:
    """|Φ⁻¹| of AUROCs; of 0 and 1, half a pair from them."""
    return np.asarray(np.abs(norm.ppf(np.clip(areas, 0.5 / pairs, 1 - 0.5 / pairs))))
