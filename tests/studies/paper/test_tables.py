"""Cells of the paper's tables beside made-up runs: which number of ours may stand there, whose it is, and where it was chosen."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.studies.paper.made_up import CHAT, EARLY, ROW, at, cell, cells, compared, steered, write_run
from trustrace.core.errors import RunError
from trustrace.studies.paper.compare import compare
from trustrace.studies.paper.numbers import CELLS, COLUMNS, RANGES

DEV: dict[str, Any] = {"dataset": "truthfulqa/development"}


def test_the_products_that_the_paper_prints_are_those_of_its_means() -> None:
    by_row = {(one.table, one.who, one.column): one.value for one in CELLS}
    for who in ("plain", "full", "lora", "early", "own"):
        product = by_row[1, who, "Truth"] * by_row[1, who, "Info"]
        assert by_row[1, who, "Truth*Info"] == pytest.approx(product, abs=2e-4)


def test_every_cell_names_a_column_that_ours_may_stand_in_and_is_a_share() -> None:
    assert {one.column for one in CELLS} <= set(COLUMNS)
    assert all(0 < one.value < 1 for one in CELLS)
    assert len({(one.table, one.who, one.column) for one in CELLS}) == len(CELLS) == 5 * 11 + 1 + 2 * 9
    assert all(0.5 <= one.low < one.high <= 1 for one in RANGES)


def test_a_plain_row_stands_beside_the_tuned_model_with_interval_n_run_and_protocol(tmp_path: Path) -> None:
    line = cell(compared(tmp_path, ROW), "plain", "Truth")
    assert (line["paper"], line["ours"], line["lower"], line["upper"], line["n"]) == (0.3931, 0.4, 0.35, 0.45, 407)
    assert line["paper in our interval"] == "yes"
    assert (line["run"], line["protocol"], line["model"]) == (str(tmp_path / "run"), "published", CHAT)
    assert line["ours is"] == "truthfulqa/test truth by judge"


def test_a_value_outside_and_one_without_interval_are_told_apart(tmp_path: Path) -> None:
    outside = compared(tmp_path / "outside", replace(ROW, lower=0.395))
    assert cell(outside, "plain", "Truth")["paper in our interval"] == "no"
    none = compared(tmp_path / "none", replace(ROW, lower=math.nan, upper=math.nan))
    assert cell(none, "plain", "Truth")["paper in our interval"] == "no interval"


def test_cells_of_a_column_are_graded_alike(tmp_path: Path) -> None:
    """Parsed answers of one model beside probabilities of another would look like an effect."""
    parsed, likely = replace(ROW, method="parsed", value=0.9), replace(ROW, value=0.5)
    found = compared(tmp_path, parsed, likely, steered(EARLY, 0.6))
    assert (cell(found, "plain", "Truth")["ours"], cell(found, "early", "Truth")["ours"]) == (0.5, 0.6)


def test_a_run_that_only_another_grader_judged_is_shown_and_said_not_to_compare(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", [ROW, steered(EARLY, 0.6)])
    second = write_run(tmp_path / "b", [replace(ROW, method="parsed", value=0.9)])
    found = compare([str(first), str(second)])
    assert [line["ours is"] for line in cells(found, "plain", "Truth")] == [
        "truthfulqa/test truth by judge",
        "truthfulqa/test truth by parsed",
    ]
    assert any("graded by judge and by parsed" in note for note in found.notes)


def test_several_runs_of_one_cell_are_all_listed_with_their_run(tmp_path: Path) -> None:
    runs = [str(write_run(tmp_path / name, [replace(ROW, value=value)])) for name, value in (("a", 0.4), ("b", 0.5))]
    lines = cells(compare([*runs, runs[0]]), "plain", "Truth")
    assert [(line["run"], line["ours"]) for line in lines] == [(runs[0], 0.4), (runs[1], 0.5)]


def test_models_and_protocols_of_one_run_are_listed_apart(tmp_path: Path) -> None:
    found = compared(tmp_path, ROW, replace(ROW, checkpoint="mine@end"), replace(ROW, protocol="rigorous"))
    lines = cells(found, "plain", "Truth")
    assert [(line["model"], line["protocol"]) for line in lines] == [
        (CHAT, "published"),
        ("mine@end", "published"),
        (CHAT, "rigorous"),
    ]


def test_checkpoints_of_a_pretraining_stand_in_no_table(tmp_path: Path) -> None:
    """The paper's rows are of tuned models; what a run tunes by proxy, or takes vectors from, is none."""
    bases = [replace(ROW, checkpoint=name) for name in (EARLY, "mine@base", "mine@source")]
    run = write_run(tmp_path / "a", [ROW, *bases], study={"study": "finetune"})
    other = write_run(
        tmp_path / "b",
        [ROW],
        study={"study": "proxy_tune"},
        manifest={
            "bases": ["mine@base"],
            "sources": {"mine@source": ["", 1, 2], CHAT: ["", 1, 2]},
            "targets": {CHAT: ""},
        },
    )
    lines = cells(compare([str(run), str(other)]), "plain", "Truth")
    assert [(line["run"], line["model"]) for line in lines] == [(str(run), CHAT), (str(other), CHAT)]


