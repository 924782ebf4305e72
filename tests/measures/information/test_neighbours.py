"""Nearest-neighbour estimates against scikit-learn and against Gaussians, whose mutual information is known."""

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from trustrace.measures.information.neighbours import PointPairs, label_contributions, parted


def test_on_one_component_and_labels_it_is_scikit_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    points = parted((labels * 1.5 + rng.normal(size=400))[:, None], rng=rng)
    expected = mutual_info_classif(points, labels, n_neighbors=3, random_state=0, discrete_features=False)[0]
    assert label_contributions(points, labels[:, None]).mean() == pytest.approx(expected, abs=2e-3)


def test_rare_labels_are_found_beyond_the_nearest_neighbours():
    rng = np.random.default_rng(1)
    labels = (np.arange(600) < 8).astype(int)
    points = parted(rng.normal(size=(600, 2)), rng=rng)
    found = label_contributions(points, labels[:, None])
    assert np.isfinite(found).all()
    assert abs(found.mean()) < 0.02


def test_too_few_of_a_label_are_undefined():
    points = np.random.default_rng(2).normal(size=(30, 2))
    assert np.isnan(label_contributions(points, (np.arange(30) < 3).astype(int)[:, None])).all()


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_of_gaussians_it_is_what_the_formula_says(correlation):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1500, 1))
    t = correlation * x + (1 - correlation**2) ** 0.5 * rng.normal(size=(1500, 1))
    pairs = PointPairs(x, t)
    expected = -0.5 * np.log(1 - correlation**2)
    assert pairs.contributions().mean() == pytest.approx(expected, abs=0.07)
    reference = mutual_info_regression(x, t[:, 0], n_neighbors=3, random_state=0)[0]
    assert pairs.contributions().mean() == pytest.approx(reference, abs=0.02)


def test_permuting_rows_takes_the_dependence_away():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 2))
    pairs = PointPairs(x, x + 0.1 * rng.normal(size=(400, 2)))
    assert pairs.contributions().mean() > 1
    assert abs(pairs.contributions(rng.permutation(400)).mean()) < 0.2
