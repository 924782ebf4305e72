"""The solver against scikit-learn's, run to the same optimum."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge

from tests.measures.examples import make_features
from trustrace.core.errors import MeasurementError
from trustrace.measures.solver import Columns, Solution, solve
from trustrace.measures.spaces import FeatureSpace, TallSpace, WideSpace, feature_space, inner_products


def columns_of(labels, weights, penalties) -> Columns:
    weights = torch.as_tensor(np.asarray(weights, dtype=np.float64))
    labels = torch.as_tensor(np.asarray(labels, dtype=np.float64))
    labels = labels if labels.ndim == 2 else labels[:, None].expand(-1, weights.shape[1]).contiguous()
    return Columns(labels=labels, weights=weights, penalties=torch.as_tensor(penalties, dtype=torch.float64))


def weights_of(solution: Solution, space: FeatureSpace, x: torch.Tensor) -> np.ndarray:
    """The weights in feature space: those whose products with the centred features are Z θ, of least norm."""
    centred = x.double().numpy() - x.double().numpy().mean(axis=0)
    fitted = space.responses(solution.coefficients).numpy()
    return np.linalg.lstsq(centred, fitted, rcond=1e-12)[0]


def sklearn_fit(x, labels, weights, c) -> LogisticRegression:
    rows = weights > 0
    model = LogisticRegression(C=c, tol=1e-12, max_iter=100_000, solver="newton-cg" if x.shape[1] < 100 else "lbfgs")
    return model.fit(x.double().numpy()[rows], labels[rows], sample_weight=weights[rows])


@pytest.mark.parametrize(("n", "d", "decay"), [(60, 150, 0.5), (60, 150, 1.5), (300, 12, 1.0), (90, 90, 1.0)])
@pytest.mark.parametrize("signal", [1.0, 30.0])
def test_the_optimum_is_scikit_learns(n, d, decay, signal):
    x, labels = make_features(n=n, d=d, decay=decay, signal=signal)
    rng = np.random.default_rng(1)
    masks = (rng.random((n, 4)) < 0.7).astype(float)
    masks[:, 3] *= rng.exponential(size=n)
    strengths = [1e-2, 1.0, 100.0, 1.0]
    space = feature_space(x, features="scaled")
    got = solve(space, columns_of(labels, masks, [1 / c for c in strengths]))
    weights = weights_of(got, space, x)
    for column, c in enumerate(strengths):
        expected = sklearn_fit(x, labels, masks[:, column], c)
        error = np.linalg.norm(weights[:, column] - expected.coef_[0]) / np.linalg.norm(expected.coef_)
        assert error < 1e-4, (c, error)
        predicted = expected.decision_function(x.double().numpy())
        np.testing.assert_allclose(got.responses[:, column].numpy(), predicted, atol=1e-3 * np.abs(predicted).max())
        assert ((got.responses[:, column].numpy() > 0) == (predicted > 0)).all()


def test_separable_data_have_a_finite_optimum_at_any_regulariser():
    x = torch.linspace(-1, 1, 40)[:, None].repeat(1, 3)
    labels = (x[:, 0].numpy() > 0).astype(int)
    strengths = [1e-6, 1.0, 1e6]
    space = feature_space(x, features="scaled")
    got = solve(space, columns_of(labels, np.ones((40, 3)), [1 / c for c in strengths]))
    for column, c in enumerate(strengths):
        expected = sklearn_fit(x, labels, np.ones(40), c).decision_function(x.double().numpy())
        np.testing.assert_allclose(got.responses[:, column].numpy(), expected, rtol=1e-3, atol=1e-6)


def test_features_of_very_different_size_are_fitted_in_double_precision():
    x, labels = make_features(n=200, d=8)
    x = x.double() * torch.logspace(0, -6, 8, dtype=torch.float64)
    space = feature_space(x, features="scaled")
    got = solve(space, columns_of(labels, np.ones((200, 1)), [1e-12]), tolerance=1e-7)
    gradient = space.double.pull(torch.sigmoid(got.responses) - torch.from_numpy(labels)[:, None])[:, 0]
    gradient = gradient + 1e-12 * got.coefficients[:, 0]
    assert gradient.abs().max() < 1e-5


@pytest.mark.parametrize("kind", [WideSpace, TallSpace])
def test_an_embedding_that_all_but_a_few_statements_share_is_fitted_to_the_optimum(kind):
    """Two distinct rows in many dimensions: one feature in truth, and a Gram matrix of which single precision sees rounding alone."""
    rng = np.random.default_rng(0)
    two = 0.02 * rng.standard_normal((2, 512)) + 0.1
    which = np.zeros(566, dtype=int)
    which[rng.choice(566, 11, replace=False)] = 1
    labels = torch.from_numpy((rng.random(566) < np.where(which, 0.7, 0.5)).astype(float))
    rows = torch.from_numpy(two[which])
    space = feature_space(rows, features="scaled")
    assert isinstance(space, TallSpace)
    if kind is WideSpace:
        space = WideSpace(gram=inner_products(rows, features="scaled"), d_model=512)
    distance = float(space.inner_products(torch.ones(566, dtype=torch.bool)).diagonal().sum().sqrt())
    spread = np.linalg.norm(which - which.mean())
    line = (which * distance / spread)[:, None]
    for regulariser in (1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6):
        penalty = space.mean_variance(torch.ones(566, 1, dtype=torch.bool)) / regulariser
        found = solve(space, Columns(labels=labels[:, None], weights=torch.ones(566, 1).double(), penalties=penalty))
        textbook = LogisticRegression(C=1 / float(penalty[0]), tol=1e-10, max_iter=10_000).fit(line, labels.numpy())
        wanted = textbook.decision_function(line)
        assert found.responses[:, 0].numpy() == pytest.approx(wanted, abs=2e-4), regulariser


def test_the_squared_loss_is_ridge_regression():
    x, labels = make_features(n=80, d=150)
    space = feature_space(x, features="scaled")
    got = solve(space, columns_of(labels, np.ones((80, 2)), [0.3, 7.0]), loss="squared", tolerance=1e-8)
    for column, penalty in enumerate([0.3, 7.0]):
        expected = Ridge(alpha=penalty, solver="cholesky").fit(x.double().numpy(), labels).predict(x.double().numpy())
        np.testing.assert_allclose(got.responses[:, column].numpy(), expected, atol=1e-7)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 100), st.floats(-50, 50))
def test_rotating_and_shifting_features_changes_no_prediction(seed, shift):
    x, labels = make_features(n=50, d=20, seed=3)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(20, 20)))[0]
    moved = x.double() @ torch.from_numpy(rotation) + shift
    columns = columns_of(labels, np.ones((50, 1)), [0.5])
    here, there = (
        solve(feature_space(at, features="scaled"), columns, tolerance=1e-8).responses for at in (x.double(), moved)
    )
    torch.testing.assert_close(here, there, atol=1e-6, rtol=1e-6)


def test_a_row_of_weight_two_counts_as_two_rows():
    x, labels = make_features(n=60, d=10)
    weights = np.ones(60)
    weights[:20] = 2
    doubled = torch.cat([x, x[:20]]).double()
    once = solve(feature_space(x.double(), features="scaled"), columns_of(labels, weights[:, None], [1.0]))
    twice = solve(
        feature_space(doubled, features="scaled"),
        columns_of(np.append(labels, labels[:20]), np.ones((80, 1)), [1.0]),
    )
    torch.testing.assert_close(once.responses, twice.responses[:60], atol=1e-5, rtol=1e-5)


def test_columns_do_not_influence_each_other():
    x, labels = make_features(n=60, d=90)
    masks = (np.random.default_rng(0).random((60, 5)) < 0.8).astype(float)
    penalties = [1e-3, 1e-1, 1.0, 10.0, 1e3]
    space = feature_space(x, features="scaled")
    together = solve(space, columns_of(labels, masks, penalties), tolerance=1e-7).responses
    for column in range(5):
        alone = solve(space, columns_of(labels, masks[:, [column]], [penalties[column]]), tolerance=1e-7).responses
        torch.testing.assert_close(together[:, [column]], alone, atol=1e-6, rtol=1e-6)


def test_features_that_do_not_differ_predict_the_label_rate():
    space = feature_space(torch.ones(50, 4), features="scaled")
    labels = np.arange(50) % 5 == 0
    got = solve(space, columns_of(labels, np.ones((50, 1)), [1.0]), tolerance=1e-8)
    torch.testing.assert_close(torch.sigmoid(got.responses), torch.full((50, 1), 0.2, dtype=torch.float64))


def test_the_same_fit_twice_has_the_same_bits():
    x, labels = make_features(n=70, d=100)
    columns = columns_of(labels, np.ones((70, 3)), [0.1, 1.0, 10.0])
    first, second = (solve(feature_space(x, features="unit_rms"), columns).responses for _ in range(2))
    assert torch.equal(first, second)


def test_a_training_set_of_one_class_is_an_error():
    x, labels = make_features(n=40, d=5)
    masks = np.stack([np.ones(40), labels == 1], axis=1).astype(float)
    with pytest.raises(MeasurementError, match="1 of 2 probes would be fitted on rows of one class"):
        solve(feature_space(x, features="scaled"), columns_of(labels, masks, [1.0, 1.0]))
