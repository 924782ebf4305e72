from dataclasses import fields

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Estimate, Measurement


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
    assert all(getattr(row, field.name) == getattr(estimate, field.name) for field in fields(Estimate))
    assert (row.checkpoint, row.step, row.tokens_seen, row.site) == ("demo@step_0000010", 10, 40960, "block_1")


def test_a_number_that_needs_no_model_names_none() -> None:
    estimate = Estimate(quantity="accuracy", method="majority", value=0.5, n=100, n_groups=20, role="floor")
    row = Measurement.of(estimate, dataset="reliability/world", protocol="rigorous", seed=0)
    assert (row.checkpoint, row.site, row.tokens_seen) == ("", "", None)
