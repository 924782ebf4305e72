"""The paper's cells beside made-up runs: what matches, what is missing, what is said of another model."""

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trustrace.core.errors import ConfigError, RunError
from trustrace.core.measurements import Measurement
from trustrace.runs.table import as_table, write_table
from trustrace.studies.paper.compare import Comparison, compare
from trustrace.studies.paper.numbers import CELLS, COLUMNS, RANGES

CHAT, EARLY = "LLM360--AmberChat@main", "LLM360--Amber@ckpt_179"
ROW = Measurement(
    quantity="truth",
    method="judge",
    value=0.4,
    lower=0.35,
    upper=0.45,
    n=407,
    n_groups=407,
    role="measured",
    note="",
    dataset="truthfulqa/test",
    checkpoint=CHAT,
    step=None,
    tokens_seen=None,
    site="",
    position="",
    protocol="published",
    seed=0,
)


def steered(source: str, *, contrast: str = "reliability/published", **changes: Any) -> Measurement:
    changes = {"alpha": 2.0, "site": "block_18", **changes}
    return replace(ROW, vector=f"published:{contrast}@{source}", **changes)


def probed(block: int, step: int, value: float, **changes: Any) -> Measurement:
    changes = {"quantity": "accuracy", "method": "logistic", "dataset": "reliability/published", **changes}
    return replace(
        ROW, checkpoint=f"LLM360--Amber@ckpt_{step}", site=f"block_{block}", step=step, value=value, **changes
    )


def compared(folder: Path, *rows: Measurement, as_: str = "") -> Comparison:
    write_table(as_table(rows), folder / "measurements.parquet")
    return compare([f"{as_}{folder}"])


def test_cells_of_a_column_are_graded_alike(tmp_path: Path) -> None:
    """Parsed answers of one model beside probabilities of another would look like an effect."""
    parsed, likely = replace(ROW, method="parsed", value=0.9), replace(ROW, value=0.5)
    found = compared(tmp_path, parsed, likely, steered(EARLY, value=0.6))
    assert (cell(found, "plain", "Truth")["ours"], cell(found, "early", "Truth")["ours"]) == (0.5, 0.6)


def test_rows_of_a_fine_tuning_run_stand_in_their_own_rows(tmp_path: Path) -> None:
    rows = [
        ROW,
        *(replace(ROW, vector=f"{who}:truthfulqa", value=value) for who, value in (("full", 0.6), ("lora", 0.5))),
    ]
    found = compared(tmp_path, *rows)
    assert [cell(found, who, "Truth")["ours"] for who in ("plain", "full", "lora")] == [0.4, 0.6, 0.5]


def cell(found: Comparison, who: str, column: str, *, table: int = 1) -> dict[str, Any]:
    (one,) = [one for one in found.cells if (one.cell.table, one.cell.who, one.cell.column) == (table, who, column)]
    return one.as_row()


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


def test_a_plain_row_stands_beside_the_tuned_model_with_interval_and_n(tmp_path: Path) -> None:
    found = compared(tmp_path, ROW)
    line = cell(found, "plain", "Truth")
    assert (line["paper"], line["ours"], line["lower"], line["upper"], line["n"]) == (0.3931, 0.4, 0.35, 0.45, 407)
    assert line["paper in our interval"] == "yes"
    assert line["ours is"] == f"truthfulqa/test truth by judge of {CHAT} (published)"


def test_a_value_outside_and_one_without_interval_are_told_apart(tmp_path: Path) -> None:
    outside = compared(tmp_path, replace(ROW, lower=0.395))
    assert cell(outside, "plain", "Truth")["paper in our interval"] == "no"
    none = compared(tmp_path, replace(ROW, lower=math.nan, upper=math.nan))
    assert cell(none, "plain", "Truth")["paper in our interval"] == "no interval"


def test_vectors_go_to_the_row_of_their_source_and_the_table_of_their_contrast(tmp_path: Path) -> None:
    found = compared(
        tmp_path,
        steered(EARLY, value=0.7),
        steered(CHAT, value=0.6),
        steered(EARLY, contrast="fairness/published", dataset="stereoset/test", quantity="accuracy", value=0.58),
    )
    assert cell(found, "early", "Truth")["ours"] == 0.7
    assert cell(found, "own", "Truth")["ours"] == 0.6
    assert cell(found, "early", "StereoSet", table=2)["ours"] == 0.58
    assert cell(found, "early", "StereoSet")["ours"] is None


