import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from tests.measures.examples import make_features, make_statements
from trustrace.measures.config import ProbingConfig
from trustrace.measures.folds import evaluation_pairs
from trustrace.measures.probing import fold_spaces, logistic_probe

GRID = (1e-3, 1e-1, 1e1)


def prepare(features: str, n=120, d=40, signal=2.0, scheme="folds"):
    x, labels = make_features(n=n, d=d, signal=signal)
    statements = make_statements(n=n, n_groups=30, labels=labels.tolist(), scheme=scheme)
    pairs = evaluation_pairs(statements, folds=4, seed=0)
    return x, labels, pairs, fold_spaces(x, pairs, features=features)


def standardise(x: np.ndarray, train: np.ndarray, features: str) -> np.ndarray:
    if features == "unit_rms":
        x = x / np.sqrt((x**2).mean(axis=1, keepdims=True))
    mean, spread = x[train].mean(axis=0), x[train].std(axis=0)
    return (x - mean) / (spread if features == "zscore" else np.sqrt((spread**2).mean()))


def fit(x, labels, train, features, c):
    scaled = standardise(x, train, features)
    model = LogisticRegression(C=c, tol=1e-10, max_iter=100_000).fit(scaled[train], labels[train])
    return model.decision_function(scaled)


@pytest.mark.parametrize("features", ["scaled", "unit_rms"])
@pytest.mark.parametrize("scheme", ["folds", "held_out"])
def test_nested_probing_is_scikit_learns_loop_over_folds_and_regularisers(features, scheme):
    x, labels, pairs, spaces = prepare(features, scheme=scheme)
    probe = logistic_probe(spaces, torch.from_numpy(labels).double(), pairs, regularisers=GRID)
    x = x.double().numpy()
    for index, pair in enumerate(pairs):
        inner = np.zeros(len(GRID))
        for fold in pair.inner:
            for place, c in enumerate(GRID):
                margins = fit(x, labels, fold.train, features, c)[fold.test]
                inner[place] += np.logaddexp(0, np.where(labels[fold.test] == 1, -margins, margins)).sum()
        inner /= sum(fold.test.sum() for fold in pair.inner)
        assert probe.regularisers[index] == GRID[int(inner.argmin())]
        assert probe.inner_losses[index] == pytest.approx(inner.min(), rel=2e-3)
        expected = fit(x, labels, pair.train, features, probe.regularisers[index])
        np.testing.assert_allclose(probe.log_odds[pair.test], expected[pair.test], atol=1e-3)


def test_zscored_probing_uses_training_statistics():
    x, labels, pairs, spaces = prepare("zscore")
    probe = logistic_probe(spaces, torch.from_numpy(labels).double(), pairs, regularisers=(0.01,))
    for pair in pairs:
        expected = fit(x.double().numpy(), labels, pair.train, "zscore", 0.01)
        np.testing.assert_allclose(probe.log_odds[pair.test], expected[pair.test], atol=1e-3)


@pytest.mark.parametrize("features", ["unit_rms", "zscore"])
def test_labels_of_tested_rows_do_not_reach_their_own_fold(features):
    _, labels, pairs, spaces = prepare(features)
    poisoned = labels.copy()
    poisoned[pairs[0].test] = 1 - poisoned[pairs[0].test]
    clean, other = (
        logistic_probe(spaces, torch.from_numpy(y).double(), pairs, regularisers=GRID) for y in (labels, poisoned)
    )
    np.testing.assert_allclose(clean.log_odds[pairs[0].test], other.log_odds[pairs[0].test], atol=1e-9)
    assert clean.regularisers[0] == other.regularisers[0]
    assert not np.allclose(clean.log_odds[pairs[1].test], other.log_odds[pairs[1].test])


def test_a_probe_succeeds_on_real_labels_and_fails_on_shuffled_ones():
    x, labels = make_features(n=400, d=30, signal=5.0)
    statements = make_statements(n=400, n_groups=100, labels=labels.tolist())
    pairs = evaluation_pairs(statements, folds=5, seed=0)
    spaces = fold_spaces(x, pairs, features="unit_rms")
    grid = ProbingConfig().regularisers
    shuffled = np.random.default_rng(5).permutation(labels)
    real, null = (
        logistic_probe(spaces, torch.from_numpy(y).double(), pairs, regularisers=grid) for y in (labels, shuffled)
    )
    assert roc_auc_score(labels, real.log_odds) > 0.9
    assert abs(roc_auc_score(shuffled, null.log_odds) - 0.5) < 0.1
    assert np.mean(null.inner_losses) > 0.6 > np.mean(real.inner_losses)


def test_the_selection_score_is_a_log_loss_in_nats():
    _, labels, pairs, spaces = prepare("scaled", n=400, signal=0.0)
    probe = logistic_probe(spaces, torch.from_numpy(labels).double(), pairs, regularisers=(1e-6,))
    rate = np.full(len(labels), labels.mean())
    assert np.mean(probe.inner_losses) == pytest.approx(log_loss(labels, rate), abs=0.01)
