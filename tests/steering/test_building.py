from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from tests.steering.examples import make_statements, make_values, store
from trustrace.activations.store import Activations
from trustrace.core.errors import AlignmentError, MeasurementError
from trustrace.core.statements import Statements
from trustrace.steering.building import build
from trustrace.steering.contrast import development, reliability, resampled
from trustrace.steering.directions import LinearFits, contrastive_pc
from trustrace.steering.vectors import KINDS, Kind

Rows = tuple[np.ndarray, np.ndarray]


def rows_of(statements: Statements, values: torch.Tensor, *, test: bool = False) -> Rows:
    """Activations in double precision, and whether each is desired: of the development half, or of everything."""
    kept = np.asarray([test or split != "test" for split in statements.splits])
    desired = np.asarray(statements.labels) == statements.meaning.desired
    return values.double().numpy()[kept], desired[kept]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def cosine(one: torch.Tensor, other: np.ndarray | torch.Tensor) -> float:
    return float(one.double().numpy() @ unit(np.asarray(other, dtype=np.float64)))


@pytest.mark.parametrize("desired", [0, 1])
def test_the_mass_mean_points_from_the_other_to_the_desired_side(tmp_path: Path, desired: int) -> None:
    statements = make_statements(desired=desired)  # type: ignore[arg-type]
    values, _ = make_values(statements)
    [vector] = build(store(tmp_path, block_2=values), statements, site="block_2")
    x, y = rows_of(statements, values)
    difference = x[y].mean(0) - x[~y].mean(0)
    np.testing.assert_allclose(vector.direction.numpy(), unit(difference), atol=1e-6)
    projections = x @ unit(difference)
    assert vector.scales.distance == pytest.approx(np.linalg.norm(difference), rel=1e-6)
    assert vector.scales.projection_std == pytest.approx(np.std(projections, ddof=1), rel=1e-6)
    pooled = np.sqrt((np.var(projections[y], ddof=1) + np.var(projections[~y], ddof=1)) / 2)
    assert vector.scales.within_std == pytest.approx(pooled, rel=1e-6)
    assert vector.scales.residual_norm == pytest.approx(np.median(np.linalg.norm(x, axis=1)), rel=1e-6)
    assert (vector.n, vector.n_groups) == (160, 80)
    assert vector.fingerprint == statements.fingerprint


@pytest.mark.parametrize("desired", [0, 1])
def test_the_published_vector_is_that_of_the_scripts_but_for_the_rows_of_its_means(
    tmp_path: Path, desired: int
) -> None:
    statements = make_statements(desired=desired)  # type: ignore[arg-type]
    values, _ = make_values(statements)
    [vector] = build(store(tmp_path, block_2=values), statements, site="block_2", kinds=["published"])
    x, y = rows_of(statements, values)
    ones = y == (desired == 1)
    direction = torch.from_numpy(x[ones].mean(0) - x[~ones].mean(0))
    direction = direction / direction.norm()
    deviation = torch.std(values.double() @ direction)
    torch.testing.assert_close(vector.scaled("projection_std"), (deviation * direction).float(), rtol=1e-5, atol=1e-6)


def test_rows_of_the_test_half_change_no_vector(tmp_path: Path) -> None:
    statements = make_statements()
    values, _ = make_values(statements)
    spoiled = values.clone()
    spoiled[[row for row, split in enumerate(statements.splits) if split == "test"]] = 1e3
    kinds = [kind for kind in KINDS if kind != "published"]
    (tmp_path / "spoiled").mkdir()
    plain = build(store(tmp_path, block_0=values), statements, site="block_0", kinds=kinds)
    again = build(store(tmp_path / "spoiled", block_0=spoiled), statements, site="block_0", kinds=kinds)
    for one, other in zip(plain, again, strict=True):
        assert torch.equal(one.direction, other.direction)
        assert one.scales == other.scales


@pytest.mark.parametrize("d_model", [24, 200], ids=["tall", "wide"])
def test_the_probe_normal_is_that_of_scikit_learn(tmp_path: Path, d_model: int) -> None:
    statements = make_statements()
    values, _ = make_values(statements, d_model=d_model)
    activations = store(tmp_path, block_2=values)
    [vector] = build(activations, statements, site="block_2", kinds=["probe_normal"])
    x, y = rows_of(statements, values)
    chosen = _fits(activations, statements).regulariser / x.var(axis=0).mean()
    expected = LogisticRegression(C=chosen, tol=1e-10, max_iter=20_000).fit(x, y).coef_[0]
    np.testing.assert_allclose(vector.direction.numpy(), unit(expected), atol=2e-4)


