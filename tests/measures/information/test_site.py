"""One site from end to end: what it says of dependence that was planted, of noise, and of what cannot be measured."""

import math
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from scipy.stats import kstest

from tests.measures.examples import make_features, make_statements, store
from tests.measures.information import textbook
from trustrace.core.errors import AlignmentError, ConfigError, MeasurementError
from trustrace.core.measurements import ReplicatedMeasurement
from trustrace.measures.config import InformationConfig, ProbingConfig
from trustrace.measures.information import label_pairs
from trustrace.measures.information.course import bytes_needed, require_memory
from trustrace.measures.information.inputs import FixedInputs
from trustrace.measures.information.rows import information_rows
from trustrace.measures.information.site import site_information
from trustrace.measures.information.variables import Variable
from trustrace.measures.measure import measure

PROBING = ProbingConfig(folds=3, bootstrap_draws=100, control_draws=1, regularisers=(1e-1,))
CONFIG = InformationConfig(widths=(5.0, "median"), ridge=1e-3, permutations=99, bootstrap_draws=200)
INPUTS = ("I(T;X)", "I(T;X_embedding)", "I(T;X_tokens)")


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    x, labels = make_features(n=150, d=20, signal=6.0)
    noise, _ = make_features(n=150, d=20, seed=7)
    sites = {"embed": torch.full((150, 20), 0.5), "block_0": noise, "block_1": x}
    statements = make_statements(n=150, n_groups=50, labels=labels.tolist())
    inputs = FixedInputs(embedding=x + 0.3 * noise, tokens=[[row % 7, row % 5] for row in range(150)])
    return store(tmp_path_factory.mktemp("captured"), sites), statements, inputs


@pytest.fixture(scope="module")
def rows(example):
    activations, statements, inputs = example
    return measure(
        activations, statements, config=PROBING, information=CONFIG, inputs=inputs, protocol="rigorous", seed=0
    )


def one(rows, site, quantity, method="nhsic_5", role="measured"):
    (row,) = [r for r in rows if (r.site, r.quantity, r.method, r.role) == (site, quantity, method, role)]
    return row


def test_each_number_is_there_once(rows):
    keys = [(row.site, row.quantity, row.method, row.role) for row in rows]
    assert len(keys) == len(set(keys))
    for name in (*INPUTS, "I(T;Y)"):
        for method in ("nhsic_5", "nhsic_median"):
            for quantity in (name, f"{name} calibrated", f"{name} p-value"):
                assert one(rows, "block_1", quantity, method).n == 150
            assert (
                one(rows, "block_1", name, method, role="null").lower < one(rows, "block_1", name, method, "null").upper
            )
        assert one(rows, "block_1", name, role="control").value >= 0


def test_values_lie_inside_their_intervals_and_bounds(rows):
    for row in rows:
        if row.site == "block_1" and math.isfinite(row.lower) and row.role == "measured":
            assert row.lower <= row.value <= row.upper
        if row.method.startswith("nhsic") and row.quantity in (*INPUTS, "I(T;Y)") and row.site == "block_1":
            assert row.value >= 0
        if row.quantity.endswith("p-value") and math.isfinite(row.value):
            assert 0 <= row.value <= 1


def test_planted_dependence_is_found_and_noise_is_not(rows):
    assert one(rows, "block_1", "I(T;X_embedding) calibrated").lower > 0.3
    assert one(rows, "block_1", "I(T;X_embedding) p-value").value <= 1e-6
    assert one(rows, "block_1", "I(T;Y) calibrated").lower > 0
    assert one(rows, "block_1", "I(T;Y) p-value").value <= 0.02
    assert one(rows, "block_1", "I(T;X_tokens) p-value").value > 0.001
    assert one(rows, "block_0", "I(T;Y) p-value").value > 0.02
    assert abs(one(rows, "block_0", "I(T;Y) calibrated").value) < 0.1


def test_a_representation_keeps_all_of_itself(rows):
    own = one(rows, "block_0", "I(T;X) calibrated")
    assert own.value == pytest.approx(1)
    assert own.lower == pytest.approx(1, abs=1e-3)


def test_calibrated_values_are_what_their_parts_say(rows):
    """Value, null and ceiling stand in the table; for inputs the ceiling is that of T and X with themselves."""
    value, null, ceiling = (one(rows, "block_1", "I(T;Y)", role=role).value for role in ("measured", "null", "ceiling"))
    assert one(rows, "block_1", "I(T;Y) calibrated").value == pytest.approx((value - null) / (ceiling - null))
    assert one(rows, "block_1", "I(T;X)", "cka_debiased", role="null").value == pytest.approx(0, abs=0.05)
    biased, fair = (one(rows, "block_1", "I(T;X)", name, role="null") for name in ("hsic", "hsic_unbiased"))
    assert biased.upper - biased.lower == pytest.approx(fair.upper - fair.lower, rel=0.5)


