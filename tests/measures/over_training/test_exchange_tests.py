from itertools import product

import numpy as np
import pytest
from scipy.stats import permutation_test

from tests.measures.over_training.planted import QUICK, activations, coins, design_of, statements_of, views_of
from trustrace.core.errors import MeasurementError
from trustrace.measures.over_training.exchange_tests import exchange_tests, paired_tests
from trustrace.measures.over_training.fragility import margins_and_spreads
from trustrace.measures.over_training.linear import fit
from trustrace.measures.over_training.trajectories import right
from trustrace.measures.scoring import Sample


def groups_of(n, size):
    return tuple(f"group_{row // size}" for row in range(n))


def test_few_groups_agree_with_every_exchange_that_there_is():
    rng = np.random.default_rng(0)
    hits = rng.random((2, 24)) < np.array([[0.4], [0.8]])
    difference = (hits[1].astype(int) - hits[0]).reshape(12, 2).sum(axis=1)
    exact = np.mean([abs(np.dot(signs, difference)) >= abs(difference.sum()) for signs in product([-1, 1], repeat=12)])
    got = exchange_tests(hits, groups_of(24, 2), exchanges=20_000, seed=0)
    assert got.p_values[0] == pytest.approx(exact, abs=0.01)
    assert got.differences[0] == pytest.approx(hits[1].mean() - hits[0].mean())


def test_scipys_paired_permutation_of_group_counts_says_the_same():
    rng = np.random.default_rng(1)
    hits = rng.random((3, 90)) < np.array([[0.6], [0.65], [0.75]])
    counts = hits.reshape(3, 30, 3).sum(axis=2).astype(float)
    got = exchange_tests(hits, groups_of(90, 3), exchanges=20_000, seed=0)
    for (i, j), p in zip(got.pairs, got.p_values, strict=True):
        expected = permutation_test(
            (counts[j], counts[i]),
            lambda a, b, axis: np.mean(a - b, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=20_000,
            rng=np.random.default_rng(2),
        )
        assert p == pytest.approx(expected.pvalue, abs=0.015)


def test_rows_of_one_group_are_one_piece_of_evidence():
    rng = np.random.default_rng(2)
    few = rng.random((2, 20)) < np.array([[0.3], [0.7]])
    many = np.repeat(few, 10, axis=1)
    one = exchange_tests(few, groups_of(20, 1), exchanges=5000, seed=0).p_values
    same = exchange_tests(many, groups_of(200, 10), exchanges=5000, seed=0).p_values
    assert one == pytest.approx(same)


def test_a_large_change_has_a_p_value_that_exchanges_could_not_resolve():
    hits = np.zeros((2, 200), dtype=bool)
    hits[1] = True
    got = exchange_tests(hits, groups_of(200, 1), exchanges=999, seed=0)
    assert got.p_values[0] == pytest.approx(2 * np.exp(-100))
    # The exact tail is smaller than the bound.
    assert got.p_values[0] >= 2 * 0.5**200


def test_equally_good_checkpoints_are_told_apart_as_rarely_as_promised():
    rng = np.random.default_rng(3)
    found, tests, families = 0, 0, 0
    for seed in range(60):
        rates = np.clip(rng.normal(0.7, 0.2, size=60), 0, 1).repeat(3)
        hits = rng.random((5, 180)) < rates
        sample = Sample.of(np.zeros(180, dtype=int), groups_of(180, 3), draws=100, seed=seed)
        p = exchange_tests(hits, groups_of(180, 3), exchanges=499, seed=seed).p_values
        found += int((p <= 0.05).sum())
        tests += len(p)
        cells = paired_tests({"block_0": hits}, list("abcde"), groups_of(180, 3), sample, exchanges=499, seed=seed)[
            "block_0"
        ]
        families += any(c.estimate.value <= 0.05 for c in cells if c.estimate.quantity == "accuracy change q")
    assert found / tests <= 0.07
    assert families / 60 <= 0.12


def test_discoveries_are_controlled_over_all_sites_together_and_planted_changes_are_found():
    rng = np.random.default_rng(4)
    flat = rng.random((4, 300)) < 0.6
    rising = rng.random((4, 300)) < np.array([0.5, 0.5, 0.9, 0.9])[:, None]
    sample = Sample.of(np.zeros(300, dtype=int), groups_of(300, 2), draws=200, seed=0)
    names = ["a", "b", "c", "d"]
    cells = paired_tests({"flat": flat, "rising": rising}, names, groups_of(300, 2), sample, exchanges=1999, seed=0)
    q = {
        site: {(c.source, c.target): c.estimate.value for c in found if c.estimate.quantity == "accuracy change q"}
        for site, found in cells.items()
    }
    assert {pair for pair, value in q["rising"].items() if value <= 0.05} == {
        ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")
    }  # fmt: skip
    assert min(q["flat"].values()) > 0.05
    change = next(c.estimate for c in cells["rising"] if (c.source, c.target) == ("a", "c"))
    assert change.lower < change.value < change.upper
    assert change.lower > 0.2
    assert change.value == pytest.approx(rising[2].mean() - rising[0].mean())


def test_cross_validated_predictions_at_chance_are_told_apart_little_more_often_than_promised():
    p_values = []
    for seed in range(12):
        labels = coins(120, seed=seed)
        design = design_of(statements_of(labels, n_groups=40))
        hits = []
        for view in views_of(activations(labels, np.zeros(5), seed=seed)):
            probes = fit(view, design, config=QUICK, methods=("logistic",))["logistic"]
            log_odds, _ = margins_and_spreads(view, probes, design, config=QUICK)
            hits.append(right(log_odds[None], labels)[0])
        p_values.append(exchange_tests(np.stack(hits), design.tested_groups, exchanges=299, seed=seed).p_values)
    assert np.mean(np.concatenate(p_values) <= 0.05) <= 0.15


def test_one_group_cannot_be_exchanged():
    with pytest.raises(MeasurementError, match="one group"):
        exchange_tests(np.ones((2, 4), dtype=bool), ("a",) * 4, exchanges=100, seed=0)
