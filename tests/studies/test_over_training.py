import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.report.test_page import Document
from tests.studies.small_studies import SETTINGS, pets
from trustrace.core.errors import RunError
from trustrace.measures.over_training.config import OverTrainingConfig
from trustrace.models import tiny
from trustrace.report.page import write_report
from trustrace.studies.config import TraceConfig
from trustrace.studies.course_tables import emergences
from trustrace.studies.over_training import run_dynamics
from trustrace.studies.trace import run_trace

OVER = OverTrainingConfig(
    exchanges=199, null_draws=59, influence_blocks=20, matrix_draws=100, blocks=4, halvings=1, rank=2, hardest=3
)


def traced(folder: Path, *, steps: tuple[int, ...] = (0, 1, 2, 4)) -> Path:
    """A finished trace of a series of tiny models on two small datasets."""
    tiny.save_series(folder / "series", "llama", steps=steps)
    study = TraceConfig.read(
        {
            "name": "small",
            "checkpoints": {"source": str(folder / "series")},
            "datasets": [
                {"name": "pets", "path": str(pets(folder / "pets.csv"))},
                {"name": "more pets", "path": str(pets(folder / "more.csv", seed=1, wrong=0.2))},
            ],
            "sites": ["block_0", "block_1"],
            "random_init_seeds": [],
            "information": None,
            "probing": {"folds": 3, "regularisers": [0.01, 1.0], "bootstrap_draws": 100},
        },
        where="study.yaml",
    )
    run_trace(study, out=folder / "run", settings=SETTINGS)
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace whose checkpoints are compared."""
    folder = traced(tmp_path_factory.mktemp("dynamics"))
    run_dynamics(folder, settings=SETTINGS, over=OVER)
    return folder


def test_every_comparison_is_in_the_table_and_the_trace_keeps_its_own(run: Path) -> None:
    rows = pq.read_table(run / "dynamics.parquet").to_pylist()
    found = {row["quantity"] for row in rows}
    assert {"transfer accuracy", "direction cosine corrected", "subspace angle", "accuracy change q"} <= found
    assert {"noise tolerance", "forgettings", "accuracy emergence step", "accuracy emergence level"} <= found
    assert {row["dataset"] for row in rows} == {"pets", "more pets"}
    assert {row["site"] for row in rows} == {"block_0", "block_1"}
    assert "transfer accuracy" not in pq.read_table(run / "measurements.parquet")["quantity"].to_pylist()


def test_every_pair_has_its_null_in_the_table_and_in_a_file_of_one_row_a_pair(run: Path) -> None:
    with (run / "transfer.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))
    rows = pq.read_table(run / "dynamics.parquet").to_pylist()
    areas = [row for row in rows if row["quantity"] == "transfer auroc" and row["method"].startswith("logistic own ")]
    assert len(pairs) == len(areas) == 2 * (2 * 4 * 4 + 2 * 2) + 2 * 2 * 2
    known = [one for one in pairs if one["p"] not in ("", "nan")]
    assert len(known) == 2 * (2 * 4 * 4 + 2 * 2) + 2 * 2, "all but the pairs of datasets, which have too few rows left"
    for one in known:
        assert float(one["null_low"]) < 0.5 < float(one["null_high"])
        assert 0 < float(one["p"]) <= float(one["q"]) + 1e-12 <= 1 + 1e-12
    assert {row["role"] for row in rows if row["quantity"] == "transfer auroc null"} == {"null"}


def test_accuracies_on_the_diagonal_are_those_that_the_trace_measured(run: Path) -> None:
    traced_rows = {
        (row["dataset"], row["site"], row["checkpoint"]): (row["value"], row["lower"], row["upper"])
        for row in pq.read_table(run / "measurements.parquet").to_pylist()
        if (row["quantity"], row["method"], row["role"]) == ("accuracy", "logistic", "measured")
    }
    diagonal = [
        row
        for row in pq.read_table(run / "dynamics.parquet").to_pylist()
        if row["quantity"] == "transfer accuracy" and row["method"] == f"logistic own from {row['checkpoint']}"
    ]
    assert len(diagonal) == 2 * 2 * 4
    for row in diagonal:
        expected = traced_rows[(row["dataset"], row["site"], row["checkpoint"])]
        assert (row["value"], row["lower"], row["upper"]) == pytest.approx(expected)


def test_each_dataset_is_read_with_the_probe_of_the_other(run: Path) -> None:
    rows = pq.read_table(run / "dynamics.parquet").to_pylist()
    crossed = [row for row in rows if row["dataset"] == "pets" and row["method"] == "logistic own from more pets"]
    assert {row["site"] for row in crossed} == {"block_0", "block_1"}
    # Both files name their groups g0, g1 ...: what shares a name is taken to share a source.
    assert all("too few rows" in row["note"] for row in crossed)


def test_what_became_of_each_statement_is_kept_with_its_text(run: Path) -> None:
    summary = json.loads((run / "dynamics.json").read_text("utf-8"))
    folder = next(run / "units" / unit for unit in summary["units"] if "-pets-" in unit and "more" not in unit)
    kept = json.loads((folder / "trajectories.json").read_text("utf-8"))
    site = kept["sites"]["block_1"]
    assert len(site["statements"]) == 48
    assert len(site["hardest"]) == 3
    assert all(" is a " in one["text"] and one["kind"] for one in site["hardest"])
    assert summary["failures"] == []
    assert len(kept["checkpoints"]) == 4


def test_a_second_call_captures_nothing_and_changes_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (run / "dynamics.parquet").read_bytes()
    monkeypatch.setattr("trustrace.studies.keeping.capture", None)
    table = run_dynamics(run, settings=SETTINGS, over=OVER)
    assert table.read_bytes() == before
    assert {row["quantity"] for row in emergences(table)} >= {"accuracy emergence level", "accuracy emergence half"}


def test_the_report_shows_what_was_compared(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trustrace.report.page.write_figures", lambda trace, folder: ())
    page = Document((write_report(run).parent / "dynamics.html").read_text("utf-8"))
    assert page.open == []
    assert [one["text"] for one in page.all("h2")][:3] == ["pets", "more pets", "Between datasets"]
    (diagonal,) = (
        row
        for row in pq.read_table(run / "dynamics.parquet").to_pylist()
        if (row["dataset"], row["site"], row["quantity"]) == ("more pets", "block_1", "transfer auroc")
        and row["method"] == f"logistic own from {row['checkpoint']}"
        and row["step"] == 4
    )
    tables = [one["text"] for one in page.all("table") if "block_1: AUROC of each checkpoint" in one["text"]]
    assert f"{diagonal['value']:.3f} [{diagonal['lower']:.3f}, {diagonal['upper']:.3f}]" in tables[1]
    hardest = [one["text"] for one in page.all("table") if "hardest statements" in one["text"]]
    assert len(hardest) == 4
    assert all(one.count(" is a ") == 3 for one in hardest)


def test_one_failed_checkpoint_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = traced(tmp_path)
    broken = sorted((tmp_path / "series").glob("checkpoints/*/*.safetensors"))[1]
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(RunError, match=r"what could be compared is in dynamics\.parquet"):
        run_dynamics(folder, settings=SETTINGS, over=OVER, sites=["block_1"])
    summary = json.loads((folder / "dynamics.json").read_text("utf-8"))
    assert len(summary["checkpoints"]) == 3
    assert len(summary["failures"]) == 1
    assert {row["site"] for row in pq.read_table(folder / "dynamics.parquet").to_pylist()} == {"block_1"}


def test_a_folder_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        run_dynamics(tmp_path, settings=SETTINGS)
    (tmp_path / "study.json").write_text('{"study": "steer"}')
    with pytest.raises(RunError, match="'steer'"):
        run_dynamics(tmp_path, settings=SETTINGS)
