"""The command line from end to end, as a user drives it: in processes of their own, twice, killed, and with bad input."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.running import in_a_shell, started, trustrace
from trustrace.models import tiny

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shortened demo, run once."""
    out = tmp_path_factory.mktemp("demo") / "run"
    in_a_shell("demo", "--quick", "--out", out, "--device", "cpu")
    return out


def test_the_demo_ends_with_a_report_on_all_five_dimensions(demo: Path) -> None:
    table = pq.read_table(demo / "trace" / "measurements.parquet")
    dimensions = {name.partition("/")[0] for name in table["dataset"].to_pylist()}
    assert dimensions == {"reliability", "toxicity", "privacy", "fairness", "robustness"}
    assert {"measured", "floor", "control"} <= set(table["role"].to_pylist())
    page = (demo / "trace" / "report" / "index.html").read_text("utf-8")
    assert all(dimension in page.lower() for dimension in dimensions)
    assert list((demo / "trace" / "report" / "figures").glob("*.pdf"))


def test_the_demo_measures_the_information_plane_and_judges_its_courses(demo: Path) -> None:
    table = pq.read_table(demo / "trace" / "measurements.parquet").to_pylist()
    for name in ("I(T;X)", "I(T;X_embedding)", "I(T;X_tokens)", "I(T;Y)"):
        roles = {row["role"] for row in table if row["quantity"] == name and row["method"] == "nhsic_50"}
        assert {"measured", "null", "control"} <= roles
    shapes = [row for row in table if row["quantity"] == "I(T;X) shape"]
    last = max(row["step"] for row in table if row["step"] is not None)
    assert {row["step"] for row in shapes} == {last}
    # Three checkpoints have no shape to speak of, and say so.
    assert all("4 are needed" in row["note"] for row in shapes)
    assert "Information plane" in (demo / "trace" / "report" / "index.html").read_text("utf-8")
    assert list((demo / "trace" / "report" / "figures").glob("plane_*.png"))


def test_a_second_demo_does_nothing_again(demo: Path) -> None:
    before = stamps(demo)
    trustrace("demo", "--quick", "--out", demo, "--device", "cpu")
    assert stamps(demo) == before


def stamps(run: Path) -> dict[Path, tuple[int, bytes]]:
    """When each unit and each checkpoint was written, and the bytes of the table."""
    kept = [*(run / "trace" / "units").glob("*/*"), *(run / "pretrain" / "checkpoints").glob("*/*")]
    return {path: (path.stat().st_mtime_ns, b"") for path in kept} | {
        run: (0, (run / "trace" / "measurements.parquet").read_bytes())
    }


def test_status_says_that_the_demo_is_finished(demo: Path) -> None:
    assert "0 failed" in trustrace("status", demo / "trace")


def test_the_demos_checkpoints_are_listed_with_their_tokens(demo: Path) -> None:
    listing = trustrace("checkpoints", "list", demo / "pretrain")
    assert "step_0000000" in listing
    assert "tokens_seen" in listing


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints of a tiny model, and a study of them on a small dataset of a user's own."""
    folder = tmp_path_factory.mktemp("series")
    tiny.save_series(folder, "llama", steps=[0, 1, 2])
    words = random.Random(0)
    rows = [
        (
            f"{words.choice('abcdefgh')}{i} is a {'cat' if i % 2 else 'dog'} of {words.choice('xyz')}",
            i % 2,
            f"g{i // 2}",
        )
        for i in range(80)
    ]
    lines = ["statement,label,group", *(f"{text},{label},{group}" for text, label, group in rows)]
    for name in ("one", "two"):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (folder / "study.yaml").write_text(
        f"""
name: tiny series
checkpoints: {{source: {folder / "checkpoints"}}}
datasets:
  - {{name: one, path: {folder / "one.csv"}}}
  - {{name: two, path: {folder / "two.csv"}}}
sites: [block_1, final_norm]
protocols: [rigorous, published]
probing: {{folds: 3, bootstrap_draws: 100}}
information: {{widths: [50], max_statements: 48}}
"""
    )
    return folder


@pytest.fixture(scope="module")
def undisturbed(series: Path) -> Path:
    run = series / "undisturbed"
    told = trustrace("trace", series / "study.yaml", "--out", run, "--device", "cpu")
    assert "10 of 10 units finished, 0 failed" in told
    assert not (run / "live").exists()
    return run


def test_a_trace_that_is_killed_goes_on_and_ends_with_the_same_table_byte_for_byte(
    series: Path, undisturbed: Path
) -> None:
    run = series / "killed"
    n_units = len(list((undisturbed / "units").iterdir()))
    process = started("trace", series / "study.yaml", "--out", run, "--device", "cpu")
    while process.is_alive() and len(list(run.glob("units/[!.]*"))) < n_units / 2:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not (run / "measurements.parquet").exists(), "killed too late to test anything"
    kept = {path: path.stat().st_mtime_ns for path in run.glob("units/[!.]*")}
    trustrace("trace", series / "study.yaml", "--out", run, "--device", "cpu")
    assert (run / "measurements.parquet").read_bytes() == (undisturbed / "measurements.parquet").read_bytes()
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in run.glob("units/*")}.items()
    assert not list(run.glob(".scratch-*"))


def test_the_plan_counts_what_is_open_and_what_is_done(series: Path, undisturbed: Path) -> None:
    assert "10, of which 10 are open" in trustrace("plan", series / "study.yaml", "--device", "cpu")
    assert "10, of which 0 are open" in trustrace(
        "plan", series / "study.yaml", "--out", undisturbed, "--device", "cpu"
    )


