import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trustrace.core.draws import generator
from trustrace.core.intervals import cluster_weights, percentile_interval


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40), st.integers(0, 100))
def test_a_group_is_drawn_whole_or_not_at_all(groups: list[str], seed: int) -> None:
    weights = cluster_weights(tuple(groups), draws=7, rng=generator(seed))
    for group in set(groups):
        members = [row for row, name in enumerate(groups) if name == group]
        assert (weights[:, members] == weights[:, members[:1]]).all()
    sizes = np.array([1 / groups.count(name) for name in groups])
    np.testing.assert_allclose(weights @ sizes, len(set(groups)))


def test_the_bootstrap_interval_of_a_mean_agrees_with_the_normal_theory_when_rows_are_independent() -> None:
    values = generator(0, "values").normal(size=400)
    groups = tuple(map(str, range(400)))
    weights = cluster_weights(groups, draws=4000, rng=generator(0, "draws"))
    lower, upper = percentile_interval(weights @ values / weights.sum(1))
    half = stats.norm.ppf(0.975) * values.std() / 20
    assert lower == pytest.approx(values.mean() - half, abs=0.015)
    assert upper == pytest.approx(values.mean() + half, abs=0.015)


def test_rows_that_move_together_widen_the_interval_as_their_number_of_groups_says() -> None:
    by_group = generator(1, "values").normal(size=100)
    values, groups = np.repeat(by_group, 4), tuple(np.repeat(np.arange(100), 4).astype(str))
    weights = cluster_weights(groups, draws=4000, rng=generator(1, "draws"))
    lower, upper = percentile_interval(weights @ values / weights.sum(1))
    naive = 2 * stats.norm.ppf(0.975) * values.std() / 20
    assert (upper - lower) / naive == pytest.approx(2, rel=0.1)


def test_an_interval_of_mostly_undefined_replicates_is_undefined() -> None:
    assert np.isnan(percentile_interval(np.array([np.nan, np.nan, 1.0]))).all()
