"""`trustrace paper compare` at the command line: what it writes, and how it ends where there is nothing to write."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.running import trustrace
from tests.studies.paper.made_up import ROW, write_run

pytestmark = pytest.mark.story


def test_a_comparison_is_printed_or_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [ROW])
    assert "# The paper's numbers and ours" in trustrace("paper", "compare", run)
    assert "numbers in cells: 1" in trustrace("paper", "compare", run, "--out", tmp_path / "deep" / "beside.csv")
    with (tmp_path / "deep" / "beside.csv").open(encoding="utf-8") as file:
        (line,) = [line for line in csv.DictReader(file) if line["run"]]
    assert (line["n"], line["low"], line["high"], line["run"]) == ("407", "0.35", "0.45", str(run))


def test_nothing_to_compare_and_no_run_end_with_an_error_and_no_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [replace(ROW, dataset="hellaswag/test")])
    said = trustrace("paper", "compare", run, "--out", tmp_path / "beside.md", code=3)
    assert "nothing stands beside the paper's tables or figures" in said
    assert not (tmp_path / "beside.md").exists()
    assert "there is no such folder" in trustrace("paper", "compare", tmp_path / "nowhere", code=3)
