"""What runs of proxy-tuning say beside figure 18."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.studies.paper.made_up import CHAT, EARLY, ROW, at, compared, said
from trustrace.core.measurements import Measurement
from trustrace.studies.paper.compare import Comparison

SAFE = "LLM360--AmberSafe@main"
F1: dict[str, Any] = {"dataset": "truthfulqa_classification/test", "quantity": "f1", "method": "parsed"}
VECTOR = f"proxy:{CHAT}-LLM360--Amber@main"


def proxied(over: float, *, alpha: float = 1.0, wide: float = 0.02) -> list[Measurement]:
    place = {**F1, "checkpoint": EARLY}
    tuned = {**place, "vector": VECTOR, "alpha": alpha}
    return [at(0.3, **place), at(0.5 + over, **tuned), at(over, **tuned | {"quantity": "f1_over_expert"}, wide=wide)]


def beside(folder: Path, *rows: Measurement) -> Comparison:
    lines = [at(0.5, **F1), at(0.6, **F1, checkpoint=SAFE)]
    manifest = {"bases": [EARLY], "expert": CHAT}
    return compared(folder, *lines, *rows, study={"study": "proxy_tune", "unit": ""}, manifest=manifest)


@pytest.mark.parametrize(
    ("over", "wide", "verdict"),
    [
        (0.1, 0.02, "agrees"),
        (-0.1, 0.02, "disagrees"),
        (0.01, 0.02, "cannot be told"),
        (0.1, math.nan, "cannot be told"),
    ],
)
def test_a_checkpoint_passes_the_expert_where_the_paired_difference_says_so(
    tmp_path: Path, over: float, wide: float, verdict: str
) -> None:
    (one,) = said(beside(tmp_path, *proxied(over, wide=wide)), "figure 18", "passes")
    assert (one.verdict, one.value, one.model, one.n) == (verdict, over, EARLY, 407)
    assert one.ours.startswith("f1 by parsed 0.300 [0.250, 0.350] as it is, ")
    assert one.setting == f"{VECTOR}, alpha 1"


def test_tuned_models_are_lines_and_bases_are_none(tmp_path: Path) -> None:
    lines = said(beside(tmp_path, *proxied(0.1)), "figure 18", "line")
    assert [(one.model, one.value, one.verdict) for one in lines] == [
        (CHAT, 0.5, "cannot be told"),
        (SAFE, 0.6, "cannot be told"),
    ]


def test_another_strength_is_not_the_papers(tmp_path: Path) -> None:
    (one,) = said(beside(tmp_path, *proxied(0.1, alpha=0.5)), "figure 18", "passes")
    assert one.verdict == "cannot be told"
    assert "strengths are 0.5, the paper's is 1" in one.ours


def test_where_the_difference_was_not_measured_nothing_is_judged(tmp_path: Path) -> None:
    (one,) = said(beside(tmp_path, *proxied(0.1)[:2]), "figure 18", "passes")
    assert (one.verdict, math.isnan(one.value)) == ("cannot be told", True)


def test_of_a_base_that_cannot_answer_as_it_is_nothing_is_judged(tmp_path: Path) -> None:
    plain, *others = proxied(-0.1)
    mute = replace(plain, value=math.nan, lower=math.nan, upper=math.nan, note="407 of 407 items undefined")
    (one,) = said(beside(tmp_path, mute, *others), "figure 18", "passes")
    assert (one.verdict, one.value) == ("cannot be told", -0.1)
    assert "undefined (407 of 407 items undefined) as it is" in one.ours


def test_what_stands_for_f1_is_named(tmp_path: Path) -> None:
    rows = [
        at(row.value, dataset="world_reliability/test", quantity=row.quantity.replace("f1", "accuracy"),
           checkpoint=EARLY, vector=row.vector, alpha=row.alpha)
        for row in proxied(0.1)
    ]  # fmt: skip
    (one,) = said(beside(tmp_path, ROW, *rows), "figure 18", "passes")
    assert one.ours.startswith("accuracy (in the place of F1) by judge")
