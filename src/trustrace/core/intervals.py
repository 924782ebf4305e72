"""Intervals by resampling groups: rows of one group are not independent, so groups are drawn, not rows."""

import numpy as np
from jaxtyping import Float, Int


def cluster_weights(groups: tuple[str, ...], *, draws: int, rng: np.random.Generator) -> Int[np.ndarray, "draw row"]:
    """How often each row occurs in each bootstrap sample of groups.

    Args:
        groups: The group of each row.
        draws: Number of bootstrap samples.
        rng: The source of chance.

    Returns:
        Counts; each sample draws as many groups as there are, with replacement, and takes all their rows.

    References:
        Davison and Hinkley (1997), Bootstrap Methods and their Application, section 3.8.
    """
    _, membership = np.unique(np.asarray(groups), return_inverse=True)
    n_groups = int(membership.max()) + 1
    counts = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws)
    return counts[:, membership]


def percentile_interval(replicates: Float[np.ndarray, " draw"], *, level: float = 0.95) -> tuple[float, float]:
    """The central `level` interval of bootstrap replicates; (NaN, NaN) when fewer than half of them are defined."""
    defined = replicates[np.isfinite(replicates)]
    if len(defined) * 2 < len(replicates) or len(defined) == 0:
        return (float("nan"), float("nan"))
    tail = (1 - level) / 2
    lower, upper = np.quantile(defined, [tail, 1 - tail])
    return float(lower), float(upper)
