import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.measures.examples import make_features, make_statements, store
from trustrace.core.errors import AlignmentError, ConfigError, MeasurementError
from trustrace.measures.config import ProbingConfig
from trustrace.measures.measure import measure

CONFIG = ProbingConfig(bootstrap_draws=200, control_draws=2, regularisers=(1e-3, 1e-1, 1e1))

SCORES = ("accuracy", "auroc", "log_loss", "ece", "information_bound")


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    x, labels = make_features(n=200, d=24, signal=5.0)
    noise, _ = make_features(n=200, d=24, seed=9)
    folder = tmp_path_factory.mktemp("captured")
    activations = store(folder, {"embed": torch.full((200, 24), 0.5), "block_0": noise, "block_1": x})
    return activations, make_statements(n=200, n_groups=50, labels=labels.tolist())


@pytest.fixture(scope="module")
def rows(example):
    return measure(*example, config=CONFIG, protocol="rigorous", seed=0)


def value(rows, site, quantity, method="logistic", role="measured"):
    (row,) = [row for row in rows if (row.site, row.quantity, row.method, row.role) == (site, quantity, method, role)]
    return row


def test_every_site_has_every_quantity_once(rows):
    expected = {(quantity, method) for quantity in SCORES for method in ("logistic", "mass_mean", "whitened_mean")}
    expected |= {
        (name, "logistic") for name in ("selection_log_loss", "selectivity", "mdl", "compression", "v_information")
    }
    for site in ("embed", "block_0", "block_1"):
        names = [(row.quantity, row.method) for row in rows if row.site == site and row.role == "measured"]
        assert len(names) == len(set(names))
        assert set(names) == expected
        assert [row.quantity for row in rows if row.site == site and row.role == "control"] == ["accuracy"]


def test_derived_quantities_are_those_of_their_parts(rows):
    for site in ("block_0", "block_1"):
        accuracy, control = value(rows, site, "accuracy"), value(rows, site, "accuracy", role="control")
        assert value(rows, site, "selectivity").value == pytest.approx(accuracy.value - control.value)
        assert value(rows, site, "compression").value == pytest.approx(1 / value(rows, site, "mdl").value)


def test_usable_information_is_what_a_guess_by_the_label_rate_lacks(example, rows):
    """With even folds it is the information bound up to what the rate of the training rows is off that of the test rows."""
    _, statements = example
    y = np.asarray(statements.labels)
    row, loss = value(rows, "block_1", "v_information"), value(rows, "block_1", "log_loss").value
    entropy = -(y.mean() * math.log(y.mean()) + (1 - y.mean()) * math.log(1 - y.mean()))
    assert row.value == pytest.approx(entropy - loss, abs=0.01)
    assert row.value > entropy - loss
    assert row.lower > 0
    # The probe of activations that do not differ knows the rate alone, as the guess does.
    assert value(rows, "embed", "v_information").value == pytest.approx(0, abs=1e-3)


def test_the_site_that_holds_the_concept_stands_out_and_noise_does_not(rows):
    assert value(rows, "block_1", "accuracy").lower > 0.75
    noise = value(rows, "block_0", "auroc")
    assert noise.lower < 0.5 < noise.upper
    assert value(rows, "block_1", "selection_log_loss").value < value(rows, "block_0", "selection_log_loss").value
    assert value(rows, "block_1", "selectivity").lower > 0.15
    assert value(rows, "block_1", "mdl").value < 0.9 < value(rows, "block_0", "mdl").value
    assert value(rows, "block_1", "information_bound").lower > 0


def test_activations_that_do_not_differ_are_scored_as_the_label_rate_and_say_so(rows):
    row = value(rows, "embed", "auroc")
    assert abs(row.value - 0.5) < 0.15
    assert "do not differ" in row.note
    assert abs(value(rows, "embed", "information_bound").value) < 0.05


def test_every_number_knows_where_it_was_taken(rows, example):
    for row in rows:
        assert (row.dataset, row.protocol, row.seed) == ("example", "rigorous", 0)
        assert row.checkpoint == example[0].checkpoint.key
        assert row.n == 200
        assert row.n_groups == 50
        assert math.isnan(row.lower) or row.lower <= row.value <= row.upper or row.quantity == "ece"


def test_the_same_measurement_twice_has_the_same_bits(rows, example):
    again = measure(*example, config=CONFIG, protocol="rigorous", seed=0)
    assert [repr(row) for row in again] == [repr(row) for row in rows]


