"""False discoveries among many tests, beside the textbook's step-up rule."""

import math

import numpy as np
import pytest

from trustrace.measures.discoveries import q_values


def test_q_values_are_those_of_the_step_up_rule() -> None:
    """What is called a discovery at a level is what the rule rejects: all up to the last p_k <= level k / m."""
    p = np.random.default_rng(0).beta(0.4, 1.0, size=40)
    q = np.array(q_values(p.tolist()))
    for level in (0.01, 0.05, 0.2, 0.5):
        ascending = np.sort(p)
        passing = np.flatnonzero(ascending <= level * np.arange(1, 41) / 40)
        last = ascending[passing[-1]] if len(passing) else -1.0
        assert ((q <= level) == (p <= last)).all(), level


def test_what_is_no_test_counts_as_none() -> None:
    assert q_values([0.01, math.nan, 0.04]) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)
    assert q_values([]) == []
    assert math.isnan(*q_values([math.nan]))