@pytest.mark.parametrize("d_model", [24, 200], ids=["tall", "wide"])
def test_the_whitened_mean_is_ridge_regression_and_the_textbook_form(tmp_path: Path, d_model: int) -> None:
    statements = make_statements()
    values, _ = make_values(statements, d_model=d_model)
    activations = store(tmp_path, block_2=values)
    [vector] = build(activations, statements, site="block_2", kinds=["whitened_mean"])
    x, y = rows_of(statements, values)
    penalty = 4 * x.var(axis=0).mean() / _fits(activations, statements).regulariser
    np.testing.assert_allclose(vector.direction.numpy(), unit(Ridge(alpha=penalty).fit(x, y).coef_), atol=1e-4)
    within = sum(np.cov(x[side], rowvar=False, ddof=0) * side.mean() for side in (y, ~y))
    difference = x[y].mean(0) - x[~y].mean(0)
    textbook = np.linalg.solve(within + penalty / len(x) * np.eye(d_model), difference)
    np.testing.assert_allclose(vector.direction.numpy(), unit(textbook), atol=1e-4)


def _fits(activations: Activations, statements: Statements) -> LinearFits:
    from trustrace.measures.config import ProbingConfig

    contrast = development(activations, statements, site="block_2")
    return LinearFits(contrast=contrast, config=ProbingConfig(), seed=0)


@pytest.mark.parametrize("d_model", [24, 200], ids=["tall", "wide"])
@pytest.mark.parametrize("desired", [0, 1])
def test_the_contrastive_axis_is_the_leading_one_of_differences_inside_groups(
    tmp_path: Path, d_model: int, desired: int
) -> None:
    statements = make_statements(desired=desired)  # type: ignore[arg-type]
    values, _ = make_values(statements, d_model=d_model, signal=6.0)
    [vector] = build(store(tmp_path, block_2=values), statements, site="block_2", kinds=["contrastive_pc"])
    x, y = rows_of(statements, values)
    # Rows of a pair stand beside each other, one of each side.
    axis = np.linalg.svd(x[y] - x[~y], full_matrices=False)[2][0]
    axis *= np.sign(axis @ (x[y].mean(0) - x[~y].mean(0)))
    np.testing.assert_allclose(vector.direction.numpy(), axis, atol=1e-5)


def test_rows_of_groups_with_one_side_are_paired_at_random(tmp_path: Path) -> None:
    statements = make_statements(paired=False)
    values, truth = make_values(statements, signal=8.0)
    contrast = development(store(tmp_path, block_2=values), statements, site="block_2")
    assert cosine(contrastive_pc(contrast, seed=0), truth) > 0.9
    assert not torch.allclose(contrastive_pc(contrast, seed=0), contrastive_pc(contrast, seed=1))


@pytest.mark.parametrize("kind", ["mass_mean", "whitened_mean", "probe_normal", "contrastive_pc"])
def test_a_strong_direction_is_found_and_shuffled_labels_do_not_find_it(tmp_path: Path, kind: Kind) -> None:
    statements = make_statements(600)
    values, truth = make_values(statements, signal=6.0)
    activations = store(tmp_path, block_2=values)
    found, shuffled = build(activations, statements, site="block_2", kinds=[kind, "shuffled_label"])
    # Whitening turns the direction away from loud axes, so it agrees less with the raw one.
    assert cosine(found.direction, truth) > (0.9 if kind in ("mass_mean", "contrastive_pc") else 0.5)
    assert shuffled.scales.distance < found.scales.distance / 3


def test_shuffled_labels_agree_with_nothing_and_a_clear_direction_with_itself(tmp_path: Path) -> None:
    statements = make_statements(600)
    values, _ = make_values(statements, signal=4.0)
    found, shuffled, random = build(
        store(tmp_path, block_2=values), statements, site="block_2", kinds=["mass_mean", "shuffled_label", "random"]
    )
    assert found.reliability > 0.9
    assert shuffled.reliability < 0.5
    assert np.isnan(random.reliability)


