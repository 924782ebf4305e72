"""Influences are what is lost without a statement: leaving it out by hand is their second author."""

import numpy as np
import pytest
import torch

from tests.measures.information import textbook
from trustrace.measures.information.influence import (
    LabelProducts,
    SmootherInfluence,
    cosine_influence,
    kernel_influence,
    label_trace_influence,
)
from trustrace.measures.information.kernels import LabelKernel
from trustrace.measures.information.operators import Operator, smoother_
from trustrace.measures.information.variables import Variable

N, RIDGE = 24, 3e-3


@pytest.fixture(scope="module")
def kernels():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 3))
    t = x @ rng.normal(size=(3, 4)) + 0.5 * rng.normal(size=(N, 4))
    return textbook.gaussian_kernel(x, variance=9.0), textbook.gaussian_kernel(t, variance=14.0)


@pytest.fixture(scope="module")
def label():
    return LabelKernel.of(np.random.default_rng(2).integers(0, 2, N))


def shrunk(centred, rows):
    """The smoother of some rows of a centred kernel, the mean and the ridge held."""
    part = centred[np.ix_(rows, rows)]
    return part @ np.linalg.inv(part + RIDGE * N * np.eye(len(rows)))


def lost(measure):
    """n times what `measure` of the rows loses without each, less the mean."""
    everything = np.arange(N)
    moved = np.array([measure(everything) - measure(np.delete(everything, row)) for row in range(N)])
    return N * (moved - moved.mean())


def centre(kernel):
    h = textbook.centring(N)
    return h @ kernel @ h


def smoothers(*kernels):
    return [smoother_(torch.from_numpy(one.copy()), ridge=RIDGE) for one in kernels]


def close(found, expected):
    return np.allclose(found.numpy(), expected, atol=2e-5 * np.abs(expected).max())


def test_of_normalised_hsic(kernels):
    a, b = smoothers(*kernels)
    x, t = map(centre, kernels)
    expected = lost(lambda rows: np.trace(shrunk(x, rows) @ shrunk(t, rows)))
    assert close(SmootherInfluence().of_product(a, b), expected)


def test_of_some_statements_are_the_same_up_to_their_mean(kernels):
    a, b = smoothers(*kernels)
    some = torch.tensor([3, 0, 17, 20])
    for whole, part in (
        (SmootherInfluence().of_product(a, b), SmootherInfluence(some).of_product(a, b)),
        (SmootherInfluence().of_square(a), SmootherInfluence(some).of_square(a)),
        (SmootherInfluence().of_trace(a), SmootherInfluence(some).of_trace(a)),
    ):
        chosen = whole[some]
        assert torch.allclose(part, chosen - chosen.mean(), atol=1e-5 * float(whole.abs().max()))


def test_of_a_smoothers_square_and_trace(kernels):
    (a,) = smoothers(kernels[0])
    x = centre(kernels[0])
    assert close(SmootherInfluence().of_square(a), lost(lambda rows: np.trace(shrunk(x, rows) @ shrunk(x, rows))))
    assert close(SmootherInfluence().of_trace(a), lost(lambda rows: np.trace(shrunk(x, rows))))


def test_of_a_label_and_of_its_ceiling(kernels, label):
    (b,) = smoothers(kernels[1])
    strength = label.strength / (label.strength + RIDGE * N)
    products = LabelProducts.of(b, label.direction[:, None])
    y, t = label.strength * np.outer(label.direction, label.direction), centre(kernels[1])
    expected = lost(lambda rows: np.trace(shrunk(y, rows) @ shrunk(t, rows)))
    assert close(products.smoother_influences(strength)[:, 0], expected)
    assert close(label_trace_influence(label.direction, strength), lost(lambda rows: np.trace(shrunk(y, rows))))


def unbiased(k, m, rows):
    return textbook.unbiased_hsic(k[np.ix_(rows, rows)], m[np.ix_(rows, rows)])


def test_of_hsic_and_cka_are_those_of_their_unbiased_forms_to_first_order(kernels):
    rng = np.random.default_rng(3)
    global_n = 200
    x = rng.normal(size=(global_n, 3))
    t = x + rng.normal(size=(global_n, 3))
    k, m = (textbook.gaussian_kernel(one, variance=9.0) for one in (x, t))
    a, b = (Variable.of_kernel(torch.from_numpy(one)).linear for one in (k, m))
    everything = np.arange(global_n)

    def jackknife(measure):
        moved = np.array([measure(everything) - measure(np.delete(everything, row)) for row in everything[:40]])
        return global_n * moved

    hsic = kernel_influence(a, b).numpy()[:40] / global_n**2
    expected = jackknife(lambda rows: unbiased(k, m, rows))
    assert np.corrcoef(hsic, expected)[0, 1] > 0.999
    assert np.std(hsic) == pytest.approx(np.std(expected), rel=0.05)

    def cosine(rows):
        return unbiased(k, m, rows) / (unbiased(k, k, rows) * unbiased(m, m, rows)) ** 0.5

    found, expected = cosine_influence(a, b, biased=False).numpy()[:40], jackknife(cosine)
    assert np.corrcoef(found, expected)[0, 1] > 0.999
    assert np.std(found) == pytest.approx(np.std(expected), rel=0.05)


@pytest.mark.parametrize("d", [5, 400])
def test_sampling_errors_are_those_of_fresh_samples_in_few_dimensions_and_in_many(d):
    """In many dimensions a copy of a statement is a dependence that no new statement has, and a bootstrap would count it."""
    n, values, errors = 100, [], []
    mixing = np.random.default_rng(0).normal(size=(d, d)) / d**0.5
    for seed in range(80):
        rng = np.random.default_rng(seed + 1)
        x = rng.normal(size=(n, d)) / np.arange(1, d + 1) ** 0.5
        t = x @ mixing + 0.3 * rng.normal(size=(n, d)) / d**0.5
        a, b = (
            Variable.of_features(torch.from_numpy((v - v.mean(0)) @ (v - v.mean(0)).T)).smoother(5.0, ridge=1e-3)
            for v in (x, t)
        )
        values.append(float((a.matrix * b.matrix).sum()))
        errors.append(float(SmootherInfluence().of_product(a, b).std() / n**0.5))
    assert 0.7 < np.mean(errors) / np.std(values) < 1.6


def test_the_average_over_permutations_is_removed_alike_from_value_and_size(kernels):
    a, _ = smoothers(*kernels)
    assert isinstance(a, Operator)
    moved = a.residual.double()
    assert float(moved.trace()) == pytest.approx(0, abs=1e-5)
    assert float(moved.sum()) == pytest.approx(0, abs=1e-5)
