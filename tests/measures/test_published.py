import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.measures.examples import make_features
from trustrace.core.errors import MeasurementError
from trustrace.measures.published import published_accuracy


def groups_of(n: int) -> tuple[str, ...]:
    return tuple(str(row) for row in range(n))


@pytest.mark.parametrize(("n", "d"), [(301, 20), (150, 64)])
def test_the_accuracy_is_that_of_the_scripts_recipe_written_down_again(n, d):
    x, labels = make_features(n=n, d=d, signal=2.0)
    rows = x.numpy()
    scaled = (rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)) / rows.std(axis=0, ddof=1)
    cut = int(n * 0.8)
    expected = LogisticRegression().fit(scaled[:cut], labels[:cut]).score(scaled[cut:], labels[cut:])
    got = published_accuracy(x, labels, groups=groups_of(n))
    assert got.value == expected
    assert (got.n, got.n_groups, got.note) == (n - cut, n - cut, "")
    assert np.isnan(got.lower)


def test_the_deviation_is_the_unbiased_one():
    # On a handful of rows the scale decides some predictions: (n - 1) and n are told apart.
    got, biased = [], []
    for seed in range(60):
        x, labels = make_features(n=10, d=2, seed=seed)
        if len(set(labels[:8])) == 2:
            scaled = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
            biased.append(LogisticRegression().fit(scaled[:8], labels[:8]).score(scaled[8:], labels[8:]))
            got.append(published_accuracy(x, labels, groups=groups_of(10)).value)
    assert got != biased


def test_a_fit_that_did_not_converge_is_noted():
    steps = np.random.default_rng(0).normal(size=(2000, 60))
    labels = (steps[:, ::2].sum(axis=1) > steps[:, 1::2].sum(axis=1)).astype(int)
    walks = torch.from_numpy(np.cumsum(steps, axis=1).astype(np.float32))
    got = published_accuracy(walks, labels, groups=groups_of(2000))
    assert got.note == "not converged after 100 iterations"
    assert got.value > 0.8


def test_a_constant_feature_is_named_instead_of_a_number():
    x, labels = make_features(n=50, d=6)
    x[:, 2] = 1.0
    got = published_accuracy(x, labels, groups=groups_of(50))
    assert np.isnan(got.value)
    assert "1 of 6 features are constant" in got.note


def test_one_class_in_file_order_is_an_error():
    x, labels = make_features(n=50, d=6)
    with pytest.raises(MeasurementError, match="first 40 of 50 rows hold one class"):
        published_accuracy(x, np.sort(labels) * 0 + (np.arange(50) >= 45), groups=groups_of(50))
