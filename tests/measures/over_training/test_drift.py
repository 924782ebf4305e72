import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from scipy.stats import t
from sklearn.cross_decomposition import PLSRegression

from tests.measures.over_training.planted import QUICK, activations, coins, design_of, statements_of, views_of
from trustrace.core.errors import MeasurementError
from trustrace.measures.over_training.axes import axes_of, krylov
from trustrace.measures.over_training.drift import (
    Counted,
    direction_drift,
    largest_angles,
    overlaps,
    subspace_drift,
)
from trustrace.measures.over_training.halves import Halves, jackknife
from trustrace.measures.over_training.linear import mean_contrast

SCALED = QUICK.model_copy(update={"features": "scaled"})


def fitted(values, labels, *, blocks=10, halvings=2, rank=2):
    design = design_of(statements_of(labels), config=SCALED)
    halves = Halves.of(design, halvings=halvings, blocks=blocks)
    axes = [axes_of(view, design, halves, config=SCALED, regulariser=0.01, rank=rank) for view in views_of(values)]
    names = tuple(str(place) for place in range(len(values)))
    return axes, halves, Counted(names=names, n=len(labels), n_groups=len(labels) // 2)


def drift_of(values, labels, *, method="mass_mean", **sizes):
    axes, halves, counted = fitted(values, labels, **sizes)
    directions = torch.stack([one.directions[method] for one in axes])
    return {
        (cell.estimate.quantity, cell.source, cell.target): cell.estimate
        for cell in direction_drift(directions, halves, counted, method=method)
    }


@pytest.mark.parametrize("method", ["mass_mean", "logistic"])
def test_a_planted_rotation_is_found_once_noise_is_taken_off(method):
    labels = coins(600)
    turn = np.array([0.0, 0.0, 0.7, 1.4])
    got = drift_of(activations(labels, np.full(4, 0.7), turn=turn), labels, method=method)
    for i in range(4):
        for j in range(i, 4):
            expected = np.cos(turn[j] - turn[i])
            one = got[("direction cosine corrected", str(i), str(j))]
            assert one.value == pytest.approx(expected, abs=0.15)
            assert got[("direction cosine", str(i), str(j))].value <= one.value + 0.02
    assert got[("direction cosine", "0", "1")].value < 0.97


def test_the_interval_of_the_corrected_cosine_holds_the_truth_as_often_as_promised():
    held, repeats = 0, 40
    for repeat in range(repeats):
        labels = coins(300, seed=repeat)
        got = drift_of(activations(labels, np.full(2, 0.6), turn=np.array([0.0, 0.8]), d=8, seed=repeat), labels)
        one = got[("direction cosine corrected", "0", "1")]
        held += one.lower <= np.cos(0.8) <= one.upper
    # At a coverage of 95 %, fewer than 34 of 40 happen once in 200.
    assert held >= 34


def test_noise_without_a_concept_has_no_reliable_direction():
    labels = coins(300)
    got = drift_of(activations(labels, np.array([0.0, 0.8])), labels)
    assert abs(got[("direction cosine", "0", "0")].value) < 0.3
    one = got[("direction cosine corrected", "0", "1")]
    assert np.isnan(one.value)
    assert "not reliable at 0" in one.note
    assert got[("direction cosine corrected", "1", "1")].value == pytest.approx(1)


def test_halves_share_no_group_and_each_block_is_left_out_of_one_half():
    labels = coins(120)
    design = design_of(statements_of(labels, n_groups=30))
    halves = Halves.of(design, halvings=3, blocks=6)
    groups = np.asarray(design.groups)
    for variants in halves.variants:
        whole, *others = [[halves.masks[mask] for mask in pair] for pair in variants]
        assert len(others) == 6
        assert not set(groups[whole[0]]) & set(groups[whole[1]])
        assert (whole[0] | whole[1]).all()
        left = [(whole[0] | whole[1]) & ~(one[0] | one[1]) for one in others]
        assert (np.sum(left, axis=0) == 1).all()


def test_the_jackknife_of_a_mean_is_students_interval():
    rng = np.random.default_rng(0)
    x = rng.normal(size=10)
    means = np.array([x.mean(), *[np.delete(x, place).mean() for place in range(10)]])
    lower, upper = jackknife(means)
    reach = t.ppf(0.975, 9) * x.std(ddof=1) / np.sqrt(10)
    assert (lower, upper) == pytest.approx((x.mean() - reach, x.mean() + reach))


def test_the_discriminative_subspace_is_that_of_scikit_learns_partial_least_squares():
    labels = coins(80)
    x = activations(labels, np.array([0.8]), d=9)[0].double()
    masks = torch.from_numpy(np.random.default_rng(0).random((80, 2)) < 0.7)
    got = krylov(x, masks.double(), x.T @ mean_contrast(torch.from_numpy(labels).double(), masks), rank=3)
    for column in range(2):
        rows = masks[:, column].numpy()
        model = PLSRegression(n_components=3, scale=False).fit(x.numpy()[rows], labels[rows].astype(float))
        assert subspace_angles(got[column].T.numpy(), model.x_weights_).max() < 1e-6
        np.testing.assert_allclose(got[column] @ got[column].T, np.eye(3), atol=1e-12)


def test_angles_and_overlap_are_scipys():
    rng = np.random.default_rng(1)
    first, second = (np.linalg.qr(rng.normal(size=(3, 10, 4)))[0].transpose(0, 2, 1) for _ in range(2))
    angle, overlap = (f(torch.from_numpy(first), torch.from_numpy(second)) for f in (largest_angles, overlaps))
    for i in range(3):
        for j in range(3):
            expected = subspace_angles(first[i].T, second[j].T)
            assert angle[i, j] == pytest.approx(np.degrees(expected.max()))
            assert overlap[i, j] == pytest.approx(np.mean(np.cos(expected) ** 2))


def test_a_subspace_that_has_turned_overlaps_less_than_its_ceiling():
    labels = coins(600)
    axes, halves, counted = fitted(activations(labels, np.full(2, 2.0), turn=np.array([0.0, 1.5])), labels, rank=1)
    cells = list(subspace_drift(torch.stack([one.subspaces for one in axes]), halves, counted))
    got = {(c.estimate.quantity, c.source, c.target): c.estimate for c in cells}
    assert got[("subspace overlap", "0", "0")].value > 0.9
    assert got[("subspace overlap", "0", "1")].upper < got[("subspace overlap ceiling", "0", "1")].lower
    assert got[("subspace angle", "0", "1")].value == pytest.approx(np.degrees(1.5), abs=8)
    assert got[("subspace overlap", "", "1")].value == pytest.approx(1 / 12)


def test_fewer_groups_than_blocks_are_refused():
    labels = coins(24)
    design = design_of(statements_of(labels, n_groups=8))
    with pytest.raises(MeasurementError, match="8 groups cannot fill 10"):
        Halves.of(design, halvings=1, blocks=10)
