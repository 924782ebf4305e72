from dataclasses import fields

import numpy as np

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Estimate, Measurement, ReplicatedMeasurement


def test_a_measurement_carries_its_estimate_and_where_it_was_taken() -> None:
    estimate = Estimate(quantity="accuracy", method="logistic", value=0.7, lower=0.6, upper=0.8, n=100, n_groups=20)
    checkpoint = Checkpoint(family="pretrain", model="demo", revision="step_0000010", step=10, tokens_seen=40960)
    row = Measurement.of(
        estimate,
        dataset="reliability/world",
        protocol="rigorous",
        seed=0,
        checkpoint=checkpoint,
        site="block_1",
        position="last",
    )
    columns = [field.name for field in fields(Estimate) if field.name != "replicates"]
    assert all(getattr(row, name) == getattr(estimate, name) for name in columns)
    assert not hasattr(row, "replicates")
    assert (row.checkpoint, row.step, row.tokens_seen, row.site) == ("demo@step_0000010", 10, 40960, "block_1")


def test_a_number_that_needs_no_model_names_none() -> None:
    estimate = Estimate(quantity="accuracy", method="majority", value=0.5, n=100, n_groups=20, role="floor")
    row = Measurement.of(estimate, dataset="reliability/world", protocol="rigorous", seed=0)
    assert (row.checkpoint, row.site, row.tokens_seen) == ("", "", None)


def test_replicates_travel_with_the_row_but_are_no_column_of_the_table() -> None:
    draws = np.array([0.6, 0.8])
    estimate = Estimate(quantity="nhsic", method="input", value=0.7, n=100, n_groups=20, replicates=draws)
    row = Measurement.of(estimate, dataset="reliability/world", protocol="rigorous", seed=0)
    assert isinstance(row, ReplicatedMeasurement)
    assert row.replicates is draws
    assert "replicates" not in {field.name for field in fields(Measurement)}
