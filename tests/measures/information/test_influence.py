"""Influences are derivatives: finite differences of the weighted textbook forms are their second author."""

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
from trustrace.measures.information.operators import smoother_
from trustrace.measures.information.variables import Variable

N, RIDGE = 24, 3e-3


@pytest.fixture(scope="module")
def kernels():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 3))
    t = x @ rng.normal(size=(3, 4)) + 0.5 * rng.normal(size=(N, 4))
    return textbook.gaussian_kernel(x, variance=9.0), textbook.gaussian_kernel(t, variance=14.0)


@pytest.fixture(scope="module")
def label_kernel():
    y = np.random.default_rng(2).integers(0, 2, N)
    return y, (y[:, None] == y[None, :]).astype(float)


def derivative(measure):
    """How `measure` of the weights moves when a little mass goes to one statement and is taken from all alike."""
    even, step = np.full(N, 1 / N), 1e-6
    moved = []
    for row in range(N):
        direction = np.eye(N)[row] - even
        moved.append((measure(even + step * direction) - measure(even - step * direction)) / (2 * step))
    return np.array(moved)


def smoothers(*kernels):
    return [smoother_(torch.from_numpy(one.copy()), ridge=RIDGE) for one in kernels]


def close(found, expected):
    scale = np.abs(expected).max()
    return np.allclose(found.numpy(), expected, atol=2e-5 * scale)


def test_of_normalised_hsic(kernels):
    a, b = smoothers(*kernels)
    expected = derivative(lambda w: textbook.weighted_normalized_hsic(*kernels, w, ridge=RIDGE))
    assert close(SmootherInfluence().of_product(a, b), expected)


def test_of_some_statements_are_the_same_up_to_their_mean(kernels):
    a, b = smoothers(*kernels)
    some = torch.tensor([3, 0, 17, 20])
    whole = SmootherInfluence().of_product(a, b)[some]
    assert torch.allclose(
        SmootherInfluence(some).of_product(a, b), whole - whole.mean(), atol=1e-5 * float(whole.abs().max())
    )


def test_of_a_smoothers_square_and_trace(kernels):
    (a,) = smoothers(kernels[0])
    square = derivative(lambda w: textbook.weighted_normalized_hsic(kernels[0], kernels[0], w, ridge=RIDGE))
    assert close(SmootherInfluence().of_square(a), square)

    def trace(weights):
        h = np.eye(N) - np.outer(np.ones(N), weights)
        root = np.diag(np.sqrt(weights))
        mass = root @ h @ kernels[0] @ h.T @ root
        return np.trace(mass @ np.linalg.inv(mass + RIDGE * np.eye(N)))

    assert close(SmootherInfluence().of_trace(a), derivative(trace))


def test_of_hsic_and_cka(kernels):
    a, b = (Variable.of_kernel(torch.from_numpy(one)).linear for one in kernels)
    expected = derivative(lambda w: textbook.weighted_hsic(*kernels, w))
    assert close(kernel_influence(a, b) / N**2, expected)

    def cka(w):
        own = [textbook.weighted_hsic(one, one, w) for one in kernels]
        return textbook.weighted_hsic(*kernels, w) / (own[0] * own[1]) ** 0.5

    assert close(cosine_influence(a, b), derivative(cka))


def test_of_the_label_forms(kernels, label_kernel):
    y, k = label_kernel
    label = LabelKernel.of(y)
    strength = label.strength / (label.strength + RIDGE * N)
    (b,) = smoothers(kernels[1])
    products = LabelProducts.of(b, label.direction[:, None])
    expected = derivative(lambda w: textbook.weighted_normalized_hsic(k, kernels[1], w, ridge=RIDGE))
    assert close(products.smoother_influences(strength)[:, 0], expected)
    centred = Variable.of_kernel(torch.from_numpy(kernels[1])).linear
    products = LabelProducts.of(centred, label.direction[:, None])
    expected = derivative(lambda w: textbook.weighted_hsic(k, kernels[1], w))
    assert close(products.kernel_influences(label.strength)[:, 0] / N**2, expected)

    def ceiling(w):
        share = w @ y
        own = 2 * share * (1 - share)
        return own / (own + RIDGE)

    assert close(label_trace_influence(label.direction, strength), derivative(ceiling))