def test_a_random_direction_displaces_as_far_as_the_mass_mean_at_equal_strength(tmp_path: Path) -> None:
    statements = make_statements()
    values, _ = make_values(statements)
    activations = store(tmp_path, block_2=values, block_3=values.clone())
    mass, random = build(activations, statements, site="block_2", kinds=["mass_mean", "random"])
    [elsewhere] = build(activations, statements, site="block_3", kinds=["random"])
    assert random.scales == mass.scales
    assert abs(float(random.direction @ mass.direction)) < 0.6
    assert abs(float(random.direction @ elsewhere.direction)) < 0.9


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_vector_depends_on_nothing_but_its_arguments(tmp_path: Path, kind: Kind) -> None:
    statements = make_statements(paired=False)
    values, _ = make_values(statements)
    activations = store(tmp_path, block_2=values)
    one, other = (build(activations, statements, site="block_2", kinds=[kind], seed=5)[0] for _ in range(2))
    assert torch.equal(one.direction, other.direction)
    assert one.scales == other.scales


def test_replicates_are_mass_means_of_whole_groups(tmp_path: Path) -> None:
    statements = make_statements(60)
    values, _ = make_values(statements)
    activations = store(tmp_path, block_2=values)
    [vector] = build(activations, statements, site="block_2", draws=16)
    assert vector.replicates is not None
    contrast = development(activations, statements, site="block_2")
    # Each pair shifted as a whole: a replicate of whole pairs cannot see it.
    shifts = torch.from_numpy(np.repeat(np.random.default_rng(0).normal(size=(20, 24)) * 50, 2, axis=0))
    moved = replace(contrast, values=contrast.values + shifts)
    torch.testing.assert_close(resampled(moved, draws=16, seed=0).float(), vector.replicates, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vector.replicates.norm(dim=1), torch.ones(16))


def test_reliability_is_the_cosine_of_two_samples_of_that_size(tmp_path: Path) -> None:
    statements = make_statements(1200, splits=["train"] * 1200)
    values, _ = make_values(statements, signal=1.0)
    contrast = development(store(tmp_path, block_2=values), statements, site="block_2")
    halved = reliability(contrast, seed=0)
    # Of two unbiased samples of half the rows: |Δ|² / (|Δ|² + noise), noise = 2 · 2 Σσ² / (n/2).
    noise = 4 * float(np.square(np.linspace(0.2, 2.0, 24)).sum()) / 600
    assert halved == pytest.approx(1 / (1 + noise), abs=0.1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x * 0 + 1.0, "all activations are the same"),
        (lambda x: torch.where(torch.arange(len(x))[:, None] == 3, torch.nan, x), "NaN or infinity"),
    ],
    ids=["constant", "nan"],
)
def test_activations_without_a_direction_are_refused(
    tmp_path: Path, spoil: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    statements = make_statements()
    values, _ = make_values(statements)
    with pytest.raises(MeasurementError, match=message):
        build(store(tmp_path, block_2=spoil(values)), statements, site="block_2")


def test_rows_of_one_side_are_refused(tmp_path: Path) -> None:
    statements = replace(make_statements(12), labels=(1,) * 12)
    values, _ = make_values(statements)
    with pytest.raises(MeasurementError, match="8 of the desired side and 0 of the other"):
        build(store(tmp_path, block_2=values), statements, site="block_2")


def test_labels_that_cannot_be_shuffled_are_refused(tmp_path: Path) -> None:
    statements = replace(make_statements(9), groups=tuple("aabbbcccc"), labels=(1, 1, 0, 0, 0, 1, 1, 1, 1))
    statements = replace(statements, splits=("train",) * 9)
    values, _ = make_values(statements)
    with pytest.raises(MeasurementError, match="cannot be shuffled"):
        build(store(tmp_path, block_2=values), statements, site="block_2", kinds=["shuffled_label"])


def test_activations_of_other_statements_are_refused(tmp_path: Path) -> None:
    statements = make_statements()
    values, _ = make_values(statements)
    activations = store(tmp_path, block_2=values)
    with pytest.raises(AlignmentError, match="240 rows, example has 60"):
        build(activations, make_statements(60), site="block_2")
    with pytest.raises(AlignmentError, match="captured from other statements"):
        build(replace(activations, fingerprint="another"), statements, site="block_2")
