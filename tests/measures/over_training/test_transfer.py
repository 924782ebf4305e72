from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from tests.measures.over_training.planted import QUICK, activations, coins, design_of, statements_of, stored, views_of
from trustrace.measures.measure import measure
from trustrace.measures.over_training.linear import fit
from trustrace.measures.over_training.transfer import fit_views, log_odds_of, transfer


def matrix(cells, quantity):
    """Values by source and target."""
    kept = [cell for cell in cells if cell.estimate.quantity == quantity]
    names = list(dict.fromkeys(cell.target for cell in kept))
    place = {name: index for index, name in enumerate(names)}
    found = np.full((len(names), len(names)), np.nan)
    for cell in kept:
        found[place[cell.source], place[cell.target]] = cell.estimate.value
    return found


def transferred(values, labels, *, method="logistic", standardisation="own", config=QUICK, n_groups=None):
    views, design = views_of(values), design_of(statements_of(labels, n_groups=n_groups), config=config)
    probes = fit_views(views, design, config=config)[method]
    return list(
        transfer(
            probes,
            views,
            design,
            method=method,
            standardisation=standardisation,
            config=config,
            draws=config.bootstrap_draws,
        )
    )


@pytest.mark.parametrize(
    ("method", "features", "d"),
    [
        ("logistic", "unit_rms", 12),
        ("logistic", "zscore", 150),
        ("mass_mean", "unit_rms", 150),
        ("mass_mean", "zscore", 12),
    ],
)
def test_the_diagonal_is_the_ordinary_measurement(tmp_path, method, features, d):
    labels = coins(120)
    config = QUICK.model_copy(update={"features": features})
    values = activations(labels, np.array([0.6, 0.9]), d=d)
    statements = statements_of(labels, n_groups=30)
    rows = [
        row
        for place, one in enumerate(values)
        for row in measure(
            stored(tmp_path, place, {"block_0": one}), statements, config=config, protocol="rigorous", seed=0
        )
        if row.method == method and row.role == "measured"
    ]
    views, design = views_of(values), design_of(statements, config=config)
    probes = fit_views(views, design, config=config)[method]
    for standardisation in ("source", "own"):
        cells = transfer(
            probes, views, design, method=method, standardisation=standardisation, config=config, draws=200
        )
        for cell in (cell for cell in cells if cell.source == cell.target):
            for quantity in ("accuracy", "auroc"):
                if cell.estimate.quantity == f"transfer {quantity}":
                    (own,) = [row for row in rows if row.quantity == quantity and row.checkpoint == cell.target]
                    assert (cell.estimate.value, cell.estimate.lower, cell.estimate.upper) == pytest.approx(
                        (own.value, own.lower, own.upper), abs=1e-12
                    )
                    assert (cell.estimate.n, cell.estimate.n_groups) == (own.n, own.n_groups)


@pytest.mark.parametrize("standardisation", ["source", "own"])
@pytest.mark.parametrize(("features", "d"), [("unit_rms", 10), ("zscore", 10), ("scaled", 90), ("zscore", 90)])
def test_scikit_learn_fitted_and_scored_pair_by_pair_says_the_same(standardisation, features, d):
    labels = coins(90)
    config = QUICK.model_copy(update={"features": features})
    values = activations(labels, np.array([0.5, 1.0, 0.8]), turn=np.array([0.0, 0.4, 1.0]), d=d)
    views, design = views_of(values), design_of(statements_of(labels, n_groups=30), config=config)
    fitted = [fit(view, design, config=config)["logistic"] for view in views]
    probes = fit_views(views, design, config=config)["logistic"]

    def read(x):
        x = x.double().numpy()
        return x / np.sqrt((x**2).mean(1, keepdims=True)) if features == "unit_rms" else x

    def scaler(x):
        found = StandardScaler().fit(x)
        if features != "zscore":
            found.scale_ = np.full_like(found.scale_, np.sqrt(x.var(axis=0).mean()))
        return found

    for j, target in enumerate(views):
        got = log_odds_of(probes, target, design, standardisation=standardisation, config=config)
        for i in range(3):
            expected = np.full(90, np.nan)
            for fold, pair in enumerate(design.pairs):
                source = scaler(read(values[i])[pair.train])
                own = scaler(read(values[j])[pair.train])
                model = LogisticRegression(C=fitted[i].regularisers[fold], tol=1e-10, max_iter=10_000)
                model.fit(source.transform(read(values[i])[pair.train]), labels[pair.train])
                used = own if standardisation == "own" else source
                expected[pair.test] = model.decision_function(used.transform(read(values[j])[pair.test]))
            np.testing.assert_allclose(got[i], expected, atol=2e-3)
            assert accuracy_score(labels, got[i] > 0) == pytest.approx(
                accuracy_score(labels, expected > 0), abs=1.5 / 90
            )
            assert roc_auc_score(labels, got[i]) == pytest.approx(roc_auc_score(labels, expected), abs=2e-3)


