"""How well a direction tells held-out statements apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tests.steering.examples import make_statements, make_values, make_vector, store
from trustrace.core.errors import MeasurementError
from trustrace.core.statements import Statements
from trustrace.steering.separation import separation


def held_out(statements: Statements) -> np.ndarray:
    return np.array([split == "test" for split in statements.splits])


@pytest.mark.parametrize("desired", [0, 1])
def test_it_is_scikit_learn_s_area_over_the_test_rows(tmp_path: Path, desired: int) -> None:
    statements = make_statements(desired=desired)  # type: ignore[arg-type]
    values, truth = make_values(statements)
    direction = truth if desired else -truth
    found = separation(make_vector(direction), store(tmp_path, block_1=values), statements, seed=0)
    rows = held_out(statements)
    labels = (np.asarray(statements.labels) == desired)[rows]
    expected = roc_auc_score(labels, (values.double() @ direction.double()).numpy()[rows])
    assert found.value == pytest.approx(expected)
    assert found.lower < found.value < found.upper
    assert found.value > 0.6
    assert (found.n, found.n_groups) == (
        rows.sum(),
        len({g for g, r in zip(statements.groups, rows, strict=True) if r}),
    )


def test_rows_that_the_direction_was_made_from_are_not_looked_at(tmp_path: Path) -> None:
    statements = make_statements()
    values, truth = make_values(statements)
    changed = values.clone()
    changed[torch.from_numpy(~held_out(statements))] = 1e6 * torch.randn(values.shape[1])
    (tmp_path / "other").mkdir()
    one = separation(make_vector(truth), store(tmp_path, block_1=values), statements, seed=0)
    other = separation(make_vector(truth), store(tmp_path / "other", block_1=changed), statements, seed=0)
    assert one == other


def test_the_other_way_is_one_minus_and_a_random_direction_is_about_a_half(tmp_path: Path) -> None:
    statements = make_statements(n=600)
    values, truth = make_values(statements, signal=2.0)
    activations = store(tmp_path, block_1=values)
    there = separation(make_vector(truth), activations, statements, seed=0)
    back = separation(make_vector(-truth), activations, statements, seed=0)
    assert there.value + back.value == pytest.approx(1.0)
    across = torch.linalg.qr(torch.stack([truth, torch.ones(len(truth))], dim=1))[0][:, 1]
    nothing = separation(make_vector(across, kind="random"), activations, statements, seed=0)
    assert nothing.lower < 0.5 < nothing.upper
    assert (there.role, nothing.role) == ("measured", "control")
    assert (there.method, nothing.method) == ("mass_mean", "random")


def test_without_test_rows_nothing_is_said(tmp_path: Path) -> None:
    statements = make_statements()
    values, truth = make_values(statements)
    development = replace(statements, splits=("train",) * len(statements))
    with pytest.raises(MeasurementError, match="no test rows"):
        separation(make_vector(truth), store(tmp_path, block_1=values), development, seed=0)
