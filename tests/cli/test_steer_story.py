"""Steering from the command line, end to end: vectors, one vector on one model, a study, twice, and with bad input."""

import random
import sys
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.cli.running import trustrace
from trustrace.cli.app import app
from trustrace.cli.entry import main
from trustrace.core.errors import TrustraceError
from trustrace.models import tiny

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of a tiny model, a tuned one, statements, a text, and a study of them."""
    folder = tmp_path_factory.mktemp("story")
    tiny.save_series(folder / "series", "llama", steps=[0, 1])
    tiny.save(folder / "tuned", "llama", seed=9)
    words = random.Random(0)
    lines = [
        f"{words.choice('abcdefgh')}{row} is a {'cat' if row % 2 else 'dog'},{row % 2},g{row // 2}" for row in range(60)
    ]
    (folder / "pets.csv").write_text("\n".join(["statement,label,group", *lines]) + "\n")
    (folder / "prose.txt").write_text("It was a long way to the sea, and nobody spoke. " * 24)
    (folder / "study.yaml").write_text(
        f"""
study: steer
name: tiny
sources: {{source: {folder / "series"}}}
targets: [{folder / "tuned"}]
contrasts:
- dataset: {{name: pets, path: {folder / "pets.csv"}}}
  task: {{name: world_text, limit: 2}}
  quantity: perplexity
  instruction: "Read well. "
