"""Permutation moments against all permutations, and labels that keep their groups together."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from trustrace.measures.information.exchange import Exchange, block_permutations
from trustrace.measures.information.nulls import permutation_null
from trustrace.measures.information.operators import inner, smoother_
from trustrace.measures.information.variables import Variable


def kernels(n, seed):
    rng = np.random.default_rng(seed)
    found = []
    for d in (2, 3):
        x = rng.normal(size=(n, d)) ** 3
        found.append(torch.from_numpy(np.exp(-np.square(x[:, None] - x[None]).sum(axis=2) / 4)))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_mean_and_deviation_are_those_of_all_permutations(seed):
    a, b = (smoother_(kernel, ridge=0.02) for kernel in kernels(6, seed))
    values = [float((a.matrix * b.matrix[list(order)][:, list(order)]).sum()) for order in permutations(range(6))]
    null = permutation_null(a, b)
    assert null.mean == pytest.approx(np.mean(values), rel=1e-10)
    assert null.deviation == pytest.approx(np.std(values), rel=1e-10)


def test_so_are_those_of_the_unbiased_form():
    a, b = (Variable.of_kernel(kernel).linear.fair for kernel in kernels(6, 4))
    values = [float((a.matrix * b.matrix[list(order)][:, list(order)]).sum()) for order in permutations(range(6))]
    null = permutation_null(a, b)
    assert np.mean(values) == pytest.approx(null.mean, abs=1e-12)
    assert null.deviation == pytest.approx(np.std(values), rel=1e-9)


@pytest.mark.parametrize("groups", ["aabbccde", "aaabbbcc", "abcdefgh"])
def test_the_nulls_of_kernels_in_groups_are_those_of_permutations_written_out(groups):
    a, b = (Variable.of_kernel(kernel).linear for kernel in kernels(8, 5))
    exchange = Exchange.of(list(groups), rng=np.random.default_rng(0), device="cpu")
    (nulls,) = exchange.kernel_nulls([a], b)
    many = block_permutations(np.arange(8), list(groups), draws=20000, rng=np.random.default_rng(1)).T
    for null, (first, second) in zip(nulls, ((a, b), (a.fair, b.fair)), strict=True):
        left, right = first.matrix.numpy(), second.matrix.numpy()
        drawn = np.array([(left * right[order][:, order]).sum() for order in many])
        assert null.mean == pytest.approx(drawn.mean(), abs=5 * drawn.std() / len(many) ** 0.5)
        if len(set(groups)) == 8:
            assert null.deviation == pytest.approx(drawn.std(), rel=0.05)
        else:
            few = [(left * right[order][:, order]).sum() for order in exchange.orders.numpy()]
            assert null.deviation == pytest.approx(np.sqrt(np.mean((np.array(few) - null.mean) ** 2)), rel=1e-5)
    assert nulls[1].skewness == nulls[0].skewness


def test_p_values_are_uniform_where_nothing_depends_and_small_where_something_does():
    rng = np.random.default_rng(0)
    independent, dependent = [], []
    for _ in range(200):
        x, noise = rng.normal(size=(60, 4)), rng.normal(size=(60, 6))
        t = noise.copy()
        t[:, :4] += 2 * x
        own = Variable.of_features(torch.from_numpy(x @ x.T)).smoother(1.5, ridge=1e-2)
        for store, values in ((independent, noise), (dependent, t)):
            other = Variable.of_features(torch.from_numpy(values @ values.T)).smoother(1.5, ridge=1e-2)
            store.append(permutation_null(own, other).p_value(inner(own, other)))
    assert kstest(independent, "uniform").pvalue > 0.01
    assert max(dependent) < 0.01


def test_block_permutations_keep_twins_apart_and_like_groups_together():
    twins = np.array([0, 1] * 20)
    drawn = block_permutations(
        twins, tuple(f"g{row // 2}" for row in range(40)), draws=50, rng=np.random.default_rng(0)
    )
    assert (drawn[0::2] + drawn[1::2] == 1).all()
    assert 0.3 < (drawn[0] == 0).mean() < 0.7
    alike = np.repeat([0, 1, 1, 0, 1], 4)
    drawn = block_permutations(
        alike, tuple(f"g{row // 4}" for row in range(20)), draws=50, rng=np.random.default_rng(1)
    )
    assert all(len(set(block)) == 1 for column in drawn.T for block in column.reshape(5, 4).tolist())
    assert (drawn.sum(axis=0) == alike.sum()).all()


def test_groups_of_different_size_trade_within_their_size_only():
    labels = np.array([1, 1, 1, 0, 0, 0, 1, 0])
    groups = ("a", "a", "b", "c", "d", "d", "e", "f")
    drawn = block_permutations(labels, groups, draws=100, rng=np.random.default_rng(2))
    pairs = {(int(column[0]), int(column[1])) for column in drawn.T}
    assert pairs == {(1, 1), (0, 0)}
    assert (drawn[[2, 3, 6, 7]].sum(axis=0) == 2).all()


def test_permutations_that_ignore_groups_would_call_chance_significant():
    rng = np.random.default_rng(3)
    grouped, single = [], []
    for _ in range(60):
        centres = rng.normal(size=(15, 3))
        t = np.repeat(centres, 6, axis=0) + 0.1 * rng.normal(size=(90, 3))
        labels = np.repeat(rng.integers(0, 2, 15), 6)
        if labels.min() == labels.max():
            continue
        operator = Variable.of_features(torch.from_numpy((t - t.mean(0)) @ (t - t.mean(0)).T)).linear
        for store, groups in ((grouped, np.repeat(np.arange(15), 6)), (single, np.arange(90))):
            drawn = block_permutations(labels, tuple(map(str, groups)), draws=99, rng=rng)
            columns = torch.from_numpy(np.column_stack([labels, drawn])).double()
            columns -= columns.mean(dim=0)
            forms = (columns * (operator.matrix @ columns)).sum(dim=0)
            store.append((1 + int((forms[1:] >= forms[0] - 1e-9).sum())) / 100)
    assert np.mean(np.array(grouped) < 0.05) < 0.15
    assert np.mean(np.array(single) < 0.05) > 0.3


GROUPINGS = {
    "alone": "abcdef",
    "pairs": "aabbcc",
    "one size each": "aaabbc",
    "two sizes": "aabbcd",
    "one group": "aaaaaa",
}


def allowed(groups):
    """All permutations that exchange groups of one size and shuffle inside groups, by brute force."""
    n = len(groups)
    for order in permutations(range(n)):
        images = {}
        whole = all(images.setdefault(groups[i], groups[j]) == groups[j] for i, j in enumerate(order))
        if whole and all(groups.count(a) == groups.count(b) for a, b in images.items()):
            yield list(order)


@pytest.mark.parametrize("groups", GROUPINGS.values(), ids=GROUPINGS.keys())
def test_the_mean_over_permutations_that_keep_groups_together_is_exact(groups):
    a, b = (smoother_(kernel, ridge=0.02) for kernel in kernels(6, 7))
    values = [float((a.matrix * b.matrix[order][:, order]).sum()) for order in allowed(groups)]
    exchange = Exchange.of(tuple(groups), rng=np.random.default_rng(0), device="cpu")
    product = inner(a, b)
    assert product - exchange.excess(a, b, product) == pytest.approx(np.mean(values), rel=1e-10)
    (null,) = exchange.nulls([a], b)
    assert null.mean == pytest.approx(np.mean(values), rel=1e-6)
    assert null.deviation == pytest.approx(np.std(values), rel=0.6, abs=1e-6)


def test_drawn_permutations_are_among_the_allowed_ones():
    groups = "aabbcd"
    exchange = Exchange.of(tuple(groups), rng=np.random.default_rng(0), device="cpu")
    possible = [tuple(order) for order in allowed(groups)]
    assert {tuple(order) for order in exchange.orders.tolist()} <= set(possible)
    assert not exchange.is_free


def test_what_groups_share_is_no_dependence_and_what_is_beyond_it_is():
    """Rows of one group resemble each other in X and in T; the two are unrelated, or not."""
    calm, found = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        groups = tuple(str(row // 4) for row in range(120))
        shared = [np.repeat(rng.normal(size=(30, 5)), 4, axis=0) for _ in range(2)]
        x, t = (one + 0.3 * rng.normal(size=(120, 5)) for one in shared)
        exchange = Exchange.of(list(groups), rng=rng, device="cpu")
        for store, other in ((calm, t), (found, t + 0.7 * x)):
            a, b = (
                Variable.of_features(torch.from_numpy((v - v.mean(0)) @ (v - v.mean(0)).T)).smoother(3.0, ridge=1e-2)
                for v in (x, other)
            )
            (null,) = exchange.nulls([a], b)
            store.append((null.p_value(inner(a, b)), exchange.excess(a, b, inner(a, b)) / a.squared))
    p_values, shares = map(np.array, zip(*calm, strict=True))
    assert (p_values < 0.05).mean() < 0.2
    assert abs(shares.mean()) < 3 * shares.std() / 40**0.5
    assert max(p for p, _ in found) < 0.01
