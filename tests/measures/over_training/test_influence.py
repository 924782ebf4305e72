"""What the predictions of one group owe to another: against refits in scikit-learn, and as the noise that exchanges alone do not see."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from tests.measures.over_training.planted import QUICK, activations, coins, design_of, statements_of, views_of
from trustrace.measures.over_training.exchange_tests import exchange_tests, paired_tests
from trustrace.measures.over_training.fragility import margins_and_spreads
from trustrace.measures.over_training.influence import NONE, Influence, blocks_of, inflation, influence
from trustrace.measures.over_training.linear import fit
from trustrace.measures.over_training.trajectories import right
from trustrace.measures.spaces import readings


def measured(values, labels, *, n_groups, most=100):
    """Who is right at each checkpoint, and what they owe to each other."""
    design = design_of(statements_of(labels, n_groups=n_groups))
    blocks = blocks_of(design, most=most)
    hits, lost = [], []
    for view in views_of(values):
        probes = fit(view, design, config=QUICK, methods=("logistic",))["logistic"]
        log_odds, _ = margins_and_spreads(view, probes, design, config=QUICK)
        hits.append(right(log_odds[None], labels)[0])
        lost.append(influence(view, probes, design, blocks, config=QUICK))
    return np.stack(hits), design, Influence(blocks=blocks[design.tested], lost=np.stack(lost))


@pytest.mark.parametrize("features", ["unit_rms", "zscore"])
def test_what_is_lost_without_a_block_is_what_scikit_learn_loses_when_it_is_fitted_without_it(features):
    labels = coins(60)
    config = QUICK.model_copy(update={"features": features})
    design = design_of(statements_of(labels, n_groups=20), config=config)
    (view,) = views_of(activations(labels, np.array([0.4]), d=6))
    probes = fit(view, design, config=config)["logistic"]
    blocks = blocks_of(design, most=9)
    got = influence(view, probes, design, blocks, config=config)
    read = readings(view.read(), features=features).numpy()
    expected = np.zeros(blocks.max() + 1)
    for fold, pair in enumerate(design.pairs):
        x = read - read[pair.train].mean(axis=0)
        x = x / read[pair.train].std(axis=0) if features == "zscore" else x

        def right_of(train, x=x, pair=pair, fold=fold):
            # The scale is that of the rows that are fitted on, with those that are left out.
            spread = np.sqrt(x[train].var(axis=0).mean())
            model = LogisticRegression(C=probes.regularisers[fold], tol=1e-10, max_iter=10_000)
            model.fit(x[train] / spread, labels[train])
            return (model.predict(x[pair.test] / spread) == labels[pair.test]).sum()

        for block in np.unique(blocks[pair.train]):
            expected[block] += right_of(pair.train) - right_of(pair.train & (blocks != block))
    # One row near even odds may fall on either side of them.
    assert np.abs(got - expected).max() <= 1
    assert (got == expected).mean() >= 0.75
    assert np.abs(expected).max() >= 2


def test_blocks_hold_whole_groups_of_one_fold_and_are_as_many_as_asked_for():
    design = design_of(statements_of(coins(90), n_groups=30))
    blocks = blocks_of(design, most=12)
    groups = np.asarray(design.groups)
    assert len(np.unique(blocks)) == 12
    assert all(len(np.unique(blocks[groups == group])) == 1 for group in np.unique(groups))
    assert all(
        any((blocks == block)[pair.test].sum() == (blocks == block).sum() for pair in design.pairs)
        for block in range(12)
    )
    assert len(np.unique(blocks_of(design, most=1000))) == 30


def test_rows_that_no_fold_trains_on_owe_nothing():
    labels = coins(90)
    splits = tuple("test" if row // 3 % 3 == 0 else "train" for row in range(90))
    groups = tuple(f"g{row // 3}" for row in range(90))
    design = design_of(replace(statements_of(labels), groups=groups, splits=splits, scheme="held_out"))
    blocks = blocks_of(design, most=20)
    assert ((blocks == NONE) == ~design.tested).all()
    (view,) = views_of(activations(labels, np.array([0.5])))
    probes = fit(view, design, config=QUICK)["logistic"]
    assert (influence(view, probes, design, blocks, config=QUICK) == 0).all()


def test_a_statistic_of_pairs_has_twice_the_variance_of_its_groups():
    """D = Σ_gh a_gh over pairs counted from both ends: the sum of squares is half its variance, the correction finds the other half."""
    rng = np.random.default_rng(0)
    totals, squares, estimates = [], [], []
    for _ in range(400):
        a = np.triu(rng.normal(size=(40, 40)), 1)
        a = a + a.T
        own = a.sum(axis=1)
        totals.append(own.sum())
        squares.append((own**2).sum())
        # Without group g, the others lose exactly what they owe to it.
        estimates.append(squares[-1] * inflation(own[None], own[None], np.array([squares[-1]]))[0])
    assert np.var(totals) == pytest.approx(np.mean(estimates), rel=0.2)
    assert np.mean(squares) == pytest.approx(np.mean(estimates) / 2)


def test_independent_groups_are_not_inflated_and_nothing_is_ever_deflated():
    assert inflation(np.array([[1.0, -1.0]]), np.zeros((1, 2)), np.array([2.0])) == pytest.approx(1.0)
    assert inflation(np.array([[1.0, -1.0]]), np.array([[-1.0, 1.0]]), np.array([2.0])) == pytest.approx(1.0)


def test_checkpoints_at_chance_are_told_apart_as_rarely_as_promised_and_exchanges_alone_tell_too_many():
    """By p-values and by intervals, which say the same but for a few pairs near the edge."""
    found = {"p": [], "interval": [], "p alone": [], "interval alone": []}
    for seed in range(16):
        labels = coins(90, seed=seed)
        hits, design, owed = measured(activations(labels, np.zeros(5), seed=seed), labels, n_groups=45, most=30)
        for suffix, given in (("", {"a": owed}), (" alone", None)):
            cells = paired_tests(
                {"a": hits}, "abcde", design.tested_groups, design.sample, exchanges=399, seed=seed, influences=given
            )["a"]
            quantities = ("accuracy change", "accuracy change p")
            changes, ps = ([c.estimate for c in cells if c.estimate.quantity == one] for one in quantities)
            found[f"p{suffix}"] += [one.value <= 0.05 for one in ps]
            found[f"interval{suffix}"] += [one.lower > 0 or one.upper < 0 for one in changes]
    rates = {name: np.mean(one) for name, one in found.items()}
    assert max(rates["p"], rates["interval"]) <= 0.07
    # 160 pairs; without what predictions owe to each other more than twice as many.
    assert rates["p"] <= 0.6 * rates["p alone"]
    assert rates["interval"] <= 0.6 * rates["interval alone"]
    assert np.mean(np.array(found["p"]) != np.array(found["interval"])) <= 0.03


def test_checkpoints_that_read_equally_well_are_told_apart_as_rarely_as_promised_and_planted_changes_are_found():
    equal, better = [], []
    for seed in range(8):
        labels = coins(90, seed=seed)
        values = activations(labels, np.array([0.5, 0.5, 0.5, 1.5]), seed=seed)
        hits, design, owed = measured(values, labels, n_groups=45, most=20)
        tests = exchange_tests(hits, design.tested_groups, exchanges=399, seed=seed, influence=owed)
        for (_, later), p in zip(tests.pairs, tests.p_values, strict=True):
            (better if later == 3 else equal).append(p <= 0.05)
    assert binomtest(sum(equal), 24, 0.05, alternative="greater").pvalue > 0.025
    assert np.mean(better) >= 0.9
