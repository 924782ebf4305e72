"""What chance makes of a transfer: second authors, planted directions, and how often nothing is called something."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, false_discovery_control
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tests.measures.over_training.planted import QUICK, coins, design_of, statements_of, views_of
from trustrace.core.measurements import Estimate
from trustrace.measures.over_training.chance import (
    Labellings,
    Target,
    areas,
    chance_cells,
    chance_of,
    chance_probes,
    with_discoveries,
)
from trustrace.measures.over_training.linear import fit
from trustrace.measures.over_training.transfer import Cell, ProbeSet, log_odds_of, transfer
from trustrace.measures.spaces import readings


def pair_of_views(labels, *, source, target, shared=0.0, d=12, seed=0, targets=1):
    """Checkpoints in Gaussian noise; labels by `source`, then `target`, on the first axis, `shared` of the first noise in the others."""
    rng = np.random.default_rng([seed, 5])
    one, *others = rng.normal(size=(1 + targets, len(labels), d))
    others = [shared * one + np.sqrt(1 - shared**2) * other for other in others]
    for values, strength in ((one, source), *((other, target) for other in others)):
        values[:, 0] += strength * (2 * labels - 1)
    return views_of([torch.from_numpy(values.astype(np.float32)) for values in (one, *others)])


def cells_of(views, design, *, draws, config=QUICK):
    fitted = [fit(view, design, config=config)["logistic"] for view in views]
    found = list(
        transfer(ProbeSet.of(fitted), views, design, method="logistic", standardisation="own", config=config, draws=100)
    )
    drawn = chance_cells(views, fitted, design, found, config=config, draws=draws)
    return {(cell.source, cell.target, cell.estimate.quantity): cell.estimate for cell in (*found, *drawn)}


def transferred(views, design, *, draws):
    """The AUROC of the first view's probe in each of the others, and its p-value."""
    probes = fit(views[0], design, config=QUICK, methods=("logistic",))["logistic"]
    drawn = chance_probes(views[0], probes, design, Labellings.of(design, draws=draws), config=QUICK)
    for view in views[1:]:
        said = log_odds_of(ProbeSet.of([probes]), view, design, standardisation="own", config=QUICK)
        area = float(areas(design.sample.labels[None], said)[0])
        yield area, chance_of(area, Target.of(view, design, config=QUICK, draws=draws), drawn, is_self=False).p


@pytest.mark.parametrize("ties", [False, True])
def test_areas_are_those_of_scikit_learn(ties):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(7, 50))
    if ties:
        scores = np.round(scores * 2)
    labels = rng.integers(0, 2, size=(7, 50))
    expected = [roc_auc_score(one, row) for one, row in zip(labels, scores, strict=True)]
    np.testing.assert_allclose(areas(labels, scores), expected, atol=1e-12)
    np.testing.assert_allclose(areas(labels[:1], scores)[3], roc_auc_score(labels[0], scores[3]), atol=1e-12)
    assert np.isnan(areas(np.ones((1, 50), dtype=int), scores)).all()


@pytest.mark.parametrize("features", ["unit_rms", "zscore"])
def test_a_loop_over_labellings_and_folds_in_scikit_learn_draws_the_same_nulls(features):
    labels = coins(60)
    config = QUICK.model_copy(update={"features": features})
    views = pair_of_views(labels, source=0.5, target=1.0, d=6)
    design = design_of(statements_of(labels, n_groups=20), config=config)
    probes = fit(views[0], design, config=config)["logistic"]
    labellings = Labellings.of(design, draws=45)
    drawn = chance_probes(views[0], probes, design, labellings, config=config)
    target = Target.of(views[1], design, config=config, draws=45)
    said = target.said(drawn)

    def standardised(values, train):
        x = readings(values, features=features).numpy()
        spread = x[train].std(axis=0) if features == "zscore" else np.sqrt(x[train].var(axis=0).mean())
        return (x - x[train].mean(axis=0)) / spread

    expected = np.full((45, 60), np.nan)
    for fold, pair in enumerate(design.pairs):
        own, other = (standardised(view.read(), pair.train) for view in views)
        for draw in range(45):
            model = LogisticRegression(C=probes.regularisers[fold], tol=1e-10, max_iter=10_000)
            model.fit(own[pair.train], labellings.columns[pair.train, draw])
            expected[draw, pair.test] = model.decision_function(other[pair.test])
    np.testing.assert_allclose(said, expected, atol=0.02 * np.abs(expected).max())
    scored = [roc_auc_score(labels, row) for row in expected]
    joint = [roc_auc_score(labellings.columns[:, draw], expected[draw]) for draw in range(45)]
    area = 0.8
    chance = chance_of(area, target, drawn, is_self=False)
    nulls = [target.random, np.array(scored), np.array(joint)]
    assert chance.low == pytest.approx(min(np.quantile(null, 0.025) for null in nulls), abs=0.01)
    assert chance.high == pytest.approx(max(np.quantile(null, 0.975) for null in nulls), abs=0.01)
    assert chance.p == pytest.approx(max((1 + (np.abs(null - 0.5) >= 0.3).sum()) / 46 for null in nulls), abs=0.05)
    alone = chance_of(area, target, drawn, is_self=True)
    assert alone.p == pytest.approx((1 + (np.abs(np.array(joint) - 0.5) >= 0.3).sum()) / 46, abs=0.03)
    assert alone.high == pytest.approx(np.quantile(joint, 0.975), abs=0.01)