def test_of_several_sources_ckpt_179_stands_in_its_row_and_else_the_one_in_the_middle(tmp_path: Path) -> None:
    sources = [steered(f"LLM360--Amber@ckpt_{step}", value=step / 1000) for step in (119, 149, 239)]
    assert cell(compared(tmp_path, *sources), "early", "Truth")["ours"] == 0.149
    assert cell(compared(tmp_path, *sources, steered(EARLY, value=0.9)), "early", "Truth")["ours"] == 0.9


def test_controls_and_the_development_half_stand_nowhere(tmp_path: Path) -> None:
    found = compared(
        tmp_path, replace(ROW, dataset="truthfulqa/development"), steered(EARLY, role="control", value=0.9)
    )
    assert found.rows() == []


def test_both_arcs_stand_beside_the_one_that_the_paper_does_not_name(tmp_path: Path) -> None:
    found = compared(
        tmp_path,
        replace(ROW, dataset="arc_easy/test", quantity="accuracy", value=0.7),
        replace(ROW, dataset="arc_challenge/test", quantity="accuracy", value=0.4),
    )
    values = [one.as_row()["ours"] for one in found.cells if one.cell.column == "ARC" and one.cell.who == "plain"]
    assert values == [0.7, 0.4]


def test_a_run_can_be_said_to_be_the_fine_tuned_models(tmp_path: Path) -> None:
    found = compared(tmp_path, ROW, as_="lora=")
    assert cell(found, "lora", "Truth")["ours"] == 0.4
    assert cell(found, "plain", "Truth")["ours"] is None


def test_missing_cells_are_listed_and_never_filled(tmp_path: Path) -> None:
    found = compared(tmp_path, ROW)
    assert len(found.rows()) == 1
    assert "table 1, LoRA: Truth, Info, Truth*Info, ARC" in "\n".join(found.missing)
    assert "* table 2, AmberChat: StereoSet" in found.as_markdown()
    lines = list(csv.DictReader(io.StringIO(found.as_csv())))
    assert [line["paper in our interval"] for line in lines].count("missing") == len(lines) - 1


def test_another_model_is_said_to_be_another_model(tmp_path: Path) -> None:
    assert compared(tmp_path, ROW).is_the_same_model
    page = compared(tmp_path, replace(ROW, checkpoint="desk@step_10")).as_markdown()
    assert "another model (desk)" in page
    assert "| 407 | another model |" in page
    assert "neither the number of items nor an interval" in page


def test_ranges_of_accuracies_are_over_blocks_and_trained_checkpoints(tmp_path: Path) -> None:
    rows = [probed(0, 0, 0.5), probed(3, 0, 0.6), probed(3, 9, 0.8)]
    beyond = [probed(3, 0, 0.1, role="control"), replace(probed(3, 0, 0.2), site="embed")]
    line = compared(tmp_path, *rows, *beyond).ranges[0]
    assert (line["paper"], line["ours"]) == ("0.55 to 0.85", "0.50 to 0.80")
    assert line["share of ours in the paper's range"] == pytest.approx(2 / 3)
    assert compared(tmp_path, *rows).ranges[1]["ours"] == "missing"


def test_findings_are_told_beside_what_the_run_says(tmp_path: Path) -> None:
    curve = [probed(block, step, 0.5 + block / 10 + step / 100) for block in (0, 2, 1) for step in (0, 9)]
    where, when, *others = compared(tmp_path, *curve).findings
    assert where["ours"] == "Highest on average at block 2 of 3 (0.745); 0.545 at block 0."
    assert when["ours"].startswith("Mean over blocks and data sets 0.600 at step 0, highest 0.690 at step 9")
    assert [one["ours"] for one in others] == ["missing"] * 3


def test_the_strength_of_figure_4_is_read_off_the_half_where_all_are_tried(tmp_path: Path) -> None:
    dev = {"dataset": "toxigen/development", "quantity": "toxic"}
    cost = {"dataset": "lambada/development", "quantity": "perplexity"}
    rows = [replace(ROW, **dev, value=0.1), replace(ROW, **cost, value=4.5)]
    rows += [steered(EARLY, alpha=alpha, value=0.1 - alpha / 10, **dev) for alpha in (0.5, 1.0)]
    rows += [steered(EARLY, alpha=0.5, value=4.6, **cost)]
    said = compared(tmp_path, *rows).findings[-1]["ours"]
    assert said == "0.100 to 0.050 at alpha 0.5, block_18 (perplexity 4.50 to 4.60)"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no table of measurements"):
        compare([str(tmp_path)])
    with pytest.raises(ConfigError, match="'mine' is no row of the paper's tables"):
        compare([f"mine={tmp_path}"])