def test_a_site_measured_alone_has_the_numbers_it_has_among_others(rows, example):
    alone = measure(*example, config=CONFIG, protocol="rigorous", seed=0, sites=["block_1"])
    assert [repr(row) for row in alone] == [repr(row) for row in rows if row.site == "block_1"]


def test_a_held_out_split_scores_its_test_rows_and_sends_its_development_rows(example):
    statements = make_statements(n=200, n_groups=50, labels=example[1].labels, scheme="held_out")
    got = measure(example[0], statements, config=CONFIG, protocol="rigorous", seed=0, sites=["block_1"])
    assert {row.n for row in got if row.quantity in (*SCORES, "selectivity")} == {100}
    assert value(got, "block_1", "mdl").n == 100
    assert value(got, "block_1", "accuracy").value > 0.7


def test_zscored_features_are_measured_too(example):
    config = CONFIG.model_copy(update={"features": "zscore"})
    got = measure(*example, config=config, protocol="rigorous", seed=0, sites=["block_1"])
    assert value(got, "block_1", "accuracy").lower > 0.7
    assert value(got, "block_1", "mdl").value < 0.95


def test_the_published_protocol_is_scikit_learn_on_the_same_rows(example):
    activations, statements = example
    (row,) = measure(activations, statements, config=CONFIG, protocol="published", seed=0, sites=["block_1"])
    x, labels = activations.values("block_1"), np.array(statements.labels)
    scaled = ((x - x.mean(0)) / x.std(0)).numpy()
    assert row.value == LogisticRegression().fit(scaled[:160], labels[:160]).score(scaled[160:], labels[160:])
    assert (row.protocol, row.quantity, row.n) == ("published", "accuracy", 40)


def test_rows_that_do_not_belong_together_are_an_alignment_error(example):
    with pytest.raises(AlignmentError, match="150 statements but 200 activations"):
        measure(example[0], make_statements(n=150, n_groups=50), config=CONFIG, protocol="rigorous", seed=0)


def test_an_unknown_site_is_an_error_that_lists_the_known_ones(example):
    with pytest.raises(MeasurementError, match=r"\['block_7'\] were not captured.*embed, block_0, block_1"):
        measure(*example, config=CONFIG, protocol="rigorous", seed=0, sites=["block_7"])


@pytest.mark.parametrize("protocol", ["rigorous", "published"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_an_error_that_names_site_and_row(tmp_path, protocol, bad):
    x, labels = make_features(n=60, d=5)
    x[4, 2] = bad
    activations = store(tmp_path, {"block_0": x})
    statements = make_statements(n=60, n_groups=20, labels=labels.tolist())
    with pytest.raises(MeasurementError, match=r"block_0.*row 4"):
        measure(activations, statements, config=CONFIG, protocol=protocol, seed=0)


@pytest.mark.parametrize("protocol", ["rigorous", "published"])
def test_labels_of_one_kind_are_an_error(example, protocol):
    statements = make_statements(n=200, n_groups=50, labels=[1] * 200)
    with pytest.raises(MeasurementError, match="all 200 labels are 1"):
        measure(example[0], statements, config=CONFIG, protocol=protocol, seed=0)


def test_a_single_group_and_three_rows_are_errors(example, tmp_path):
    with pytest.raises(MeasurementError, match="1 groups cannot fill 5 folds"):
        measure(example[0], make_statements(n=200, n_groups=1), config=CONFIG, protocol="rigorous", seed=0)
    three = store(tmp_path, {"block_0": torch.randn(3, 4)})
    with pytest.raises(MeasurementError, match="3 groups cannot fill 5 folds"):
        measure(three, make_statements(n=3, n_groups=3, labels=[0, 1, 0]), config=CONFIG, protocol="rigorous", seed=0)


def test_a_tiny_dataset_gives_numbers_with_wide_intervals(tmp_path):
    x, labels = make_features(n=24, d=6, signal=3.0)
    labels[:12], labels[12:] = 0, 1
    statements = make_statements(n=24, n_groups=24, labels=labels.tolist())
    got = measure(store(tmp_path, {"block_0": x}), statements, config=CONFIG, protocol="rigorous", seed=0)
    assert value(got, "block_0", "accuracy").upper - value(got, "block_0", "accuracy").lower > 0.2


def test_an_unordered_grid_is_refused():
    with pytest.raises(ConfigError, match="must ascend without repeats"):
        ProbingConfig.read({"regularisers": [1.0, 0.1]}, where="study.yaml")