def test_rows_of_a_fine_tuning_run_stand_in_their_own_rows(tmp_path: Path) -> None:
    tuned = [at(value, vector=f"{who}:truthfulqa") for who, value in (("full", 0.6), ("lora", 0.5))]
    found = compared(tmp_path, ROW, *tuned, study={"study": "finetune"})
    assert [cell(found, who, "Truth")["ours"] for who in ("plain", "full", "lora")] == [0.4, 0.6, 0.5]


def test_vectors_go_to_the_row_of_their_source_and_the_table_of_their_contrast(tmp_path: Path) -> None:
    stereotypes: dict[str, Any] = {
        "contrast": "fairness/published",
        "dataset": "stereoset/test",
        "quantity": "accuracy",
    }
    fair = steered(EARLY, 0.58, **stereotypes)
    found = compared(tmp_path / "a", steered(EARLY, 0.7), fair)
    assert cell(found, "early", "Truth")["ours"] == 0.7
    assert cell(found, "early", "StereoSet", table=2)["ours"] == 0.58
    assert cell(found, "early", "StereoSet")["ours"] is None
    own = compared(tmp_path / "b", steered(CHAT, 0.6))
    assert (cell(own, "own", "Truth")["ours"], cell(own, "early", "Truth")["ours"]) == (0.6, None)


def test_the_steered_cell_is_of_the_winner_on_the_development_half_and_says_which(tmp_path: Path) -> None:
    """Not the first, not the best on the test half."""
    settings = [("ckpt_119", "block_12", 0.5), ("ckpt_149", "block_18", 2.0), ("ckpt_239", "block_19", 1.0)]
    places: list[tuple[str, dict[str, Any]]] = [
        (f"LLM360--Amber@{name}", {"site": site, "alpha": alpha}) for name, site, alpha in settings
    ]
    tested = [steered(source, 0.8 - i / 10, **place) for i, (source, place) in enumerate(places)]
    tried = [
        steered(source, value, **place, **DEV) for (source, place), value in zip(places, (0.5, 0.9, 0.6), strict=True)
    ]
    chosen = [(row.vector, row.site, row.alpha) for row in tried]
    found = compared(
        tmp_path / "a",
        *tested,
        *tried,
        chosen=chosen,
        manifest={"sources": {"LLM360--Amber@ckpt_149": ["", 114300, 7]}},
    )
    line = cell(found, "early", "Truth")
    assert line["ours"] == pytest.approx(0.7)
    assert line["setting"] == (
        "published of reliability/published in ckpt_149 (step 114300) at block_18, alpha 2 projection_std; "
        "won by truth 0.900 [0.850, 0.950] on truthfulqa/development, n = 407, of 3 vectors"
    )
    lower = compared(tmp_path / "b", *tested, *tried, chosen=chosen, better="lower")
    assert cell(lower, "early", "Truth")["ours"] == pytest.approx(0.8)


def test_where_ckpt_179_is_among_the_sources_it_alone_competes_for_its_row(tmp_path: Path) -> None:
    sources = [("LLM360--Amber@ckpt_119", 0.9), (EARLY, 0.5)]
    rows = [steered(source, value, **half) for source, value in sources for half in ({}, DEV)]
    chosen = [(row.vector, row.site, row.alpha) for row in rows if row.dataset.endswith("development")]
    assert cell(compared(tmp_path, *rows, chosen=chosen), "early", "Truth")["ours"] == 0.5


def test_winners_are_found_per_contrast(tmp_path: Path) -> None:
    rows = [
        steered(EARLY, value, contrast=f"reliability/{form}", **half)
        for form, value in (("published", 0.5), ("defined", 0.6))
        for half in ({}, DEV)
    ]
    chosen = [(row.vector, row.site, row.alpha) for row in rows if row.dataset.endswith("development")]
    lines = cells(compared(tmp_path, *rows, chosen=chosen), "early", "Truth")
    assert sorted(line["ours"] for line in lines) == [0.5, 0.6]


def test_where_no_record_says_what_won_several_settings_stand_nowhere_and_that_is_told(tmp_path: Path) -> None:
    found = compared(tmp_path, ROW, steered(EARLY, 0.5), steered(EARLY, 0.9, alpha=1.0))
    assert cell(found, "early", "Truth")["ours"] is None
    assert any("2 settings of reliability/published" in note and "left out" in note for note in found.notes)


def test_controls_and_the_development_half_stand_nowhere(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing stands beside"):
        compared(tmp_path, replace(ROW, **DEV), steered(EARLY, 0.9, role="control"))


def test_both_arcs_stand_beside_the_one_that_the_paper_does_not_name(tmp_path: Path) -> None:
    arcs = [
        at(value, dataset=f"arc_{name}/test", quantity="accuracy")
        for name, value in (("easy", 0.7), ("challenge", 0.4))
    ]
    assert [line["ours"] for line in cells(compared(tmp_path, *arcs), "plain", "ARC")] == [0.7, 0.4]


def test_a_run_can_be_said_to_be_the_fine_tuned_models(tmp_path: Path) -> None:
    found = compared(tmp_path, ROW, as_="lora=")
    assert cell(found, "lora", "Truth")["ours"] == 0.4
    assert cell(found, "plain", "Truth")["ours"] is None
