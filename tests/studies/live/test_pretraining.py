"""`trace:` in a pre-training file: the run is measured while it goes on, and ends with the same weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.studies.live_trainings import at_steps, measuring, same, table, traced
from trustrace.core.errors import ConfigError
from trustrace.core.progress import silent
from trustrace.studies.pretraining import PretrainStudy, read_pretrain
from trustrace.studies.settings import Settings
from trustrace.training.pretrain import pretrain

SETTINGS = Settings(device="cpu")


def file(folder: Path, trace: Any, **more: Any) -> Path:
    """A pre-training of twelve steps, saved at every fourth."""
    books = folder / "books"
    books.mkdir(exist_ok=True)
    for number in range(20):
        (books / f"{number}.txt").write_text(
            f"the {number} dogs and the {number + 1} cats went north to the old sea " * 20
        )
    values = {
        "architecture": {
            "model_type": "llama",
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 64,
            "attention_dropout": 0.1,
        },
        "corpus": {"kind": "folder", "path": str(books)},
        "tokenizer": {"kind": "bpe", "vocab_size": 300},
        "sequence_length": 16,
        "batch": 4,
        "tokens": 16 * 4 * 12,
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 2},
        "held_out": 0.2,
        "held_out_tokens": 64,
        "saves": {"dense": 0, "dense_until": 1, "every": 4},
        "trace": trace,
        **more,
    }
    path = folder / "pretrain.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return path


def run(study: PretrainStudy, out: Path, progress: Any = silent) -> Path:
    return pretrain(
        study.training,
        out=out,
        device="cpu",
        progress=progress,
        watcher=study.watcher(out=out, settings=SETTINGS),
        plots=study.plots(out=out),
    )


def events(out: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard's own reader finds, by tag and step."""
    found = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: {one.step: one.value for one in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


def weights(checkpoints: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(checkpoints / "step_0000012" / "model.safetensors"))


def test_a_traced_run_ends_with_the_same_weights_and_its_table_is_that_of_its_checkpoints(tmp_path: Path) -> None:
    asked = measuring(tmp_path, schedule={"every": 4})
    plain = weights(run(read_pretrain(file(tmp_path, None)), tmp_path / "plain"))
    found = weights(run(read_pretrain(file(tmp_path, asked)), tmp_path / "run"))
    assert all(torch.equal(plain[name], found[name]) for name in plain)
    live = table(tmp_path / "run" / "trace")
    saved = traced(tmp_path / "run", asked, out=tmp_path / "saved")
    assert [a for a, b in zip(live, saved, strict=True) if repr(a) != repr(b)] == []
    assert same(live, saved), "floors, every step, and the courses over training"
    assert {row["tokens_seen"] for row in at_steps(live, 0, 4, 8, 12)} == {0, 256, 512, 768}


def test_a_run_that_was_cut_goes_on_and_ends_with_the_same_table(tmp_path: Path) -> None:
    study = read_pretrain(file(tmp_path, measuring(tmp_path, schedule={"every": 6})))

    def cut(done: int, total: int, what: str) -> None:
        if what.startswith("steps") and done >= 8:
            raise KeyboardInterrupt

    run(study, tmp_path / "whole" / "run")
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "cut" / "run", progress=cut)
    assert {row["step"] for row in table(tmp_path / "cut" / "run" / "trace")} == {None, 0, 6}
    run(study, tmp_path / "cut" / "run")
    assert same(table(tmp_path / "cut" / "run" / "trace"), table(tmp_path / "whole" / "run" / "trace"))


def test_a_trace_may_be_a_study_of_checkpoints(tmp_path: Path) -> None:
    asked = {key: value for key, value in measuring(tmp_path).items() if key not in ("schedule", "budget")}
    study = tmp_path / "trace.yaml"
    of_checkpoints = {"study": "trace", "checkpoints": {"source": "runs/x"}, "random_init_seeds": [0, 1]}
    study.write_text(yaml.safe_dump(asked | of_checkpoints))
    named = read_pretrain(file(tmp_path, str(study))).trace
    changed = read_pretrain(file(tmp_path, {"study": str(study), "schedule": {"every": 3}, "seed": 7})).trace
    assert named is not None
    assert changed is not None
    assert (named.name, named.sites, named.budget) == ("pets", ("embed", "block_1"), 0.05)
    assert named.probing == changed.probing
    assert changed.seed == 7
    assert changed.model_dump()["schedule"] == {"every": 3}


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ({"datasets": []}, "datasets"),
        ({"datasets": ["reliability/world"], "sites": ["blok"]}, "unknown site 'blok'"),
        ("nowhere.yaml", "no such study file"),
    ],
)
def test_a_trace_that_cannot_be_is_refused_when_the_file_is_read(tmp_path: Path, trace: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_pretrain(file(tmp_path, trace))


def test_tensorboard_reads_back_the_log_and_the_scalars_of_the_trace(tmp_path: Path) -> None:
    asked = measuring(tmp_path, schedule={"every": 4})
    study = read_pretrain(file(tmp_path, asked, report_to=["tensorboard"]))
    run(study, tmp_path / "run")
    found = events(tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    for tag, key in (("train/loss", "loss"), ("train/learning_rate", "learning_rate"), ("eval/loss", "held_out_loss")):
        assert found[tag] == pytest.approx({line["step"]: line[key] for line in log if key in line}, rel=1e-6)
    assert len(found["train/loss"]) == 12
    rows = [row for row in table(tmp_path / "run" / "trace") if row["step"] is not None]
    for row in rows:
        if (row["quantity"], row["method"], row["role"]) == ("auroc", "logistic", "measured") and row["step"] == 4:
            plotted = found[f"train/trustrace/{row['dataset']}/{row['site']}/auroc"]
            assert set(plotted) == {0, 4, 8, 12}
            assert plotted[4] == pytest.approx(row["value"], rel=1e-6)
    assert any(tag.endswith("best_site") for tag in found)


def test_a_run_that_was_cut_and_goes_on_plots_each_step_once(tmp_path: Path) -> None:
    study = read_pretrain(file(tmp_path, measuring(tmp_path, schedule={"every": 6}), report_to=["tensorboard"]))

    def cut(done: int, total: int, what: str) -> None:
        if what.startswith("steps") and done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "run", progress=cut)
    assert 6 in events(tmp_path / "run")["train/loss"]
    run(study, tmp_path / "run")
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    assert [one.step for one in found.Scalars("train/loss")] == list(range(1, 13))


def test_plotting_is_no_part_of_what_a_run_is_and_changes_no_weight(tmp_path: Path) -> None:
    plain, plotted = read_pretrain(file(tmp_path, None)), read_pretrain(file(tmp_path, None, report_to=["tensorboard"]))
    assert plain.training == plotted.training
    assert plain.plots(out=tmp_path) is None
    expected, found = weights(run(plain, tmp_path / "plain")), weights(run(plotted, tmp_path / "plotted"))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not (tmp_path / "plain" / "tensorboard").exists()


def test_an_unknown_tracker_and_a_missing_package_are_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="report_to"):
        read_pretrain(file(tmp_path, None, report_to=["tensorbord"]))
    study = read_pretrain(file(tmp_path, None, report_to=["tensorboard"]))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        study.plots(out=tmp_path)