def test_unbiased_label_values_are_the_textbooks(rows, example):
    activations, statements, _ = example
    x = activations.values("block_1").double().numpy()
    x = x / np.sqrt(np.square(x).mean(axis=1, keepdims=True))
    y = np.asarray(statements.labels)
    linear, delta = x @ x.T, (y[:, None] == y[None, :]).astype(float)
    size = (textbook.unbiased_hsic(linear, linear) * textbook.unbiased_hsic(delta, delta)) ** 0.5
    expected = textbook.unbiased_hsic(linear, delta) / size
    assert one(rows, "block_1", "I(T;Y)", "cka_debiased").value == pytest.approx(expected, rel=1e-8)
    size = (textbook.hsic(linear, linear) * textbook.hsic(delta, delta)) ** 0.5
    assert one(rows, "block_1", "I(T;Y)", "cka").value == pytest.approx(textbook.hsic(linear, delta) / size, rel=1e-8)


def test_the_label_has_its_exact_ceiling(rows, example):
    y = np.asarray(example[1].labels)
    eigenvalue = 2 * y.mean() * (1 - y.mean())
    assert one(rows, "block_1", "I(T;Y)", role="ceiling").value == pytest.approx(eigenvalue / (eigenvalue + 1e-3))


def test_a_constant_representation_is_undefined_and_never_a_silent_nought(rows):
    for name in (*INPUTS, "I(T;Y)"):
        row = one(rows, "embed", name)
        assert math.isnan(row.value)
        assert "does not differ" in row.note


def test_only_judged_numbers_carry_replicates_and_they_are_paired(rows):
    kept = [row for row in rows if isinstance(row, ReplicatedMeasurement)]
    assert {row.method for row in kept} == {"nhsic_5", "spectrum", "logistic"}
    assert {row.quantity for row in kept if row.method == "logistic"} == {"accuracy"}
    again = one(rows, "block_1", "I(T;Y)")
    assert again.replicates.std() > 0
    assert np.quantile(again.replicates, 0.025) == pytest.approx(again.lower)


def test_the_value_is_the_textbooks_on_the_features_that_probes_read(rows, example):
    activations, _, inputs = example

    def features(values):
        x = values.double().numpy()
        x = x / np.sqrt(np.square(x).mean(axis=1, keepdims=True))
        x = x - x.mean(axis=0)
        return x / np.sqrt(np.square(x).mean())

    t, x = features(activations.values("block_1")), features(inputs.embedding)
    kernels = [textbook.gaussian_kernel(one, variance=2 * 5.0**2 * 20) for one in (x, t)]
    expected = textbook.normalized_hsic(*kernels, ridge=1e-3)
    assert one(rows, "block_1", "I(T;X_embedding)").value == pytest.approx(expected, rel=1e-8)


def test_probes_are_not_touched_by_measuring_information(rows, example):
    activations, statements, _ = example
    alone = measure(activations, statements, config=PROBING, protocol="rigorous", seed=0)
    others = [row for row in rows if row in alone]
    assert len(others) >= len([row for row in alone if math.isfinite(row.value)]) - 5
    assert one(rows, "block_1", "accuracy", "logistic") == one(alone, "block_1", "accuracy", "logistic")


def test_zscored_and_raw_features_may_be_asked_for(example):
    activations, statements, inputs = example
    for features in ("zscore", "scaled"):
        config = CONFIG.model_copy(update={"features": features})
        found = measure(
            activations,
            statements,
            config=PROBING,
            information=config,
            inputs=inputs,
            protocol="rigorous",
            seed=0,
            sites=("block_1",),
        )
        assert one(found, "block_1", "I(T;Y) calibrated").lower > 0


def test_many_statements_are_drawn_in_whole_groups_and_the_same_ones_every_time():
    statements = make_statements(n=300, n_groups=60)
    drawn = [
        information_rows(statements, config=CONFIG.model_copy(update={"max_statements": 100}), seed=seed, device="cpu")
        for seed in (0, 0, 1)
    ]
    assert 90 <= len(drawn[0]) <= 100
    kept = np.asarray(statements.groups)[drawn[0].taken]
    assert all((np.asarray(statements.groups) == name).sum() == (kept == name).sum() for name in set(kept))
    assert (drawn[0].taken == drawn[1].taken).all()
    assert (drawn[0].taken != drawn[2].taken).any()


