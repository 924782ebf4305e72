"""Which site and which strength: chosen within a bound on perplexity."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from tests.steering.examples import checkpoint, make_vector
from trustrace.core.errors import ConfigError, MeasurementError
from trustrace.core.progress import Progress, silent
from trustrace.evaluation.outcomes import Better, Graded, Outcome
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.steering.vectors import Scales, SteeringVector
from trustrace.studies.settings import Settings
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.steering.search import (
    AT_ONCE,
    Searched,
    quantity_of,
    random_versions,
    run_in_parts,
    search,
    versions_of,
)
from trustrace.studies.versions import PLAIN, Conventions, Version

NORMS = {"block_0": 10.0, "block_1": 40.0}
NAN = math.nan


def study(**changes: Any) -> SteerConfig:
    values: dict[str, Any] = {
        "name": "s",
        "sources": {"source": "x"},
        "targets": ["y"],
        "contrasts": [{"dataset": "example", "task": "stereoset", "quantity": "accuracy"}],
        "sites": ["block_0", "block_1"],
        "alphas": [-1.0, 0.5],
        "random_controls": 3,
        **changes,
    }
    return SteerConfig.read(values, where="s.yaml")


def scales(distance: float, *, within_std: float = 0.5) -> Scales:
    return Scales(distance=distance, within_std=within_std, projection_std=2.0, residual_norm=9.0)


def vectors(**changes: Any) -> list[SteeringVector]:
    drawn = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    return [
        make_vector(drawn[place], site=site, scales=scales(place + 1.0), **changes)
        for place, site in enumerate(("block_0", "block_1"))
    ]


def displacement(version: Version) -> torch.Tensor:
    (edit,) = version.edits
    assert edit.kind == "add"
    return edit.amount * edit.direction.double()


def test_every_vector_is_there_at_every_strength_in_units_of_the_target() -> None:
    found = versions_of(vectors(), study(), NORMS)
    assert [(one.site, one.alpha) for one in found] == [
        ("block_0", -1.0),
        ("block_0", 0.5),
        ("block_1", -1.0),
        ("block_1", 0.5),
    ]
    for one in found:
        like = next(vector for vector in vectors() if vector.site == one.site)
        expected = one.alpha * NORMS[one.site] * like.direction.double()
        torch.testing.assert_close(displacement(one), expected, rtol=1e-5, atol=1e-6)
    assert {one.vector for one in found} == {f"mass_mean:example@{checkpoint().key}"}


def test_in_a_unit_of_the_vector_s_the_target_s_norm_is_not_asked_for() -> None:
    found = versions_of(vectors(), study(unit="distance"), dict.fromkeys(NORMS, NAN))
    assert [float(displacement(one).norm()) for one in found] == pytest.approx([1.0, 0.5, 2.0, 1.0], rel=1e-5)


@pytest.mark.parametrize("unit", ["target_norm", "distance", "one"])
def test_random_directions_move_exactly_as_far_as_the_vectors_do(unit: str) -> None:
    asked = study(unit=unit)
    real, random = versions_of(vectors(), asked, NORMS), random_versions(vectors(), asked, NORMS, contrast="example")
    lengths = {(one.site, one.alpha): float(displacement(one).norm()) for one in real}
    assert len(random) == 3 * len(real)
    for one in random:
        assert float(displacement(one).norm()) == pytest.approx(lengths[one.site, one.alpha], rel=1e-5)
        assert one.role == "control"
    assert {one.vector for one in random} == {f"random_{number}:example" for number in range(3)}


def test_random_directions_differ_by_number_site_contrast_and_seed_and_by_nothing_else() -> None:
    def direction(place: int, *, contrast: str = "example", **changes: Any) -> torch.Tensor:
        return random_versions(vectors(), study(**changes), NORMS, contrast=contrast)[place].edits[0].direction

    first = direction(0)
    assert torch.equal(first, direction(0, alphas=[-3.0, 7.0], unit="one"))
    # The second strength of one draw is the same direction; the next site's and the next draw's are not.
    assert torch.equal(first, direction(1))
    others = [direction(2), direction(4), direction(0, contrast="other"), direction(0, seed=1)]
    assert all(abs(float(first @ other)) < 0.9 for other in others)


def test_random_directions_are_measured_out_like_real_vectors_and_not_like_controls() -> None:
    shuffled = vectors(kind="shuffled_label")
    real = [make_vector(one.direction, site=one.site, scales=scales(7.0)) for one in shuffled]
    asked = study(unit="distance", kinds=["shuffled_label", "mass_mean"])
    found = random_versions([*shuffled, *real], asked, NORMS, contrast="example")
    assert {round(float(displacement(one).norm()), 4) for one in found} == {7.0, 3.5}


def test_controls_are_marked_and_compete_with_themselves() -> None:
    (one, *_) = versions_of(vectors(kind="shuffled_label"), study(kinds=["mass_mean", "shuffled_label"]), NORMS)
    assert (one.role, one.vector.partition(":")[0]) == ("control", "shuffled_label")


@pytest.mark.parametrize("norm", [0.0, NAN, math.inf])
def test_a_target_whose_norm_is_no_length_is_refused(norm: float) -> None:
    with pytest.raises(ConfigError, match="residual norm"):
        versions_of(vectors(), study(), dict.fromkeys(NORMS, norm))


def test_a_unit_of_no_length_measures_nothing_out() -> None:
    flat = [make_vector(one.direction, site=one.site, scales=scales(0.0, within_std=NAN)) for one in vectors()]
    for unit in ("distance", "within_std"):
        with pytest.raises(MeasurementError, match=f"its {unit} is"):
            versions_of(flat, study(unit=unit), NORMS)
        with pytest.raises(MeasurementError, match=f"its {unit} is"):
            random_versions(flat, study(unit=unit), NORMS, contrast="example")


@dataclass(frozen=True, kw_only=True)
class Prescribed:
    """A task that gives each version of a model the number that stands in a list, and remembers how many it was asked for at once."""

    values: tuple[float, ...]
    quantity: str = "accuracy"
    better: Better = "higher"
    name: str = "prescribed"
    asked: list[int] = field(default_factory=list)

    def run(self, model: LanguageModel, *, batch_tokens: int | None, progress: Progress) -> Sequence[Outcome]:
        start = sum(self.asked)
        self.asked.append(model.variants)
        return [self._outcome(value) for value in self.values[start : start + model.variants]]

    def _outcome(self, value: Any) -> Outcome:
        """`value` is that of every item, or a list of the items' own; a perplexity's sums are a ratio, in which infinities count."""
        items = np.broadcast_to(np.asarray(value, dtype=np.float64).reshape(-1, 1), (4, 1))
        graded = Graded(
            quantity=self.quantity,
            method="list",
            values=np.hstack([items, np.ones((4, 1))]),
            groups=tuple("abcd"),
            statistic="ratio",
            better=self.better,
        )
        return Outcome(dataset=self.name, graded=(graded,))


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel.of(tiny.build("llama"), tiny.tokenizer())


def searched(
    model: LanguageModel,
    versions: Sequence[Version],
    *,
    perplexities: Sequence[Any],
    scores: Sequence[float],
    better: Better = "higher",
    **bounds: Any,
) -> tuple[Searched, Prescribed]:
    """A search with known numbers: perplexities of all, scores of those that are left."""
    asked = study(perplexity={"task": "lambada", **bounds})
    task = Prescribed(values=tuple(scores), better=better)
    found = search(
        model,
        versions,
        task=task,
        perplexity=Prescribed(values=tuple(perplexities), quantity="perplexity", better="lower"),
        contrast=asked.contrasts[0],
        study=asked,
        conventions=Conventions(),
        settings=Settings(device="cpu"),
        progress=silent,
    )
    return found, task


def named(found: Searched) -> list[tuple[str, float]]:
    return [(version.site, version.alpha) for version in found.chosen]


def test_the_best_site_and_strength_of_a_family_is_chosen(model: LanguageModel) -> None:
    versions = versions_of(vectors(), study(), NORMS)
    costs = [4, 4, 4, 4, 4]
    found, _ = searched(model, versions, perplexities=costs, scores=[0.5, 0.1, 0.2, 0.9, 0.3])
    assert named(found) == [("block_1", -1.0)]
    found, _ = searched(model, versions, perplexities=costs, scores=[0.5, 0.1, 0.2, 0.9, 0.3], better="lower")
    assert named(found) == [("block_0", -1.0)]
    assert found.better == "lower"


def test_families_are_chosen_apart_and_random_draws_are_families_of_their_own(model: LanguageModel) -> None:
    asked = study(random_controls=2)
    versions = random_versions(vectors(), asked, NORMS, contrast="example")
    scores = [0.5, *(0.1, 0.2, 0.3, 0.4), *(0.9, 0.2, 0.3, 0.4)]
    found, _ = searched(model, versions, perplexities=[4] * 9, scores=scores)
    assert [(one.vector, one.site, one.alpha) for one in found.chosen] == [
        ("random_0:example", "block_1", 0.5),
        ("random_1:example", "block_0", -1.0),
    ]


@pytest.mark.parametrize(
    ("bounds", "allowed"),
    [
        ({"ratio": 1.5, "bound": None}, [4, 6, 5]),
        ({"ratio": None, "bound": 5.0}, [4, 5]),
        ({"ratio": 1.5, "bound": 5.0}, [4, 5]),
        ({"ratio": 1.0, "bound": 9.0}, [4]),
        ({"ratio": None, "bound": None}, [4, 6, 6.01, 5]),
    ],
)
def test_what_costs_more_perplexity_than_allowed_is_not_even_tried(
    model: LanguageModel, bounds: dict[str, Any], allowed: list[float]
) -> None:
    versions = versions_of(vectors(), study(), NORMS)
    costs = [4, 6, 6.01, NAN, 5]
    # Whoever costs more is better by far, if only it were asked.
    kept = [cost for cost in costs if cost in allowed]
    found, task = searched(model, versions, perplexities=costs, scores=[0.1 * cost for cost in kept], **bounds)
    assert sum(task.asked) == len(kept)
    assert len(found.chosen) == (1 if len(allowed) > 1 else 0)
    tried = {(row.site, row.alpha) for row in found.rows if row.dataset == "stereoset/development"}
    fine = [version for version, cost in zip(versions, costs[1:], strict=True) if cost in allowed]
    assert tried == {(version.site, version.alpha) for version in fine}
    # What was dropped, and why, can be read in the table.
    measured = {(row.site, row.alpha) for row in found.rows if row.dataset == "lambada/development"}
    assert measured == {(version.site, version.alpha) for version in versions}


def test_a_version_that_has_no_perplexity_where_the_plain_model_has_one_is_not_allowed(model: LanguageModel) -> None:
    versions = versions_of(vectors(), study(), NORMS)
    # The one item that is left is the easiest; an item that the plain model has none of either costs nobody.
    costs = [[4, 4, 4, NAN], [1, NAN, NAN, NAN], [1, 1, NAN, NAN], [4, 4, 4, NAN], [3, 3, 3, 3]]
    found, task = searched(model, versions, perplexities=costs, scores=[0.5, 0.9, 0.6], ratio=1.5)
    assert sum(task.asked) == 3
    tried = {(row.site, row.alpha) for row in found.rows if row.dataset == "stereoset/development"}
    assert tried == {(version.site, version.alpha) for version in versions[2:]}


@pytest.mark.parametrize("bounds", [{"ratio": 1.5}, {"ratio": None, "bound": None}])
def test_an_infinite_perplexity_is_never_allowed(model: LanguageModel, bounds: dict[str, Any]) -> None:
    versions = versions_of(vectors(), study(alphas=[-1.0]), NORMS)
    _, task = searched(model, versions, perplexities=[4, math.inf, 4], scores=[0.5, 0.9], **bounds)
    assert sum(task.asked) == 2


def test_of_equals_the_weakest_is_chosen_and_what_has_no_number_never(model: LanguageModel) -> None:
    versions = versions_of(vectors(), study(alphas=[1.0, -0.25, 0.5]), NORMS)
    found, _ = searched(model, versions, perplexities=[4] * 7, scores=[0.5, 0.9, 0.9, 0.9, NAN, 0.1, 0.2])
    assert named(found) == [("block_0", -0.25)]
    found, _ = searched(model, versions, perplexities=[4] * 7, scores=[0.5, NAN, NAN, NAN, NAN, NAN, NAN])
    assert named(found) == []


def test_an_unsteered_model_without_perplexity_bounds_nothing(model: LanguageModel) -> None:
    for cost in (NAN, math.inf):
        with pytest.raises(MeasurementError, match="unsteered model has no perplexity"):
            searched(model, versions_of(vectors(), study(), NORMS), perplexities=[cost, 4, 4, 4, 4], scores=[0.5] * 5)


def test_the_plain_model_s_own_rows_are_recorded_elsewhere_and_changes_are_against_it(model: LanguageModel) -> None:
    versions = versions_of(vectors(), study(), NORMS)
    found, _ = searched(model, versions, perplexities=[4, 5, 3, 4, 4], scores=[0.5, 0.1, 0.2, 0.9, 0.5])
    assert all(row.vector for row in found.rows)
    differences = [row.value for row in found.rows if row.quantity == "accuracy_change"]
    assert differences == pytest.approx([0.1 - 0.5, 0.2 - 0.5, 0.9 - 0.5, 0.0])


def test_more_versions_than_a_batch_holds_are_done_in_parts_each_beside_the_plain_one(model: LanguageModel) -> None:
    asked = study(alphas=[0.01 * (place + 1) for place in range(AT_ONCE)])
    versions = [PLAIN, *versions_of(vectors(), asked, NORMS)]
    tried: list[int] = []

    @dataclass(frozen=True, kw_only=True)
    class Counting:
        """Numbers its versions within each batch."""

        name: str = "counting"

        def run(self, model: LanguageModel, *, batch_tokens: int | None, progress: Progress) -> Sequence[Outcome]:
            tried.append(model.variants)
            return [Outcome(dataset=str(place), graded=()) for place in range(model.variants)]

    found = run_in_parts(
        model,
        versions,
        Counting(),
        conventions=Conventions(),
        settings=Settings(device="cpu"),
        progress=silent,
    )
    assert len(found) == len(versions) == 65
    assert max(tried) <= AT_ONCE
    # The plain one is the first of each part, and its outcome is there once.
    assert [outcome.dataset for outcome in found].count("0") == 1
    assert found[0].dataset == "0"
    assert sum(tried) == len(versions) + len(tried) - 1


def test_a_quantity_is_found_by_name_and_grader() -> None:
    def graded(quantity: str, method: str) -> Graded:
        return Graded(quantity=quantity, method=method, values=np.ones((2, 1)), groups=("a", "b"))

    outcome = Outcome(
        dataset="d", graded=(graded("truth", "a judge"), graded("truth", "another"), graded("info", "a judge"))
    )
    contrast = study().contrasts[0]
    wanted = [("truth", None, "a judge"), ("truth", "another", "another"), ("info", None, "a judge")]
    for quantity, method, expected in wanted:
        one = contrast.model_copy(update={"quantity": quantity, "method": method})
        assert quantity_of(outcome, one).method == expected
    absent = contrast.model_copy(update={"quantity": "truth", "method": "nobody"})
    with pytest.raises(ConfigError, match="gives no 'truth' by nobody; it gives truth by a judge, truth by another"):
        quantity_of(outcome, absent)
