import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from tests.measures.over_training.planted import QUICK, activations, coins, design_of, statements_of, views_of
from trustrace.measures.over_training.fragility import margins_and_spreads, noise_tolerance, tolerance_estimate
from trustrace.measures.over_training.linear import fit
from trustrace.measures.scoring import Sample
from trustrace.measures.spaces import readings

LABELS = coins(200)


def fitted(values, *, features="unit_rms", method="logistic"):
    config = QUICK.model_copy(update={"features": features})
    (view,) = views_of([values])
    design = design_of(statements_of(LABELS, n_groups=50), config=config)
    return view, fit(view, design, config=config)[method], design, config


def sample_of(labels):
    return Sample.of(labels, tuple(str(row) for row in range(len(labels))), draws=200, seed=0)


@pytest.mark.parametrize("features", ["unit_rms", "zscore"])
@pytest.mark.parametrize("method", ["logistic", "mass_mean"])
def test_drawn_noise_brings_accuracy_to_what_the_formula_says(features, method):
    values = activations(LABELS, np.array([1.0]))[0]
    view, probes, design, config = fitted(values, features=features, method=method)
    got = noise_tolerance(view, probes, design, config=config, method=method)
    read = readings(values, features=features).numpy()
    rng = np.random.default_rng(0)
    hits, clean = [], []
    for fold, pair in enumerate(design.pairs):
        means = np.stack([read[pair.train & (side == LABELS)].mean(axis=0) for side in (0, 1)])
        within = np.sqrt(((read[pair.train] - means[LABELS[pair.train]]) ** 2).mean(axis=0))
        standard = probes.standard

        def predicted(x, fold=fold, standard=standard):
            z = (x - standard.shift[fold].numpy()) / standard.scale[fold].numpy()
            return z @ probes.weights[fold].numpy() + probes.intercepts[fold].item() > 0

        clean.append(predicted(read[pair.test]) == LABELS[pair.test])
        for _ in range(200):
            noise = got.value * within * rng.normal(size=read[pair.test].shape)
            hits.append(predicted(read[pair.test] + noise) == LABELS[pair.test])
    assert np.concatenate(hits).mean() == pytest.approx((np.concatenate(clean).mean() + 0.5) / 2, abs=0.01)
    assert got.lower < got.value < got.upper


def test_interpolation_finds_the_root_of_the_textbook_formula():
    rng = np.random.default_rng(1)
    labels = coins(80)
    log_odds = (2 * labels - 1) * 1.2 + rng.normal(size=80)
    spread = rng.uniform(0.3, 0.9, size=80)
    clean = np.mean((log_odds > 0) == labels)

    def gap(log_noise):
        return norm.cdf((2 * labels - 1) * log_odds / spread / np.exp(log_noise)).mean() - (clean + 0.5) / 2

    expected = np.exp(brentq(gap, np.log(0.1), np.log(100)))
    assert tolerance_estimate(log_odds, spread, sample_of(labels), method="x").value == pytest.approx(
        expected, rel=1e-3
    )


def test_a_concept_that_goes_on_growing_stands_more_noise_after_accuracy_is_perfect():
    values = activations(LABELS, np.array([4.0, 8.0, 16.0]))
    tolerances, accuracies = [], []
    for one in values:
        view, probes, design, config = fitted(one, features="scaled")
        tolerances.append(noise_tolerance(view, probes, design, config=config, method="logistic").value)
        log_odds, _ = margins_and_spreads(view, probes, design, config=config)
        accuracies.append(np.mean((log_odds > 0) == LABELS))
    assert min(accuracies) > 0.99
    assert tolerances[1] > 1.5 * tolerances[0]
    assert tolerances[2] > 1.5 * tolerances[1]


def test_a_growing_norm_changes_nothing():
    values = activations(LABELS, np.array([1.0]))[0]
    one, other = (
        noise_tolerance(*fitted(x, features="scaled")[:3], config=fitted(x, features="scaled")[3], method="logistic")
        for x in (values, 50 * values)
    )
    assert one.value == pytest.approx(other.value, rel=1e-3)


def test_a_probe_at_chance_has_no_tolerance_and_says_so():
    labels = coins(40)
    got = tolerance_estimate(np.where(labels == 1, -1.0, 1.0), np.ones(40), sample_of(labels), method="x")
    assert np.isnan(got.value)
    assert "not above 1/2" in got.note


def test_a_probe_that_reads_nothing_is_not_moved_by_noise():
    labels = np.arange(40) % 4 // 3
    view, probes, design, config = fitted(torch.ones(200, 5))
    log_odds, spread = margins_and_spreads(view, probes, design, config=config)
    assert np.isfinite(log_odds).all()
    assert (spread == 0).all()
    got = tolerance_estimate(np.full(40, -1.0), np.zeros(40), sample_of(labels), method="x")
    assert "any noise" in got.note