def test_intervals_cover_the_mean_over_fresh_samples():
    """Of 60 intervals from independent samples about 95 % must hold the average value."""
    config = InformationConfig(widths=(3.0,), ridge=1e-2, permutations=20, bootstrap_draws=200, components=None)
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(120, 4))
        t = x @ np.random.default_rng(0).normal(size=(4, 6)) + rng.normal(size=(120, 6))
        labels = (x[:, 0] + 0.5 * rng.normal(size=120) > 0).astype(int)
        statements = make_statements(n=120, n_groups=120, labels=labels.tolist())
        rows = information_rows(statements, config=config, seed=seed, device="cpu")
        gram = [torch.from_numpy((v - v.mean(0)) @ (v - v.mean(0)).T) for v in (x, t)]
        estimates = site_information(gram[1], {"I(T;X)": Variable.of_features(gram[0])}, rows, config=config)
        found.append({(e.quantity, e.method): e for e in estimates if e.role == "measured"})
    for quantity in ("I(T;X)", "I(T;X) calibrated", "I(T;Y)", "I(T;Y) calibrated"):
        own = [one[(quantity, "nhsic_3")] for one in found]
        target = np.mean([e.value for e in own])
        covered = np.mean([e.lower <= target <= e.upper for e in own])
        assert covered >= 0.85, (quantity, covered)
        error = np.mean([(e.upper - e.lower) / 3.92 for e in own])
        # The width follows the features' spread, which leaving a statement out holds: the plain value's error is told too large.
        most = 3.0 if quantity == "I(T;X)" else 1.35
        assert 0.75 < error / np.std([e.value for e in own]) < most, quantity


def test_p_values_of_labels_that_mean_nothing_are_uniform():
    config = InformationConfig(widths=(3.0,), ridge=1e-2, permutations=99, bootstrap_draws=100, components=None)
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        t = np.repeat(rng.normal(size=(20, 3)), 2, axis=0) + 0.5 * rng.normal(size=(40, 3))
        statements = make_statements(n=40, n_groups=20, labels=rng.permutation([0, 1] * 20).tolist())
        statements = statements.take(sorted(range(40), key=lambda row: statements.groups[row]))
        rows = information_rows(statements, config=config, seed=seed, device="cpu")
        smoothed = Variable.of_features(torch.from_numpy(t @ t.T)).smoother(3.0, ridge=1e-2)
        estimates = label_pairs.smoother_rows(smoothed, rows, ridge=1e-2, method="m")
        (p_value,) = [e.value for e in estimates if e.quantity.endswith("p-value")]
        # A p-value among 100 possible ones is spread over its step.
        found.append(p_value - rng.random() / 100)
    assert kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("n", [4, 9])
def test_too_few_statements_are_refused(n):
    with pytest.raises(MeasurementError, match="at least 10"):
        information_rows(make_statements(n=n, n_groups=n), config=CONFIG, seed=0, device="cpu")


def test_groups_too_large_to_be_taken_and_one_label_among_the_taken_are_refused():
    small = CONFIG.model_copy(update={"max_statements": 10})
    with pytest.raises(MeasurementError, match=r"0 of 60 statements.*max_statements"):
        information_rows(make_statements(n=60, n_groups=3), config=small, seed=0, device="cpu")
    labels = [1, *[0] * 99]
    with pytest.raises(MeasurementError, match="share the label 0"):
        information_rows(make_statements(n=100, n_groups=100, labels=labels), config=small, seed=0, device="cpu")


def test_sampling_errors_told_by_some_are_those_told_by_all():
    """On rows of which ten share each group, as on rows that stand alone."""
    for n_groups in (60, 600):
        statements = make_statements(n=600, n_groups=n_groups)
        rows = information_rows(statements, config=CONFIG, seed=0, device="cpu")
        shared = np.random.default_rng(1).normal(size=n_groups)[rows.groups]
        influence = torch.from_numpy(shared + 0.3 * np.random.default_rng(2).normal(size=600))
        influence -= influence.mean()
        assert 200 < len(rows.few) <= 256
        some = influence[torch.from_numpy(rows.few)]
        whole = rows.estimate("q", 1.0, influence, method="m")
        told = rows.estimate("q", 1.0, some - some.mean(), method="m")
        assert told.upper - told.lower == pytest.approx(whole.upper - whole.lower, rel=0.35)