sites: [block_0, block_1]
alphas: [-0.2, 0.2]
random_controls: 1
perplexity: {{task: {{name: world_text, limit: 2}}, ratio: null}}
general: [{{name: text, path: {folder / "prose.txt"}}}]
"""
    )
    return folder


def in_process(*arguments: object) -> str:
    """What a command says, without starting another Python; an error of ours is raised."""
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(answer.exception, TrustraceError):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.fixture(scope="module")
def vectors(folder: Path) -> Path:
    out = folder / "vectors"
    asked = ("--dataset", folder / "pets.csv", "--select", "all", "--site", "block_1", "--draws", 10, "--device", "cpu")
    said = in_process("vectors", "build", folder / "series", *asked, "--out", out)
    assert "6 vectors of pets from 2 checkpoints" in said
    return out


@pytest.fixture(scope="module")
def vector(vectors: Path) -> Path:
    return next(vectors.glob("mass_mean*step_0000001*.safetensors"))


def test_vectors_are_shown_and_compared(vectors: Path, vector: Path) -> None:
    assert "mass_mean:pets@series@step_0000001:block_1" in in_process("vectors", "show", vector)
    assert "cosine" in in_process("vectors", "compare", vectors)


def test_a_model_is_evaluated_as_it_is_and_steered(folder: Path, vector: Path) -> None:
    tasks = ("--task", f"world_text,text:{folder / 'prose.txt'}", "--limit", 200, "--device", "cpu")
    plain = in_process(
        "evaluate", folder / "tuned", "--task", "world_text", "--limit", 2, "--device", "cpu", "--out", folder / "plain"
    )
    assert "perplexity" in plain
    steered = ("--vector", vector, "--alpha", "1.5", "--alpha", "-1.5", "--layer", 0)
    said = in_process(
        "evaluate", folder / "tuned", *tasks[:2], "--limit", 2, "--device", "cpu", *steered, "--out", folder / "steered"
    )
    assert "perplexity_change" in said
    assert "-1.5" in said
    rows = pq.read_table(folder / "steered" / "measurements.parquet").to_pylist()
    assert {(row["site"], row["alpha"]) for row in rows} == {("", 0.0), ("block_0", 1.5), ("block_0", -1.5)}
    before = {path: path.stat().st_mtime_ns for path in (folder / "steered" / "units").glob("*/*")}
    again = in_process(
        "evaluate", folder / "tuned", *tasks[:2], "--limit", 2, "--device", "cpu", *steered, "--out", folder / "steered"
    )
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "steered" / "units").glob("*/*")}
    assert "perplexity_change" in again


def test_a_study_is_done_once(folder: Path) -> None:
    run = folder / "run"
    said = trustrace("steer", folder / "study.yaml", "--out", run, "--device", "cpu")
    assert "measurements.parquet" in said
    rows = pq.read_table(run / "measurements.parquet").to_pylist()
    tested = [row for row in rows if row["dataset"] == "world_text/test" and row["quantity"] == "perplexity"]
    assert {row["vector"].partition("@")[0] for row in tested} == {
        "", "mass_mean:pets", "random_0:pets", "instruction:pets"
    }  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in (run / "units").glob("*/*")}
    table = (run / "measurements.parquet").read_bytes()
    in_process("steer", folder / "study.yaml", "--out", run, "--device", "cpu")
    assert before == {path: path.stat().st_mtime_ns for path in (run / "units").glob("*/*")}
    assert (run / "measurements.parquet").read_bytes() == table
    assert "0 failed" in in_process("status", run)


def test_judges_and_classifiers_say_what_they_take() -> None:
    assert all(word in in_process("judge", "--help") for word in ("train", "check"))
    assert all(word in in_process("toxicity", "--help") for word in ("train", "check"))
    assert all(word in in_process("evaluate", "--help") for word in ("--vector", "--alpha", "--positions", "--task"))
    assert "development" in in_process("steer", "--help")


MISTAKES: list[tuple[list[str], str]] = [
    (["--task", ""], "no tasks"),
    (["--task", "lambda"], "did you mean 'lambada'"),
    (["--task", "toxigen"], "toxigen needs `classifier`"),
    (["--task", "text"], "text needs `path`"),
    (["--task", "text:gone.txt"], "gone.txt cannot be read"),
    (["--task", "world_text,world_text"], "given twice"),
    (["--task", "truthfulqa", "--truth", "gone"], "gone is no judge"),
    (["--task", "world_text", "--vector", "VECTOR"], "--vector and --alpha go together"),
    (["--task", "world_text", "--alpha", "1"], "--vector and --alpha go together"),
    (["--task", "world_text", "--vector", "VECTOR", "--alpha", "nan"], "must be finite"),
    (["--task", "world_text", "--vector", "VECTOR", "--alpha", "inf"], "must be finite"),
    (["--task", "world_text", "--vector", "VECTOR", "--alpha", "0"], "differ from 0"),
    (["--task", "world_text", "--vector", "VECTOR", "--alpha", "1", "--layer", "3"], "the model has no block_3"),
    (["--task", "world_text", "--vector", "VECTOR", "--alpha", "1", "--positions", "here"], "unknown positions"),
    (["--task", "world_text", "--vector", "gone.safetensors", "--alpha", "1"], "does not exist"),
    (["--task", "world_text", "--vector", "FOLDER", "--alpha", "1"], "name the file of one"),
    (["--task", "world_text", "--vector", "v.pt", "--alpha", "1"], "may hold a pickle"),
    (["--task", "world_text", "--revision", "step9"], "no checkpoint 'step9'"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_in_an_evaluation_is_one_error_and_nothing_is_written(
    folder: Path, vector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.pt").write_bytes(b"\x80\x04.")
    named = {"VECTOR": str(vector), "FOLDER": str(vector.parent)}
    given = [named.get(argument, argument) for argument in arguments]
    with pytest.raises(TrustraceError) as refused:
        in_process("evaluate", folder / "tuned", *given, "--device", "cpu", "--out", tmp_path / "run")
    assert message in str(refused.value)
    assert refused.value.exit_code == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("alphas: [-0.2, 0.2]", "alphas: [.nan]", "finite number"),
        ("alphas: [-0.2, 0.2]", "alphas: [.inf, 1]", "finite number"),
        ("alphas: [-0.2, 0.2]", "alphas: [0]", "differ from 0"),
        ("alphas: [-0.2, 0.2]", "alphas: strong", "alphas"),
        ("sites: [block_0, block_1]", "sites: [block_9]", "block_9"),
        ("sites:", "site:", "did you mean 'sites'"),
        ("quantity: perplexity", "quantity: perplexty", "gives no 'perplexty'"),
        ("random_controls: 1", "random_controls: -1", "random_controls"),
        ("ratio: null", "ratio: .inf", "ratio"),
        ("name: text, path", "name: text, file", "general.0.file: unknown key"),
    ],
)
def test_a_mistake_in_a_study_is_one_error_and_nothing_is_written(
    folder: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (folder / "study.yaml").read_text()
    assert old in text
    (tmp_path / "study.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(TrustraceError) as refused:
        in_process("steer", tmp_path / "study.yaml", "--device", "cpu", "--out", tmp_path / "run")
    assert message in str(refused.value)
    assert refused.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_a_mistake_ends_the_program_with_one_line_and_its_own_code(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(
        sys, "argv", ["trustrace", "evaluate", str(folder / "tuned"), "--task", "lambda", "--out", "run"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("error: no task 'lambda'; did you mean 'lambada'?")
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_run_of_another_study_is_left_alone(folder: Path, tmp_path: Path) -> None:
    in_process(
        "evaluate", folder / "tuned", "--task", "world_text", "--limit", 1, "--device", "cpu", "--out", tmp_path / "run"
    )
    table = (tmp_path / "run" / "measurements.parquet").read_bytes()
    with pytest.raises(TrustraceError, match="another study") as refused:
        in_process("steer", folder / "study.yaml", "--device", "cpu", "--out", tmp_path / "run")
    assert refused.value.exit_code == 3
    assert (tmp_path / "run" / "measurements.parquet").read_bytes() == table
