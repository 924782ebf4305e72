"""A whole comparison: what is missing, what is of another model, what is no run, and the files that are written."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from tests.studies.paper.made_up import CHAT, EARLY, ROW, at, compared, probed, steered, write_run
from trustrace.core.errors import ConfigError, RunError
from trustrace.runs.table import as_table, write_table
from trustrace.studies.paper.compare import Comparison, compare
from trustrace.studies.paper.numbers import CLAIMS, RANGES
from trustrace.studies.paper.page import FIELDS, as_csv, as_markdown


def lines_of(found: Comparison) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(found))))


def test_missing_cells_ranges_and_claims_are_listed_and_never_filled(tmp_path: Path) -> None:
    found = compared(tmp_path, ROW)
    assert len(found.present) == 1
    page = as_markdown(found)
    assert "* table 1, LoRA: Truth, Info, Truth*Info, ARC" in page
    assert "* table 2, AmberChat: StereoSet" in page
    assert all(f"* figures 8-12, {known.dataset}" in page for known in RANGES)
    assert all(f"* {claim.where}: {claim.says}" in page for claim in CLAIMS.values())


def test_another_model_is_said_to_be_another_model(tmp_path: Path) -> None:
    same = compared(tmp_path / "same", ROW)
    assert same.is_the_same_model
    assert "other models" not in as_markdown(same)
    page = as_markdown(compared(tmp_path / "other", replace(ROW, checkpoint="desk@step_10")))
    assert "other models (desk)" in page
    assert "| 407 | another model |" in page
    assert "neither the number of items nor an interval" in page


def test_the_csv_has_every_cell_range_and_finding_with_interval_n_run_and_protocol(tmp_path: Path) -> None:
    correlated = at(0.8, wide=0.1, quantity="separation_with_truth", n=11, dataset="reliability/defined/test")
    rows = [ROW, steered(EARLY, 0.7), probed(0, 9, 0.6), probed(1, 9, 0.8), correlated]
    found = compared(tmp_path, *rows)
    lines = lines_of(found)
    assert list(lines[0]) == list(FIELDS)
    assert [line["kind"] for line in lines] == (
        ["cell"] * len(found.cells) + ["range"] * len(found.ranges) + ["finding"] * len(found.findings)
    )
    shared = {"run": str(tmp_path / "run"), "protocol": "published", "n": "407"}
    (plain,) = [line for line in lines if line["ours"] == "0.4"]
    assert plain.items() >= (shared | {"low": "0.35", "high": "0.45", "paper": "0.3931", "model": CHAT}).items()
    (span,) = [line for line in lines if line["least"]]
    assert span.items() >= (shared | {"least": "0.6", "greatest": "0.8", "low": "0.5499999999999999"}).items()
    assert (
        span.items()
        >= {"paper_low": "0.55", "paper_high": "0.85", "share": "1.0", "high": "0.8500000000000001"}.items()
    )
    (told,) = [line for line in lines if line["where"] == "figure 5"]
    assert (
        told.items() >= (shared | {"n": "11", "ours": "0.8", "low": "0.7000000000000001", "verdict": "agrees"}).items()
    )
    assert told["says"].startswith("Pearson's r")


def test_what_is_missing_is_empty_in_the_csv(tmp_path: Path) -> None:
    lines = lines_of(compared(tmp_path, ROW))
    missing = [line for line in lines if line["verdict"] == "missing"]
    assert len(missing) == len(lines) - 1
    assert {line[name] for line in missing for name in ("ours", "low", "high", "n", "run")} == {""}


def test_what_is_no_run_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such folder; give a folder that trace"):
        compare([str(tmp_path / "nowhere")])
    with pytest.raises(RunError, match=r"study\.json is missing"):
        compare([str(tmp_path)])
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(RunError, match="finish the run first"):
        compare([str(tmp_path)])
    with pytest.raises(ConfigError, match="'mine' is no row of the paper's tables"):
        compare([f"mine={tmp_path}"])
    write_table(as_table([ROW]), tmp_path / "measurements.parquet")
    (tmp_path / "study.json").write_text("no json")
    with pytest.raises(RunError, match="is not JSON"):
        compare([str(tmp_path)])


def test_runs_beside_which_the_paper_has_nothing_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [replace(ROW, dataset="hellaswag/test", quantity="accuracy")])
    with pytest.raises(
        RunError, match=r"nothing stands beside the paper's tables or figures; .* hellaswag/test\. Finish"
    ):
        compare([str(folder)])
    empty = write_run(tmp_path / "empty", [])
    with pytest.raises(RunError, match="there are none"):
        compare([str(empty)])
