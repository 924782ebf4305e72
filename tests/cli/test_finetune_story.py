"""Fine-tuning from the command line, end to end: a plan, a study killed between units and resumed, its place beside others."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.running import command
from tests.cli.test_steer_story import in_process
from trustrace.core.errors import TrustraceError
from trustrace.models import tiny

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("story")
    tiny.save_series(folder / "series", "llama", steps=[0, 1])
    rows = [{"prompt": f"{place} is a", "answer": "dog" if place % 2 else "cat"} for place in range(20)]
    (folder / "told.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "study.yaml").write_text(
        f"""
study: finetune
name: tiny
models: [{{source: {folder / "series"}, select: all}}]
data: [{{kind: instructions, path: {folder / "told.jsonl"}}}]
methods: [full, {{method: lora, rank: 2, target_modules: [q_proj, v_proj]}}]
recipe: {{steps: 6, batch: 4, check_every: 3, held_out: 0.3, optimizer: {{learning_rate: 0.01, warmup_steps: 2}}}}
tasks: [{{name: world_text, limit: 2}}]
perplexity: {{name: world_text, limit: 2}}
"""
    )
    return folder


def test_a_study_that_was_killed_goes_on_and_lies_beside_others(folder: Path) -> None:
    run = folder / "run"
    assert "tunings" in in_process("plan", folder / "study.yaml", "--device", "cpu")
    arguments = ("finetune", folder / "study.yaml", "--out", run, "--device", "cpu")
    started = subprocess.Popen(
        command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not list(run.glob("units/tune-*/record.json")) and time.monotonic() < deadline and started.poll() is None:
        time.sleep(0.01)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    done = {path: path.stat().st_mtime_ns for path in run.glob("units/*/*")}
    assert done
    said = in_process(*arguments)
    assert "tuned models" in said
    after = {path: path.stat().st_mtime_ns for path in run.glob("units/*/*")}
    assert done.items() <= after.items()
    rows = pq.read_table(run / "measurements.parquet").to_pylist()
    tested = [row["vector"] for row in rows if row["quantity"] == "perplexity"]
    assert tested == ["", "full:instructions", "lora:instructions"] * 2
    assert "10 of 10 units finished, 0 failed" in in_process("status", run)
    table = (run / "measurements.parquet").read_bytes()
    in_process(*arguments)
    assert (run / "measurements.parquet").read_bytes() == table
    said = in_process("compare", run, "--out", folder / "beside", "--quantity", "perplexity")
    assert "comparison.csv" in said
    assert "index.html" in in_process("report", run)
    assert "lora:instructions" in (run / "report" / "index.html").read_text("utf-8")
    assert "lora:instructions" in (folder / "beside" / "comparison.md").read_text("utf-8")


def test_an_adapter_is_a_model_to_every_command(folder: Path, tmp_path: Path) -> None:
    run = folder / "run"
    if not run.exists():
        in_process("finetune", folder / "study.yaml", "--out", run, "--device", "cpu")
    (adapter,) = run.glob("tuned/tune-series@step_0000001-*lora*")
    listed = in_process("checkpoints", "list", adapter)
    assert "1 checkpoint" in listed.replace("\n", "")
    said = in_process(
        "evaluate", adapter, "--task", "world_text", "--limit", 2, "--device", "cpu", "--out", tmp_path / "e"
    )
    rows = pq.read_table(run / "measurements.parquet").to_pylist()
    (row,) = [
        row
        for row in rows
        if row["vector"] == "lora:instructions" and row["quantity"] == "perplexity" and row["step"] == 1
    ]
    assert f"{row['value']:.4g}" in said
    (tmp_path / "pets.csv").write_text(
        "statement,label,group\n"
        + "".join(f"{row} is a {'cat' if row % 2 else 'dog'},{row % 2},g{row // 2}\n" for row in range(24))
    )
    captured = in_process(
        "capture", adapter, "--dataset", tmp_path / "pets.csv", "--out", tmp_path / "a.safetensors", "--device", "cpu"
    )
    assert "24 statements" in captured


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rank: 2", "rank: 0", "rank"),
        ("rank: 2", "rnk: 2", "did you mean 'rank'"),
        ("kind: instructions", "kind: instruction", "instructions"),
        ("told.jsonl", "gone.jsonl", "no such file"),
        ("[q_proj, v_proj]", "[]", "target_modules"),
        ("held_out: 0.3", "held_out: 0", "held_out"),
    ],
)
def test_a_mistake_in_a_study_is_one_error_and_nothing_is_written(
    folder: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (folder / "study.yaml").read_text()
    assert old in text
    (tmp_path / "study.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(TrustraceError) as refused:
        in_process("finetune", tmp_path / "study.yaml", "--device", "cpu", "--out", tmp_path / "run")
    assert message in str(refused.value)
    assert not (tmp_path / "run").exists()
