import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from tests.measures.examples import make_features, make_statements
from trustrace.measures.folds import evaluation_pairs
from trustrace.measures.mean_probes import mass_mean_scores, mean_probe, platt, whitened_mean_scores
from trustrace.measures.probing import fold_spaces
from trustrace.measures.spaces import feature_space


def prepare(n=90, d=25):
    x, labels = make_features(n=n, d=d, signal=2.0)
    train = torch.from_numpy(np.random.default_rng(0).random((n, 2)) < 0.7)
    return x, labels, train, feature_space(x, features="scaled")


@pytest.mark.parametrize("d", [25, 200])
def test_mass_mean_scores_are_projections_on_the_difference_of_training_means(d):
    x, labels, train, space = prepare(d=d)
    got = mass_mean_scores(space, torch.from_numpy(labels).double(), train, torch.ones(2).double()).numpy()
    x = x.double().numpy()
    for column in range(2):
        rows = train[:, column].numpy()
        upper, lower = x[rows & (labels == 1)].mean(axis=0), x[rows & (labels == 0)].mean(axis=0)
        expected = (x - (upper + lower) / 2) @ (upper - lower) / np.sum((upper - lower) ** 2)
        np.testing.assert_allclose(got[:, column], expected, atol=1e-10)


def test_whitened_mean_scores_follow_the_discriminant_direction():
    x, labels, train, space = prepare()
    strength = 0.3
    got = whitened_mean_scores(
        space, torch.from_numpy(labels).double(), train, torch.full((2,), strength).double()
    ).numpy()
    x = x.double().numpy()
    for column in range(2):
        rows = train[:, column].numpy()
        means = np.stack([x[rows & (labels == side)].mean(axis=0) for side in (0, 1)])
        within = (x[rows] - means[labels[rows]]).T @ (x[rows] - means[labels[rows]])
        penalty = 4 * x[rows].var(axis=0).mean() / strength
        direction = np.linalg.solve(within + penalty * np.eye(x.shape[1]), means[1] - means[0])
        assert np.corrcoef(got[:, column], x @ direction)[0, 1] == pytest.approx(1, abs=1e-8)


def test_without_shrinkage_the_whitened_mean_is_linear_discriminant_analysis():
    x, labels, _, space = prepare()
    train = torch.ones(90, 1, dtype=torch.bool)
    got = whitened_mean_scores(space, torch.from_numpy(labels).double(), train, torch.full((1,), 1e8).double())
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(x.double().numpy(), labels)
    margin = expected.decision_function(x.double().numpy())
    assert np.corrcoef(got[:, 0].numpy(), margin)[0, 1] == pytest.approx(1, abs=1e-6)


def test_platt_minimises_the_log_loss_of_smoothed_targets():
    rng = np.random.default_rng(0)
    labels = (rng.random(200) < 0.4).astype(float)
    values = 50 + 3 * (labels + rng.normal(size=200))
    targets = np.where(labels == 1, (labels.sum() + 1) / (labels.sum() + 2), 1 / (200 - labels.sum() + 2))

    def objective(line):
        margins = line[0] * (values - values.mean()) + line[1]
        return np.sum(np.logaddexp(0, margins) - targets * margins)

    best = minimize(objective, [0.0, 0.0], method="BFGS", options={"gtol": 1e-8}).x
    slope, offset = platt(values, labels)
    assert slope == pytest.approx(best[0], rel=1e-4)
    assert offset + slope * values.mean() == pytest.approx(best[1], abs=1e-4)


def test_a_perfect_separation_is_calibrated_to_a_finite_slope():
    labels = np.repeat([0.0, 1.0], 20)
    slope, offset = platt(labels * 2 - 1, labels)
    assert np.isfinite([slope, offset]).all()
    assert slope * 1 + offset == pytest.approx(np.log(21), rel=1e-2)


def test_a_direction_that_does_not_carry_over_keeps_its_order_and_says_next_to_nothing():
    labels = np.repeat([0.0, 1.0], 20)
    slope, offset = platt(-labels + np.linspace(0, 0.1, 40), labels)
    assert 0 < slope < 1e-4
    assert offset == pytest.approx(0, abs=1e-4)


def test_scores_that_do_not_differ_give_the_label_rate():
    labels = (np.arange(40) < 10).astype(float)
    slope, offset = platt(np.zeros(40), labels)
    assert slope == 0
    assert 1 / (1 + np.exp(-offset)) == pytest.approx((10 * 11 / 12 + 30 / 32) / 40)


@pytest.mark.parametrize("direction", [mass_mean_scores, whitened_mean_scores])
def test_a_direction_that_fits_its_own_rows_perfectly_is_not_believed(direction):
    x, labels = make_features(n=120, d=400, signal=0.0, decay=0.0)
    pairs = evaluation_pairs(make_statements(n=120, n_groups=60, labels=labels.tolist()), folds=5, seed=0)
    spaces = fold_spaces(x, pairs, features="unit_rms")
    log_odds = mean_probe(direction, spaces, torch.from_numpy(labels).double(), pairs, regularisers=[10.0] * 5)
    assert np.logaddexp(0, np.where(labels == 1, -log_odds, log_odds)).mean() < 0.8


@pytest.mark.parametrize("direction", [mass_mean_scores, whitened_mean_scores])
@pytest.mark.parametrize("scheme", ["folds", "held_out"])
def test_tested_labels_do_not_reach_their_own_fold_and_the_concept_is_found(direction, scheme):
    x, labels = make_features(n=240, d=60, signal=6.0, decay=0.2)
    statements = make_statements(n=240, n_groups=40, labels=labels.tolist(), scheme=scheme)
    pairs = evaluation_pairs(statements, folds=5, seed=0)
    spaces = fold_spaces(x, pairs, features="unit_rms")
    poisoned = np.where(pairs[0].test, 1 - labels, labels)
    clean, other = (
        mean_probe(direction, spaces, torch.from_numpy(y).double(), pairs, regularisers=[0.01] * len(pairs))
        for y in (labels, poisoned)
    )
    np.testing.assert_allclose(clean[pairs[0].test], other[pairs[0].test], atol=1e-9)
    scored = np.any([pair.test for pair in pairs], axis=0)
    assert np.isnan(clean[~scored]).all()
    assert roc_auc_score(labels[scored], clean[scored]) > 0.75
