"""False discoveries among many tests."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import false_discovery_control


def q_values(p_values: Sequence[float]) -> list[float]:
    """The q-value of each p-value, over all of them: calling those up to q discoveries, at most a share q of them is false on average.

    It holds where tests are independent or depend on each other positively. A p-value that is NaN is of no test, and its q-value is NaN.

    References:
        Benjamini and Hochberg (1995), Controlling the false discovery rate.
    """
    p = np.asarray(p_values, dtype=np.float64)
    tested = np.isfinite(p)
    q = np.full_like(p, np.nan)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return [float(one) for one in q]