def test_random_directions_have_the_gaussian_law_that_the_target_gives_them():
    """One axis of two holds the label, so that a random direction's AUROC is that of its angle."""
    labels = coins(600)
    views = pair_of_views(labels, source=0.0, target=2.0, d=2)
    config = QUICK.model_copy(update={"features": "scaled"})
    random = Target.of(views[1], design_of(statements_of(labels), config=config), config=config, draws=2000).random
    # Two axes only: half of all directions are within 45 degrees of the label's axis, and read it at Φ(4 cos 45° / √2) or better.
    assert np.median(np.abs(random - 0.5)) == pytest.approx(0.4772, abs=0.01)


def test_labels_are_exchanged_inside_folds_between_groups_of_one_size_and_groups_stay_whole():
    labels = np.repeat(coins(40), 3)
    design = design_of(replace(statements_of(labels), groups=tuple(f"g{row // 3}" for row in range(120))))
    drawn = Labellings.of(design, draws=60).columns
    assert drawn.shape == (120, 60)
    assert (drawn.reshape(40, 3, 60) == drawn.reshape(40, 3, 60)[:, :1]).all()
    for pair in design.pairs:
        assert (drawn[pair.test].sum(axis=0) == labels[pair.test].sum()).all()
    assert len(np.unique(drawn, axis=1).T) > 50


def test_groups_of_different_sizes_leave_no_null_and_that_is_said():
    sizes = list(range(1, 13))
    groups = tuple(f"g{place}" for place, size in enumerate(sizes) for _ in range(size))
    labels = np.array([place % 2 for place, size in enumerate(sizes) for _ in range(size)])
    views = pair_of_views(labels, source=1.0, target=1.0)
    cells = cells_of(views, design_of(replace(statements_of(labels), groups=groups)), draws=60)
    nulls = [one for (_, _, quantity), one in cells.items() if quantity in ("transfer auroc null", "transfer auroc p")]
    assert len(nulls) == 8
    assert all(np.isnan(one.value) and "too few labellings" in one.note for one in nulls)


def test_a_planted_shared_direction_is_beyond_chance_and_its_band_is_in_the_row():
    labels = coins(160)
    views = pair_of_views(labels, source=1.2, target=1.2, d=24)
    cells = cells_of(views, design_of(statements_of(labels)), draws=199)
    one, other = (view.name for view in views)
    for key in ((one, other), (other, one), (one, one)):
        assert cells[(*key, "transfer auroc p")].value < 1 / 200
        band = cells[(*key, "transfer auroc null")]
        assert band.lower < 0.5 < band.upper < cells[(*key, "transfer auroc")].value
        assert band.role == "null"


