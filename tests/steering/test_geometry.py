import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import beta

from tests.steering.examples import checkpoint, make_statements, make_values, make_vector, store
from trustrace.core.errors import AlignmentError, MeasurementError
from trustrace.core.measurements import Measurement
from trustrace.core.statements import Statements
from trustrace.steering.building import build
from trustrace.steering.geometry import cosine_rows, cosines, null_rows, random_band, settling, settling_rows
from trustrace.steering.vectors import SteeringVector


def at_angle(degrees: float, *, step: int = 100, **changes: object) -> SteeringVector:
    angle = math.radians(degrees)
    along = torch.zeros(512)
    along[0], along[1] = math.cos(angle), math.sin(angle)
    return make_vector(along, checkpoint=checkpoint(step), reliability=0.8, **changes)


def test_cosines_are_those_of_angles() -> None:
    table = cosines([at_angle(0), at_angle(60), at_angle(180)])
    np.testing.assert_allclose(table, [[1, 0.5, -1], [0.5, 1, -0.5], [-1, -0.5, 1]], atol=1e-6)


def test_vectors_of_two_widths_have_no_cosine() -> None:
    with pytest.raises(AlignmentError, match=r"widths \[8, 512\]"):
        cosines([make_vector(), at_angle(0)])


@pytest.mark.parametrize("d_model", [2, 3, 5, 32, 64, 768, 4096, 200_000])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_the_band_of_random_directions_is_that_of_the_beta_distribution(d_model: int, level: float) -> None:
    assert random_band(d_model, level=level) == pytest.approx(beta.ppf(level, 0.5, (d_model - 1) / 2) ** 0.5, rel=1e-6)


def test_random_directions_lie_in_the_band_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(0).normal(size=(20_000, 24))
    inside = np.abs(drawn[:, 0] / np.linalg.norm(drawn, axis=1)) < random_band(24, level=0.8)
    assert inside.mean() == pytest.approx(0.8, abs=0.01)


def test_one_dimension_has_no_random_directions() -> None:
    with pytest.raises(MeasurementError, match="at least two"):
        random_band(1)


def test_pairs_that_differ_in_one_thing_are_rows_at_the_later_checkpoint() -> None:
    vectors = [
        at_angle(90, step=1),
        at_angle(60, step=2),
        at_angle(0, step=2, site="block_2"),
        at_angle(0, step=2, dataset="other"),
        at_angle(0, step=2, kind="random"),
    ]
    rows = cosine_rows(vectors)
    found = {(row.vector, row.site, row.dataset, row.method): row for row in rows}
    assert len(rows) == 4
    over_time = found[vectors[0].key, "block_1", "example", "mass_mean"]
    assert (over_time.step, over_time.role) == (2, "measured")
    assert over_time.value == pytest.approx(math.cos(math.radians(30)), abs=1e-6)
    assert {row.role for row in rows if "random" in row.method} == {"control"}


def test_cosines_between_runs_say_so() -> None:
    one, other = at_angle(0), make_vector(at_angle(60).direction, checkpoint=checkpoint(100, model="another"))
    [row] = cosine_rows([one, other])
    assert "another run" in row.note


def course(*degrees: float, **changes: object) -> list[SteeringVector]:
    return [at_angle(angle, step=step, **changes) for step, angle in enumerate(degrees, start=1)]


@pytest.mark.parametrize(
    ("angles", "tokens"),
    [((90, 80, 50, 30, 0), 3000), ((20, 80, 50, 30, 0), 3000), ((0, 0, 0), 1000), ((90, 90, 90, 0), 4000)],
)
def test_a_direction_has_settled_when_it_no_longer_falls_below_half_its_reliability(
    angles: tuple[float, ...], tokens: int
) -> None:
    # Half of 0.8 is 0.4, the cosine of 66 degrees.
    estimate = settling(course(*angles))
    assert estimate.value == tokens
    assert "in tokens; since step_" in estimate.note
    assert ("no earlier checkpoint" in estimate.note) == (tokens == 1000 * len(angles))


def test_the_order_of_the_series_does_not_matter_and_a_threshold_does() -> None:
    series = course(90, 80, 50, 30, 0)
    assert settling(series[::-1]).value == settling(series).value
    assert settling(series, threshold=0.8).value == 4000


@pytest.mark.parametrize(
    ("series", "note"),
    [
        (course(90, 0), "at least 3"),
        (
            [*course(90, 50, 0)[:2], make_vector(at_angle(0).direction, checkpoint=checkpoint(9, model="b"))],
            "several runs",
        ),
        ([at_angle(angle, step=5) for angle in (90, 50, 0)], "unknown or repeat"),
        ([make_vector(checkpoint=checkpoint(step)) for step in (1, 2, 3)], "give a threshold"),
    ],
)
def test_a_series_without_an_answer_says_why(series: list[SteeringVector], note: str) -> None:
    estimate = settling(series)
    assert math.isnan(estimate.value)
    assert note in estimate.note


def test_a_direction_that_is_not_reliable_is_not_said_to_settle() -> None:
    faint = [make_vector(one.direction, checkpoint=one.checkpoint, reliability=0.05) for one in course(60, 40, 0)]
    assert "not reliable enough" in settling(faint).note


def series_of(folder: Path, statements: Statements, signals: list[float]) -> list[SteeringVector]:
    """Vectors of checkpoints at which the classes lie so far apart, in noise that is another at each."""
    vectors = []
    for step, signal in enumerate(signals, start=1):
        values, _ = make_values(statements, d_model=64, signal=0.0, seed=step)
        values[:, 0] += signal * (torch.tensor(statements.labels) - 0.5)
        (folder / str(step)).mkdir()
        activations = store(folder / str(step), block_1=values)
        object.__setattr__(activations, "checkpoint", checkpoint(step))
        kinds = ["mass_mean", "shuffled_label", "random"]
        vectors += build(activations, statements, site="block_1", kinds=kinds, draws=100)  # type: ignore[arg-type]
    return vectors


def rows_of(rows: list[Measurement], quantity: str, method: str, role: str) -> list[Measurement]:
    return [row for row in rows if (row.quantity, row.method, row.role) == (quantity, method, role)]


def test_a_direction_that_appears_half_way_settles_there_with_an_interval_and_shuffled_labels_never(
    tmp_path: Path,
) -> None:
    statements = make_statements(600)
    vectors = series_of(tmp_path, statements, [0.0, 0.0, 3.0, 3.0, 3.0])
    [row] = settling_rows(vectors)
    assert (row.value, row.method, row.quantity) == (3000, "mass_mean", "direction_settled")
    assert row.lower <= row.value <= row.upper
    nulls = null_rows(vectors)
    assert len(rows_of(nulls, "direction_cosine", "shuffled_label", "null")) == 5
    [band] = rows_of(nulls, "direction_cosine", "random", "null")
    assert (band.lower, band.upper) == (-random_band(64), random_band(64))
    assert band.upper < 0.25


def test_the_interval_of_a_cosine_holds_it_and_narrows_with_more_statements(tmp_path: Path) -> None:
    widths = []
    for n in (120, 1200):
        (tmp_path / str(n)).mkdir()
        rows = cosine_rows(series_of(tmp_path / str(n), make_statements(n), [2.0, 2.0]))
        [row] = rows_of(rows, "direction_cosine", "mass_mean", "measured")
        assert row.lower <= row.value <= row.upper
        widths.append(row.upper - row.lower)
    assert 0 < widths[1] < widths[0] / 2
