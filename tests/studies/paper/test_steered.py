"""What steering runs say beside figures 4 to 6."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.studies.paper.made_up import CHAT, EARLY, ROW, at, compared, said, steered

TOXIC: dict[str, Any] = {"dataset": "toxigen/development", "quantity": "toxic", "method": "roberta"}
COST: dict[str, Any] = {"dataset": "lambada/development", "method": "log_probability"}
HALF: dict[str, Any] = {"contrast": "toxicity/defined", "alpha": 0.5}


def dose(value: float, **changes: Any) -> Any:
    return steered(EARLY, value, **{**HALF, **TOXIC, "wide": 0.01, **changes})


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.1, "agrees"), (0.21, "cannot be told"), (0.3, "disagrees"), (0.5, "disagrees")]
)
def test_a_toxic_ratio_is_halved_where_the_intervals_say_so(tmp_path: Path, value: float, verdict: str) -> None:
    found = compared(tmp_path, at(0.4, **TOXIC), dose(value), dose(0.0, alpha=3.0))
    (one,) = said(found, "figure 4", "halved")
    assert (one.verdict, one.value, one.n) == (verdict, value, 407)
    assert one.setting == "published of toxicity/defined in ckpt_179 at block_18, alpha 0.5 projection_std"


@pytest.mark.parametrize("unit", ["target_norm", ""])
def test_strengths_of_another_unit_are_not_laid_beside_the_papers(tmp_path: Path, unit: str) -> None:
    """0.5 of the target's norm is no 0.5 standard deviations of projections."""
    found = compared(tmp_path, at(0.4, **TOXIC), dose(0.1), study={"unit": unit})
    (one,) = said(found, "figure 4", "halved")
    assert (one.verdict, math.isnan(one.value)) == ("cannot be told", True)
    assert one.ours.startswith(f"Not comparable: strengths count {unit or 'a unit that the run does not name'}")
    assert "the paper's projection_std" in one.ours
    assert one.setting.endswith(unit or "alpha 0.5 of a unit that the run does not name")


def test_where_the_papers_strength_was_not_tried_the_nearest_does_not_stand_for_it(tmp_path: Path) -> None:
    found = compared(tmp_path, at(0.4, **TOXIC), dose(0.1, alpha=0.4), dose(0.1, alpha=1.0))
    (one,) = said(found, "figure 4", "halved")
    assert one.verdict == "cannot be told"
    assert "no strength of 0.5 was tried, but 0.4, 1" in one.ours


def test_away_from_what_is_desired_only_a_direction_of_no_known_sense_is_told(tmp_path: Path) -> None:
    both = [dose(0.1, alpha=-0.5), dose(0.3)]
    assert len(said(compared(tmp_path / "a", at(0.4, **TOXIC), *both), "figure 4", "halved")) == 2
    named = [replace(row, vector=row.vector.replace("published:", "mass_mean:")) for row in both]
    (one,) = said(compared(tmp_path / "b", at(0.4, **TOXIC), *named), "figure 4", "halved")
    assert one.value == 0.3


@pytest.mark.parametrize(("change", "verdict"), [(0.1, "agrees"), (0.25, "cannot be told"), (0.5, "disagrees")])
def test_perplexity_hardly_moves_below_five_percent(tmp_path: Path, change: float, verdict: str) -> None:
    plain = [at(0.4, **TOXIC), at(5.0, **COST, quantity="perplexity")]
    moved = steered(EARLY, change, **{**HALF, **COST}, quantity="perplexity_change", wide=0.1)
    (one,) = said(compared(tmp_path, *plain, dose(0.1), moved), "figure 4", "perplexity")
    assert (one.verdict, one.value, one.lower, one.dataset) == (verdict, change, change - 0.1, "lambada/development")


@pytest.mark.parametrize(
    ("value", "wide", "verdict"), [(0.8, 0.1, "agrees"), (-0.8, 0.1, "disagrees"), (0.5, 0.9, "cannot be told")]
)
def test_reading_foretells_steering_where_the_correlations_interval_is_above_0(
    tmp_path: Path, value: float, wide: float, verdict: str
) -> None:
    row = at(value, wide=wide, quantity="separation_with_truth", n=11, vector="mass_mean:reliability/defined")
    (one,) = said(compared(tmp_path, row), "figure 5")
    assert (one.verdict, one.value, one.n, one.setting) == (verdict, value, 11, "mass_mean:reliability/defined")
    assert "over 11 checkpoints" in one.ours


def test_a_correlation_of_too_few_checkpoints_cannot_be_told_and_says_why(tmp_path: Path) -> None:
    few = replace(
        at(math.nan, quantity="separation_with_truth"), note="undefined: 3 checkpoints, of which 5 are needed"
    )
    (one,) = said(compared(tmp_path, few), "figure 5")
    assert (one.verdict, "3 checkpoints, of which 5 are needed" in one.ours) == ("cannot be told", True)


PAIRS = {"contrasts": [{"pairs": "pku.jsonl"}, {"dataset": {"name": "reliability/defined"}}]}


def corner(value: float, quantity: str, dataset: str, **changes: Any) -> Any:
    told = {"quantity": f"{quantity}_change", "dataset": f"{dataset}/test", "contrast": "pairs", "wide": 0.01}
    return steered(EARLY, value, **{**told, **changes})


@pytest.mark.parametrize(
    ("row", "claim", "verdict"),
    [
        (corner(0.1, "accuracy", "confaide"), "trustworthy", "agrees"),
        (corner(-0.1, "accuracy", "confaide"), "trustworthy", "disagrees"),
        (corner(-0.1, "toxic", "toxigen"), "trustworthy", "agrees"),
        (corner(0.1, "toxic", "toxigen"), "trustworthy", "disagrees"),
        (corner(0.005, "accuracy", "confaide"), "trustworthy", "cannot be told"),
        (corner(-0.005, "accuracy", "mmlu"), "general", "agrees"),
        (corner(-0.02, "accuracy", "mmlu"), "general", "cannot be told"),
        (corner(-0.05, "accuracy", "mmlu"), "general", "disagrees"),
    ],
)
def test_abilities_under_the_universal_vector_are_judged_by_their_paired_change(
    tmp_path: Path, row: Any, claim: str, verdict: str
) -> None:
    (one,) = said(compared(tmp_path, row, study=PAIRS), "figure 6", claim)
    assert (one.verdict, one.value, one.model) == (verdict, row.value, CHAT)
    assert one.setting.startswith("published of pairs in ckpt_179 at block_18, alpha 2 projection_std")


def test_vectors_of_labelled_statements_are_no_universal_vector(tmp_path: Path) -> None:
    row = corner(0.1, "accuracy", "confaide", contrast="reliability/defined")
    assert not said(compared(tmp_path, ROW, row, study=PAIRS), "figure 6")


def test_the_aligned_model_is_told_with_its_own_numbers(tmp_path: Path) -> None:
    row = at(0.6, dataset="confaide/test", quantity="accuracy", checkpoint="LLM360--AmberSafe@main")
    (one,) = said(compared(tmp_path / "a", row, study={"study": "evaluate"}), "figure 6")
    assert (one.value, one.model, one.verdict) == (0.6, "LLM360--AmberSafe@main", "cannot be told")
    other = replace(row, checkpoint="mine@aligned")
    (one,) = said(compared(tmp_path / "b", other, as_="safe=", study={"study": "evaluate"}), "figure 6")
    assert one.model == "mine@aligned"