@pytest.mark.parametrize("method", ["logistic", "mass_mean"])
def test_a_direction_that_turns_is_read_less_and_less_and_then_reversed(method):
    labels = coins(900)
    turn = np.linspace(0, np.pi, 5)
    config = QUICK.model_copy(update={"features": "scaled"})
    cells = transferred(activations(labels, np.full(5, 1.5), turn=turn), labels, method=method, config=config)
    area = matrix(cells, "transfer auroc")
    assert (np.diff(area[0]) < 0).all()
    assert area[0, 2] == pytest.approx(0.5, abs=0.07)
    # Noise of unit variance, means 3 apart along the axis: the textbook area at each angle.
    np.testing.assert_allclose(area[0], norm.cdf(3 * np.cos(turn) / np.sqrt(2)), atol=0.09)
    sign = matrix(cells, "transfer sign")
    assert (sign[0, 0], sign[0, 4]) == (1, -1)


def test_a_concept_that_is_not_there_yet_transfers_to_nothing():
    labels = coins(300)
    area = matrix(transferred(activations(labels, np.array([0.0, 0.0, 1.5, 1.5])), labels), "transfer auroc")
    assert area[2:, 2:].min() > 0.95
    np.testing.assert_allclose(area[:2], 0.5, atol=0.12)
    np.testing.assert_allclose(area[2:, :2], 0.5, atol=0.12)


def test_labels_that_mean_nothing_transfer_nowhere():
    labels = coins(300, seed=3)
    cells = transferred(activations(coins(300), np.full(4, 1.0)), labels)
    signs = matrix(cells, "transfer sign")
    # The same rows stand behind all sixteen pairs: what one is misled by, others are too.
    assert np.abs(signs).mean() <= 0.25


def test_a_shift_that_all_statements_share_is_taken_away_by_the_targets_own_statistics_alone():
    labels = coins(200)
    one = activations(labels, np.array([2.0]))[0]
    shifted = one + 40 * torch.eye(12)[0].float()
    config = QUICK.model_copy(update={"features": "scaled"})
    own, source = (
        matrix(transferred([one, shifted], labels, standardisation=how, config=config), "transfer accuracy")
        for how in ("own", "source")
    )
    assert own[0, 1] == pytest.approx(own[0, 0], abs=0.02)
    assert source[0, 1] == pytest.approx(0.5, abs=0.05)


def test_no_row_of_a_tested_group_reaches_the_probe_that_reads_it_at_another_checkpoint():
    labels = coins(120)
    values = activations(labels, np.array([0.8, 0.8]))
    statements = statements_of(labels, n_groups=20)
    design = design_of(statements)
    poisoned = np.where(design.pairs[0].test, 1 - labels, labels)
    other = replace(design, labels=poisoned)
    views = views_of(values)
    clean, dirty = (
        log_odds_of(fit_views(views, one, config=QUICK)["logistic"], views[1], one, standardisation="own", config=QUICK)
        for one in (design, other)
    )
    np.testing.assert_allclose(clean[0][design.pairs[0].test], dirty[0][design.pairs[0].test], atol=1e-9)
    assert np.abs(clean[0] - dirty[0]).max() > 0.1
