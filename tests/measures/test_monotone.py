import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression
from sklearn.isotonic import IsotonicRegression

from trustrace.measures.monotone import non_decreasing, prefix_residuals, unimodal, valley

WEIGHTED = st.lists(st.tuples(st.integers(-4, 4), st.floats(0.1, 5.0)), min_size=1, max_size=25)


def columns(pairs) -> tuple[np.ndarray, np.ndarray]:
    values, weights = zip(*pairs, strict=True)
    return np.array(values, dtype=np.float64), np.array(weights, dtype=np.float64)


def sklearn_residual(values, weights, *, increasing=True) -> float:
    if len(values) == 0:
        return 0.0
    fit = IsotonicRegression(increasing=increasing).fit_transform(np.arange(len(values)), values, sample_weight=weights)
    return float((weights * (values - fit) ** 2).sum())


@settings(max_examples=60, deadline=None)
@given(WEIGHTED)
def test_residuals_of_all_beginnings_are_those_of_scikit_learn_and_scipy(pairs):
    values, weights = columns(pairs)
    got = prefix_residuals(values, weights)
    expected = [sklearn_residual(values[:end], weights[:end]) for end in range(len(values) + 1)]
    np.testing.assert_allclose(got, expected, atol=1e-9)
    fit = isotonic_regression(values, weights=weights).x
    assert got[-1] == pytest.approx((weights * (values - fit) ** 2).sum(), abs=1e-9)
    np.testing.assert_allclose(non_decreasing(values, weights), fit)


@settings(max_examples=60, deadline=None)
@given(WEIGHTED)
def test_a_unimodal_fit_is_the_best_over_all_places_of_the_turn(pairs):
    values, weights = columns(pairs)
    best = min(
        sklearn_residual(values[:turn], weights[:turn])
        + sklearn_residual(values[turn:], weights[turn:], increasing=False)
        for turn in range(len(values) + 1)
    )
    fit = unimodal(values, weights)
    assert fit.residual == pytest.approx(best, abs=1e-9)
    assert fit.residual == pytest.approx((weights * (values - fit.values) ** 2).sum(), abs=1e-9)
    directions = np.sign(np.round(np.diff(fit.values), 12))
    directions = directions[directions != 0]
    assert (np.diff(directions) <= 0).all(), "after a fall there is no rise"


@settings(max_examples=60, deadline=None)
@given(WEIGHTED)
def test_a_valley_is_a_unimodal_fit_upside_down(pairs):
    values, weights = columns(pairs)
    best = min(
        sklearn_residual(values[:turn], weights[:turn], increasing=False)
        + sklearn_residual(values[turn:], weights[turn:])
        for turn in range(len(values) + 1)
    )
    fit = valley(values, weights)
    assert fit.residual == pytest.approx(best, abs=1e-9)
    assert fit.residual == pytest.approx((weights * (values - fit.values) ** 2).sum(), abs=1e-9)


def test_the_textbook_case_pools_one_side_of_the_gap():
    # Stout (2008): the unimodal fits to 2, 0, 2 are 1, 1, 2 and 2, 1, 1.
    fit = unimodal(np.array([2.0, 0.0, 2.0]), np.ones(3))
    assert fit.residual == pytest.approx(2.0)
    assert fit.values.tolist() in ([1.0, 1.0, 2.0], [2.0, 1.0, 1.0])


def test_a_curve_of_the_right_shape_is_its_own_fit():
    values = np.array([0.0, 1.0, 5.0, 3.0, -2.0])
    assert unimodal(values, np.ones(5)).residual == 0.0
    np.testing.assert_array_equal(unimodal(values, np.ones(5)).values, values)
    np.testing.assert_array_equal(valley(-values, np.ones(5)).values, -values)