def test_more_statements_than_memory_say_how_much_is_needed(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Free", (), {"available": 10_000_000})())
    needed = bytes_needed(2000, config=CONFIG)
    with pytest.raises(MeasurementError, match=rf"{needed / 1e9:.1f} GB.*max_statements"):
        require_memory(needed, n=2000, device=torch.device("cpu"))


def test_inputs_of_other_rows_are_refused(example):
    activations, statements, _ = example
    with pytest.raises(AlignmentError, match="149 embeddings"):
        measure(
            activations,
            statements,
            config=PROBING,
            information=CONFIG,
            inputs=FixedInputs(embedding=torch.zeros(149, 3), tokens=[[1]] * 150),
            protocol="rigorous",
            seed=0,
        )


@pytest.mark.parametrize("widths", [(0.0,), (-1.0,), (50.0, 50.0), ()])
def test_a_width_of_nought_or_a_repeated_one_is_refused(widths):
    with pytest.raises((ConfigError, ValueError)):
        InformationConfig(widths=widths)


@pytest.mark.parametrize("n_different", [1, 2, 5])
def test_where_few_statements_differ_what_is_undefined_says_so(tmp_path, n_different):
    x, labels = make_features(n=80, d=6, signal=4.0)
    x[n_different:] = x[-1]
    block, _ = make_features(n=80, d=6, seed=4)
    activations = store(tmp_path, {"embed": x, "block_0": block})
    statements = make_statements(n=80, n_groups=80, labels=labels.tolist())
    rows = measure(activations, statements, config=PROBING, information=CONFIG, protocol="rigorous", seed=0)
    for row in rows:
        assert isinstance(row.value, float)
        assert math.isfinite(row.value) or row.note, (row.quantity, row.method)
    assert math.isfinite(one(rows, "embed", "I(T;Y)").value)
    assert math.isnan(one(rows, "embed", "I(T;Y)", "cka_debiased").value) == (n_different == 1)


def test_duplicated_rows_are_measured(tmp_path):
    x, labels = make_features(n=30, d=6, signal=4.0)
    activations = store(tmp_path, {"block_0": x.repeat(2, 1)})
    statements = make_statements(n=60, n_groups=30, labels=[*labels.tolist(), *labels.tolist()])
    rows = measure(activations, statements, config=PROBING, information=CONFIG, protocol="rigorous", seed=0)
    assert math.isfinite(one(rows, "block_0", "I(T;Y) calibrated").value)
    assert math.isfinite(one(rows, "block_0", "I(T;Y)", "ksg").value)


def test_a_constant_input_is_undefined_and_says_so(tmp_path):
    x, labels = make_features(n=60, d=6, signal=4.0)
    activations = store(tmp_path, {"block_0": torch.full((60, 6), 2.0), "block_1": x})
    statements = make_statements(n=60, n_groups=30, labels=labels.tolist())
    rows = measure(activations, statements, config=PROBING, information=CONFIG, protocol="rigorous", seed=0)
    row = one(rows, "block_1", "I(T;X)")
    assert math.isnan(row.value)
    assert "input does not differ" in row.note
    assert math.isfinite(one(rows, "block_1", "I(T;Y)").value)


def test_labels_that_groups_of_different_size_pin_down_have_no_null(tmp_path):
    sizes = range(1, 12)
    groups = [str(size) for size in sizes for _ in range(size)]
    labels = [size % 2 for size in sizes for _ in range(size)]
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(66, 4)).astype(np.float32))
    x[:, 0] += torch.tensor(labels) * 5
    statements = make_statements(n=66, n_groups=66, labels=labels)
    statements = replace(statements, groups=tuple(groups))
    rows = measure(
        store(tmp_path, {"block_0": x}), statements, config=PROBING, information=CONFIG, protocol="rigorous", seed=0
    )
    for quantity in ("I(T;Y) calibrated", "I(T;Y) p-value"):
        assert math.isnan(one(rows, "block_0", quantity).value)
        assert "different sizes" in one(rows, "block_0", quantity).note
    assert one(rows, "block_0", "I(T;Y)").value > 0


def test_an_undefined_estimate_has_no_p_value(tmp_path):
    x, _ = make_features(n=60, d=6)
    labels = [1, 1, 1, *[0] * 57]
    order = np.random.default_rng(0).permutation(60)
    statements = make_statements(n=60, n_groups=60, labels=[labels[row] for row in order])
    found = information_rows(statements, config=CONFIG, seed=0, device="cpu")
    gram = x.double() - x.double().mean(0)
    rows = site_information(gram @ gram.T, {}, found, config=CONFIG)
    named = {(row.quantity, row.role): row.value for row in rows if row.method == "ksg"}
    assert math.isnan(named[("I(T;Y)", "measured")])
    assert math.isnan(named[("I(T;Y) p-value", "measured")])


def test_no_interval_leaves_the_bounds_of_its_measure(rows):
    for row in rows:
        if row.quantity.endswith("calibrated") or row.method.startswith("cka"):
            assert not (row.upper > 1)
        if row.method == "cka_debiased" or (row.quantity.startswith("I(T;X") and row.quantity.endswith("calibrated")):
            assert not (row.lower < -1)
        if row.method == "cka" and row.quantity.startswith("I(T;") and not row.quantity.endswith("p-value"):
            assert not (row.lower < 0)