def test_a_direction_that_three_of_seven_views_share_is_discovered_and_no_idle_view_is():
    """Of 42 pairs six are true: q ≤ 0.05 asks for p ≤ 0.0071, which counts of 99 draws cannot give."""
    labels = coins(120)
    rng = np.random.default_rng(3)
    values = [rng.normal(size=(120, 64)) for _ in range(7)]
    for one in values[4:]:
        one[:, 0] += 2.0 * (2 * labels - 1)
    views = views_of([torch.from_numpy(one.astype(np.float32)) for one in values])
    design = design_of(statements_of(labels))
    fitted = [fit(view, design, config=QUICK, methods=("logistic",))["logistic"] for view in views]
    found = list(
        transfer(ProbeSet.of(fitted), views, design, method="logistic", standardisation="own", config=QUICK, draws=100)
    )
    cells = [*found, *chance_cells(views, fitted, design, found, config=QUICK, draws=99)]
    (judged,) = with_discoveries([cells])
    q = {(c.source, c.target): c.estimate.value for c in judged if c.estimate.quantity == "transfer auroc q"}
    know = {view.name for view in views[4:]}
    assert {pair for pair, value in q.items() if value <= 0.05} == {(one, other) for one in know for other in know}


def test_few_labellings_have_no_tail_beyond_their_number():
    labels = coins(16)
    design = design_of(statements_of(labels, n_groups=16), config=QUICK)
    labellings = Labellings.of(design, draws=400)
    assert labellings.columns.shape[1] > 39
    assert not labellings.are_many
    views = pair_of_views(labels, source=20.0, target=20.0, d=3)
    probes = fit(views[0], design, config=QUICK, methods=("logistic",))["logistic"]
    drawn = chance_probes(views[0], probes, design, labellings, config=QUICK)
    target = Target.of(views[0], design, config=QUICK, draws=400)
    assert chance_of(1.0, target, drawn, is_self=True).p >= 1 / (1 + labellings.columns.shape[1])


def test_a_source_that_knows_nothing_is_not_found_in_a_target_that_knows_all_along_its_only_axis():
    """The trap: an AUROC far from 1/2 with an interval that is as far, of a probe that means nothing."""
    areas_found, p_values = [], []
    for seed in range(20):
        labels = coins(60, seed=seed)
        views = pair_of_views(labels, source=0.0, target=3.0, d=2, seed=seed)
        ((area, p),) = transferred(views, design_of(statements_of(labels)), draws=59)
        areas_found.append(area)
        p_values.append(p)
    # With 30 rows of each label the deviation of an area by chance is 0.075.
    assert np.mean(np.abs(np.array(areas_found) - 0.5) > 0.25) >= 0.5
    assert np.mean(np.array(p_values) <= 0.05) <= 0.15


@pytest.mark.parametrize(("target", "shared"), [(2.0, 0.0), (0.0, 0.95)])
def test_labels_that_mean_nothing_to_the_source_are_found_as_rarely_as_promised(target, shared):
    """Whether the target knows them, or neither view does and both see the same noise."""
    found = []
    for seed in range(16):
        labels = coins(60, seed=seed)
        views = pair_of_views(labels, source=0.0, target=target, shared=shared, seed=seed, targets=4)
        found += [p <= 0.05 for _, p in transferred(views, design_of(statements_of(labels, n_groups=30)), draws=59)]
    assert binomtest(sum(found), len(found), 0.05, alternative="greater").pvalue > 0.025


def test_discoveries_are_controlled_over_all_families_and_unknown_p_values_stay_unknown():
    def cell(quantity, value, target="b"):
        estimate = Estimate(quantity=quantity, method="logistic own", value=value, n=4, n_groups=2)
        return Cell(source="a", target=target, estimate=estimate)

    p_values = [[0.001, 0.5, np.nan], [0.03, 0.04]]
    families = [[cell("transfer auroc", 0.7), *(cell("transfer auroc p", p) for p in one)] for one in p_values]
    # Of views in themselves, a family of their own.
    families[1] += [cell("transfer auroc p", p, target="a") for p in (1e-9, 0.2)]
    judged = with_discoveries(families)
    q = [one.estimate.value for cells in judged for one in cells if one.estimate.quantity == "transfer auroc q"]
    np.testing.assert_allclose(np.array(q)[[0, 1, 3, 4]], false_discovery_control([0.001, 0.5, 0.03, 0.04]))
    np.testing.assert_allclose(q[5:], [2e-9, 0.2])
    assert np.isnan(q[2])
    assert [len(cells) for cells in judged] == [7, 9]
    assert judged[0][0] == families[0][0]
