"""Which settings are beaten by none."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trustrace.evaluation.fronts import pareto_front

# Few values, so that ties are common.
POINTS = st.integers(1, 3).flatmap(
    lambda aims: st.integers(1, 9).flatmap(
        lambda settings: arrays(np.float64, (settings, aims), elements=st.sampled_from([0.0, 1.0, 2.0, np.nan, np.inf]))
    )
)


def beaten_by_any(points: np.ndarray, one: int) -> bool:
    """The definition, word for word, over settings that have all their numbers."""
    for other in range(len(points)):
        if not np.isfinite(points[other]).all():
            continue
        if all(points[other] >= points[one]) and any(points[other] > points[one]):
            return True
    return False


@given(POINTS)
def test_a_setting_is_on_the_front_if_none_is_as_good_everywhere_and_better_somewhere(points: np.ndarray) -> None:
    found = pareto_front(points)
    for one in range(len(points)):
        known = bool(np.isfinite(points[one]).all())
        assert found[one] == (known and not beaten_by_any(points, one))


@given(POINTS)
def test_the_best_in_each_aim_and_at_least_one_setting_are_on_the_front(points: np.ndarray) -> None:
    known = points[np.isfinite(points).all(axis=1)]
    found = pareto_front(known)
    if len(known):
        assert found.any()
        # Of those that are best in the first aim, whoever is best in the sum of the others is beaten by none.
        best = max(range(len(known)), key=lambda one: (known[one, 0], known[one, 1:].sum()))
        assert found[best]


@given(POINTS)
def test_neither_order_nor_unit_nor_beaten_settings_matter(points: np.ndarray) -> None:
    found = pareto_front(points)
    np.testing.assert_array_equal(pareto_front(points[::-1]), found[::-1])
    np.testing.assert_array_equal(pareto_front(3 * points - 7), found)
    assert pareto_front(points[found]).all()


def test_equals_share_the_front_and_a_setting_without_a_number_is_on_none() -> None:
    points = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [0.0, 2.0], [np.nan, 9.0], [np.inf, 9.0]])
    assert pareto_front(points).tolist() == [True, True, True, False, False, False]
