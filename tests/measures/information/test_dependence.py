"""Theorems of the kernel measures, and the textbook as their second author."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measures.information import textbook
from trustrace.measures.information import dependence
from trustrace.measures.information.kernels import (
    LabelKernel,
    gaussian_,
    median_distance,
    squared_distances,
    token_kernel,
    u_centred,
)
from trustrace.measures.information.operators import smoother_
from trustrace.measures.information.variables import Variable

seeds = st.integers(0, 10_000)
MEASURES = [
    dependence.hsic,
    dependence.unbiased_hsic,
    dependence.normalized_hsic,
    dependence.cka,
    dependence.debiased_cka,
]


def pair(seed, n=40, d=5, noise=0.5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.arange(1, d + 1)
    return x, x[:, ::-1] * 0.7 + noise * rng.normal(size=(n, d))


def kernel(x, scale=None):
    distances = squared_distances(torch.from_numpy(x @ x.T))
    return gaussian_(distances, scale=scale or 2 * median_distance(distances))


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(3.0, 80.0))
def test_every_measure_equals_its_textbook_form(seed, scale):
    x, y = pair(seed)
    k, m = (textbook.gaussian_kernel(one, variance=scale) for one in (x, y))
    a, b = kernel(x, scale), kernel(y, scale)
    assert dependence.hsic(a, b) == pytest.approx(textbook.hsic(k, m), rel=1e-9)
    assert dependence.unbiased_hsic(a, b) == pytest.approx(textbook.unbiased_hsic(k, m), rel=1e-9, abs=1e-14)
    expected = textbook.normalized_hsic(k, m, ridge=2e-4)
    assert dependence.normalized_hsic(a, b, ridge=2e-4) == pytest.approx(expected, rel=1e-8)
    size = (textbook.hsic(k, k) * textbook.hsic(m, m)) ** 0.5
    assert dependence.cka(a, b) == pytest.approx(textbook.hsic(k, m) / size, rel=1e-9)
    size = (textbook.unbiased_hsic(k, k) * textbook.unbiased_hsic(m, m)) ** 0.5
    assert dependence.debiased_cka(a, b) == pytest.approx(textbook.unbiased_hsic(k, m) / size, rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_measures_do_not_see_rotations_shifts_or_the_order_of_their_arguments(seed):
    x, y = pair(seed)
    rng = np.random.default_rng(seed + 1)
    turned = x @ np.linalg.qr(rng.normal(size=(x.shape[1], x.shape[1])))[0] + rng.normal(size=x.shape[1])
    for measure in MEASURES:
        value = measure(kernel(x), kernel(y))
        assert measure(kernel(turned), kernel(y)) == pytest.approx(value, rel=1e-6, abs=1e-12)
        assert measure(kernel(y), kernel(x)) == pytest.approx(value, rel=1e-9, abs=1e-14)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_biased_measures_are_never_negative_and_bounded(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(25, 3)), rng.normal(size=(25, 40))
    a, b = kernel(x), kernel(y)
    assert dependence.hsic(a, b) >= 0
    assert 0 <= dependence.cka(a, b) <= 1 + 1e-12
    assert dependence.debiased_cka(a, b) <= 1 + 1e-12
    assert 0 <= dependence.normalized_hsic(a, b) <= 24


@pytest.mark.parametrize("measure", MEASURES)
def test_more_noise_means_less_dependence(measure):
    values = [
        np.mean([measure(kernel(x), kernel(y)) for x, y in (pair(seed, n=80, noise=noise) for seed in range(8))])
        for noise in (0.1, 1.0, 4.0, 20.0)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]


def test_a_constant_depends_on_nothing():
    x, _ = pair(0)
    constant = torch.ones(40, 40, dtype=torch.float64)
    assert dependence.hsic(kernel(x), constant) == pytest.approx(0, abs=1e-15)
    assert dependence.normalized_hsic(kernel(x), constant) == pytest.approx(0, abs=1e-9)
    assert np.isnan(dependence.cka(kernel(x), torch.zeros(40, 40, dtype=torch.float64)))


def test_unbiased_measures_are_zero_on_average_without_dependence_and_biased_ones_are_not():
    rng = np.random.default_rng(0)
    drawn = [(kernel(rng.normal(size=(20, 4))), kernel(rng.normal(size=(20, 6)))) for _ in range(400)]
    for measure, biased in ((dependence.unbiased_hsic, dependence.hsic), (dependence.debiased_cka, dependence.cka)):
        values = np.array([measure(*one) for one in drawn])
        assert abs(values.mean()) < 3 * values.std() / 20
        others = np.array([biased(*one) for one in drawn])
        assert others.mean() > 10 * others.std() / 20


def test_rows_of_a_u_centred_kernel_sum_to_nought():
    x, _ = pair(0)
    assert u_centred(kernel(x)).sum(dim=0).abs().max() < 1e-12
    fair = Variable.of_kernel(kernel(x)).linear.fair
    assert torch.allclose(fair.matrix, u_centred(kernel(x)), atol=1e-12)


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(1e-4, 1e-1))
def test_a_smoother_has_eigenvalues_between_nought_and_one_and_forgets_the_constant(seed, ridge):
    x, _ = pair(seed)
    own = smoother_(kernel(x), ridge=ridge)
    values = torch.linalg.eigvalsh(own.matrix)
    assert values.min() > -1e-10
    assert values.max() < 1
    assert own.matrix.sum(dim=0).abs().max() < 1e-9
    assert torch.equal(own.matrix, own.matrix.T)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(0, 1), min_size=12, max_size=30).filter(lambda y: 0 < sum(y) < len(y)), st.floats(0.0, 0.99)
)
def test_the_label_kernel_has_rank_one(labels, unlike):
    y = np.array(labels)
    own = LabelKernel.of(y, unlike=unlike)
    k = np.where(y[:, None] == y[None, :], 1.0, unlike)
    h = textbook.centring(len(y))
    expected = h @ k @ h
    found = own.strength * np.outer(own.direction, own.direction)
    assert np.allclose(found, expected, atol=1e-12)


def test_equal_bags_of_tokens_are_one_and_disjoint_ones_nought():
    found = token_kernel([[1, 2, 3], [3, 2, 1], [4, 5], [1, 1, 2, 3]])
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == 0
    assert found[0, 3] == pytest.approx(4 / (3 * 6) ** 0.5)


def test_the_median_width_is_that_of_rows_that_differ():
    x = np.zeros((40, 3))
    x[:6] = np.random.default_rng(0).normal(size=(6, 3))
    x += 0.1
    distances = squared_distances(torch.from_numpy((x - x.mean(0)) @ (x - x.mean(0)).T))
    expected = [np.square(a - b).sum() for i, a in enumerate(x) for b in x[:i] if (a != b).any()]
    assert median_distance(distances) == pytest.approx(np.median(expected), rel=0.2)
    assert torch.isfinite(Variable.of_features(torch.from_numpy(x @ x.T)).smoother("median", ridge=1e-3).matrix).all()


def test_rows_that_are_equal_in_a_selection_are_constant():
    x = np.random.default_rng(1).normal(size=(1, 50)).repeat(20, axis=0) * 3
    assert Variable.of_features(torch.from_numpy(x @ x.T)).is_constant


def test_widths_compare_across_numbers_of_features_and_scales():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 400))
    x = (x - x.mean(0)) / x.std(0)
    gram = torch.from_numpy(x @ x.T)
    expected = textbook.gaussian_kernel(x, variance=2 * 3.0**2 * 400)
    assert np.allclose(Variable.of_features(gram).kernel(3.0), expected, rtol=1e-10)
    assert np.allclose(Variable.of_features(49 * gram).kernel(3.0), expected, rtol=1e-10)