def test_a_damaged_checkpoint_is_named_the_others_go_on_and_the_code_says_so(
    series: Path, undisturbed: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "checkpoints"
    subprocess.run(["cp", "-r", str(series / "checkpoints"), str(broken)], check=True)
    weights = broken / "step_0000001" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    study = tmp_path / "study.yaml"
    study.write_text((series / "study.yaml").read_text().replace(str(series / "checkpoints"), str(broken)))
    told = trustrace("trace", study, "--out", tmp_path / "run", "--device", "cpu", code=3)
    assert "step_0000001" in told
    measured = set(pq.read_table(tmp_path / "run" / "measurements.parquet")["checkpoint"].to_pylist())
    assert any("step_0000002" in key for key in measured)
    assert not any("step_0000001" in key for key in measured)
    trustrace("status", tmp_path / "run", code=3)
    assert "failed" in (Path(trustrace("report", tmp_path / "run").split("report: ")[1].strip()).read_text("utf-8"))


def test_captured_activations_are_measured_from_their_file(series: Path, tmp_path: Path) -> None:
    file = tmp_path / "acts.safetensors"
    told = trustrace(
        "capture", series / "checkpoints", "--dataset", series / "one.csv", "--out", file, "--device", "cpu", "--check"
    )
    assert "batched equals one at a time" in told
    table = tmp_path / "table.parquet"
    trustrace("measure", file, series / "one.csv", "--out", table, "--protocol", "published", "--protocol", "rigorous")
    rows = pq.read_table(table)
    assert set(rows["protocol"].to_pylist()) == {"published", "rigorous"}
    assert "final_norm" in rows["site"].to_pylist()
    assert {"I(T;X)", "I(T;X_tokens)", "I(T;Y)"} <= set(rows["quantity"].to_pylist())


def test_the_inputs_of_activations_are_brought_as_a_file(series: Path, tmp_path: Path) -> None:
    source, statements = series / "checkpoints", series / "one.csv"
    acts, inputs, table = tmp_path / "acts.safetensors", tmp_path / "inputs.safetensors", tmp_path / "t.parquet"
    common = ("capture", source, "--dataset", statements, "--device", "cpu")
    trustrace(*common, "--out", acts)
    trustrace(*common, "--site", "embed", "--position", "mean", "--out", inputs)
    told = trustrace("measure", acts, statements, "--inputs", inputs, "--out", table)
    assert "dependence" in told
    assert "I(T;X_embedding)" in pq.read_table(table)["quantity"].to_pylist()
    trustrace("measure", acts, statements, "--no-information", "--out", table)
    assert "I(T;Y)" not in pq.read_table(table)["quantity"].to_pylist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trace", "absent.yaml", "--out", "run"], "no such study file"),
        (["datasets", "show", "reliabilty/world"], "did you mean 'reliability/world'"),
        (["datasets", "audit", "nothing.csv"], "nothing.csv"),
        (["checkpoints", "list", "no-such-folder-or-repository"], "no-such-folder-or-repository"),
        (["report", "."], "no table of measurements"),
        (["status", "."], "no run here"),
        (["measure", "absent.safetensors", "absent.csv", "--out", "t.parquet"], "does not exist"),
        (["datasets", "export", "reliability/world", "--out", "x.xlsx"], "x.xlsx"),
        (["pretrain", "absent.yaml", "--out", "run"], "no such study file"),
    ],
)
def test_a_mistake_is_one_message_without_a_traceback(arguments: list[str], message: str, tmp_path: Path) -> None:
    run = in_a_shell if arguments[0] == "trace" else trustrace
    # The code of a run that is not there is another one.
    code = 3 if {"report", "status"} & set(arguments) else 2
    said = run(*arguments, code=code, cwd=tmp_path)
    assert message in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_last_checkpoint_that_cannot_be_read_stops_what_needs_its_embedding_and_says_the_way_out(
    series: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "checkpoints"
    subprocess.run(["cp", "-r", str(series / "checkpoints"), str(broken)], check=True)
    weights = broken / "step_0000002" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    study = tmp_path / "study.yaml"
    text = (series / "study.yaml").read_text().replace(str(series / "checkpoints"), str(broken))
    study.write_text(text)
    told = trustrace("trace", study, "--out", tmp_path / "run", "--device", "cpu", code=3)
    assert "the last checkpoint" in told
    assert "information: null" in told
    study.write_text(text + "information: null\n")
    trustrace("trace", study, "--out", tmp_path / "without", "--device", "cpu", code=3)
    measured = set(pq.read_table(tmp_path / "without" / "measurements.parquet")["checkpoint"].to_pylist())
    assert any("step_0000001" in key for key in measured)


def test_another_study_in_the_same_folder_is_refused_and_nothing_is_touched(
    series: Path, undisturbed: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text((series / "study.yaml").read_text() + "seed: 1\n")
    before = (undisturbed / "measurements.parquet").read_bytes()
    assert "another study" in trustrace("trace", other, "--out", undisturbed, "--device", "cpu", code=3)
    assert (undisturbed / "measurements.parquet").read_bytes() == before


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(series: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = series / "interrupted"
    said = tmp_path / "said"
    process = started("trace", series / "study.yaml", "--out", run, "--device", "cpu", said=str(said))
    while process.is_alive() and len(list(run.glob("units/[!.]*"))) < 4:
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    assert "goes on from there" in said.read_text()
    trustrace("trace", series / "study.yaml", "--out", run, "--device", "cpu")
    assert (run / "measurements.parquet").read_bytes() == (undisturbed / "measurements.parquet").read_bytes()


def test_help_lists_every_command() -> None:
    told = trustrace("--help")
    names = ("demo", "pretrain", "trace", "plan", "status", "report", "capture", "measure", "datasets", "checkpoints")
    assert all(name in told for name in names)
