import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from trustrace.measures.scoring import Sample, auroc, calibration_error, label_entropy, scores

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 4)), min_size=6, max_size=60)


def sample_of(labels, n_groups=20, draws=400) -> Sample:
    groups = tuple(str(row % n_groups) for row in range(len(labels)))
    return Sample.of(np.asarray(labels), groups, draws=draws, seed=0)


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_weighted_auroc_with_ties_is_scikit_learns(rows):
    labels, values, weights = (np.array(column) for column in zip(*rows, strict=True))
    got = auroc(labels, values.astype(float), np.stack([weights, 2 * weights], axis=1).astype(float))
    if weights[labels == 1].sum() > 0 and weights[labels == 0].sum() > 0:
        expected = roc_auc_score(labels, values, sample_weight=weights)
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    else:
        assert np.isnan(got).all()


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, log_odds = rng.integers(0, 2, 300), rng.normal(size=300) * 2
    by_name = {estimate.quantity: estimate for estimate in scores(sample_of(labels), log_odds, method="logistic")}
    assert by_name["accuracy"].value == pytest.approx(accuracy_score(labels, log_odds > 0))
    assert by_name["auroc"].value == pytest.approx(roc_auc_score(labels, log_odds))
    assert by_name["log_loss"].value == pytest.approx(log_loss(labels, expit(log_odds)))
    rate = labels.mean()
    entropy = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    assert by_name["information_bound"].value == pytest.approx(entropy - by_name["log_loss"].value)
    assert all(estimate.n == 300 and estimate.n_groups == 20 for estimate in by_name.values())
    assert all(
        estimate.lower < estimate.value < estimate.upper for estimate in by_name.values() if estimate.quantity != "ece"
    )


def test_calibration_error_is_the_gap_of_each_bin():
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.61, 0.61])
    predicted = np.array([1, 1, 0, 0, 1, 1])
    labels = np.array([1, 1, 0, 1, 1, 0])
    log_odds = np.log(confidence / (1 - confidence)) * np.where(predicted == 1, 1, -1)
    expected = 4 / 6 * abs(0.75 - 0.9) + 2 / 6 * abs(0.5 - 0.61)
    assert calibration_error(labels, log_odds, np.ones((6, 1)))[0] == pytest.approx(expected)


def test_even_odds_and_certainty_fall_into_bins():
    log_odds = np.array([0.0, 800.0, -800.0])
    assert calibration_error(np.array([0, 1, 0]), log_odds, np.ones((3, 1)))[0] == pytest.approx(0.5 / 3)


def test_an_interval_is_that_of_rows_repeated_by_group():
    rng = np.random.default_rng(1)
    labels, log_odds = rng.integers(0, 2, 60), rng.normal(size=60)
    sample = sample_of(labels, n_groups=12, draws=200)
    got = auroc(labels, log_odds, sample.draws)
    for draw in range(0, 200, 37):
        rows = np.repeat(np.arange(60), sample.draws[:, draw].astype(int))
        assert got[draw] == pytest.approx(roc_auc_score(labels[rows], log_odds[rows]), rel=1e-5)


def test_a_constant_prediction_ranks_nothing():
    labels = np.array([0, 1, 1, 0, 1])
    assert auroc(labels, np.zeros(5), np.ones((5, 1)))[0] == 0.5


def test_one_class_leaves_auroc_undefined_and_says_why():
    by_name = {row.quantity: row for row in scores(sample_of(np.ones(30, dtype=int)), np.ones(30), method="logistic")}
    assert np.isnan(by_name["auroc"].value)
    assert "one class" in by_name["auroc"].note
    assert by_name["accuracy"].value == 1.0


def test_one_group_has_no_interval():
    labels = np.arange(10) % 2
    estimate = scores(sample_of(labels, n_groups=1), labels - 0.5, method="logistic")[0]
    assert estimate.value == 1.0
    assert np.isnan(estimate.lower)


def test_entropy_is_in_nats_and_zero_for_one_class():
    assert label_entropy(np.array([0, 1]), np.ones((2, 1)))[0] == pytest.approx(np.log(2))
    assert label_entropy(np.array([1, 1]), np.ones((2, 1)))[0] == 0.0


def test_huge_log_odds_stay_finite():
    labels = np.array([0, 1, 0, 1])
    values = [row.value for row in scores(sample_of(labels), np.array([-1e5, 1e5, 1e5, 1e5]), method="logistic")]
    assert np.isfinite(values).all()
