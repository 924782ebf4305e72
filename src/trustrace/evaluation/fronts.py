"""Which of several settings is beaten by none of the others."""

import numpy as np
from jaxtyping import Bool, Float64


def pareto_front(points: Float64[np.ndarray, "setting aim"]) -> Bool[np.ndarray, " setting"]:
    """Whether no other setting is at least as good in every aim and better in one; more is better. One without a number is on no front.

    References:
        Pareto (1906), Manuale di economia politica.
    """
    defined = np.isfinite(points).all(axis=1)
    as_good = (points[None] >= points[:, None]).all(axis=2) & defined[None]
    better = (points[None] > points[:, None]).any(axis=2)
    return np.asarray(defined & ~(as_good & better).any(axis=1))
