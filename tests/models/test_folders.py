"""Folders of checkpoints: what is found in them, in which order, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trustrace.core.errors import CheckpointError
from trustrace.models import tiny
from trustrace.models.loading import FallbackTokenizerWarning, load
from trustrace.models.sources import CheckpointSource, open_source

Edit = Callable[..., None]


def test_a_run_is_a_series_in_order_of_training(series: Path) -> None:
    source = open_source(str(series))
    assert isinstance(source, CheckpointSource)
    assert source.name == "run"
    assert [(one.key, one.step, one.tokens_seen) for one in source.checkpoints()] == [
        ("run@step_0000000", 0, 0),
        ("run@step_0000010", 10, 10_000),
        ("run@step_0000100", 100, 100_000),
    ]
    assert {one.family for one in source.checkpoints()} == {"pretrain"}


def test_a_run_its_checkpoints_and_one_of_them_speak_of_the_same_checkpoint(series: Path) -> None:
    wanted = open_source(str(series)).checkpoints()[1]
    assert open_source(str(series / "checkpoints")).checkpoints()[1] == wanted
    assert open_source(str(series / "checkpoints" / "step_0000010")).checkpoints() == (wanted,)


def test_a_trainers_folder_is_read_by_its_state(tmp_path: Path) -> None:
    for step in (500, 1000):
        saved = tiny.save(tmp_path / "out" / f"checkpoint-{step}", "qwen2", seed=step)
        (saved / "trainer_state.json").write_text(json.dumps({"global_step": step, "num_input_tokens_seen": 0}))
    tiny.save(tmp_path / "out", "qwen2")
    source = open_source(str(tmp_path / "out"))
    assert [(one.revision, one.step, one.tokens_seen) for one in source.checkpoints()] == [
        ("checkpoint-500", 500, None),
        ("checkpoint-1000", 1000, None),
    ]
    assert source.notices == ("the checkpoint in out itself is left out, because its sub-folders are a series",)


@pytest.mark.parametrize(
    ("name", "step", "tokens"),
    [
        ("step3000", 3000, None),
        ("step1000-tokens4B", 1000, 4 * 10**9),
        ("global_step12", 12, None),
        ("late", None, None),
    ],
)
def test_names_tell_steps_where_nothing_else_does(
    name: str, step: int | None, tokens: int | None, tmp_path: Path
) -> None:
    tiny.save(tmp_path / "series" / name, "llama")
    [checkpoint] = open_source(str(tmp_path / "series")).checkpoints()
    assert (checkpoint.revision, checkpoint.step, checkpoint.tokens_seen) == (name, step, tokens)


def test_one_checkpoint_is_a_series_of_one(checkpoint: Path) -> None:
    [only] = open_source(str(checkpoint)).checkpoints()
    assert (only.model, only.revision, only.step) == ("checkpoint", "main", None)


def test_unfinished_and_foreign_folders_are_passed_over_and_broken_ones_told(series: Path, tmp_path: Path) -> None:
    run = shutil.copytree(series, tmp_path / "run")
    shutil.copytree(run / "checkpoints" / "step_0000010", run / "checkpoints" / ".step_0000200")
    (run / "checkpoints" / "logs").mkdir()
    (run / "checkpoints" / "step_0000100" / "config.json").unlink()
    source = open_source(str(run))
    assert [one.step for one in source.checkpoints()] == [0, 10]
    assert source.notices == ("step_0000100 is left out: it holds weights but no config.json",)


def test_a_commit_is_the_content_of_weights_configuration_and_tokenizer(series: Path, tmp_path: Path) -> None:
    run = shutil.copytree(series, tmp_path / "elsewhere")
    one, other = open_source(str(series)), open_source(str(run))
    commits = [one.pin(checkpoint).commit for checkpoint in one.checkpoints()]
    assert [other.pin(checkpoint).commit for checkpoint in other.checkpoints()] == commits
    assert len(set(commits)) == 3
    assert all(len(commit) == 64 for commit in commits)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_commit_changes_with_each_file_that_matters(name: str, checkpoint: Path) -> None:
    source = open_source(str(checkpoint))
    before = source.pin(source.checkpoints()[0]).commit
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[:-2] + b" " + content[-2:])
    assert source.pin(source.checkpoints()[0]).commit != before


def test_a_commit_does_not_change_with_files_that_do_not(checkpoint: Path) -> None:
    source = open_source(str(checkpoint))
    before = source.pin(source.checkpoints()[0]).commit
    (checkpoint / "trustrace.json").write_text('{"step": 3}')
    (checkpoint / "generation_config.json").unlink()
    assert source.pin(source.checkpoints()[0]).commit == before


def test_a_series_of_two_architectures_is_refused(series: Path, tmp_path: Path) -> None:
    run = shutil.copytree(series, tmp_path / "run")
    tiny.save(run / "checkpoints" / "step_0000500", "llama", d_model=16, n_blocks=2)
    with pytest.raises(
        CheckpointError,
        match=r"step_0000500 is of another architecture than step_0000000: hidden_size 16 instead of 32",
    ):
        open_source(str(run))


def test_defaults_that_only_one_version_of_transformers_wrote_make_no_other_architecture(
    series: Path, tmp_path: Path, edit: Edit
) -> None:
    run = shutil.copytree(series, tmp_path / "run")
    edit(run / "checkpoints" / "step_0000010" / "config.json", num_key_value_heads=None, transformers_version="4.28.0")
    assert len(open_source(str(run)).checkpoints()) == 3


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoints; expected a config.json in it"):
        open_source(str(tmp_path))


def test_a_file_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no such folder"):
        open_source(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("value", ["soon", -1, 1.5])
def test_a_progress_file_that_makes_no_sense_is_named(value: object, series: Path, tmp_path: Path, edit: Edit) -> None:
    run = shutil.copytree(series, tmp_path / "run")
    edit(run / "checkpoints" / "step_0000010" / "trustrace.json", step=value)
    with pytest.raises(CheckpointError, match=r"step_0000010: step is .*, expected a whole number"):
        open_source(str(run))


def test_a_configuration_that_is_cut_off_is_named(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text('{"model_type": "gpt')
    source = open_source(str(checkpoint))
    with pytest.raises(CheckpointError, match=r"config.json is not JSON"):
        load(source, source.checkpoints()[0])


def test_a_revision_of_another_source_is_refused(series: Path, checkpoint: Path) -> None:
    [foreign] = open_source(str(checkpoint)).checkpoints()
    with pytest.raises(CheckpointError, match="no checkpoint 'main'; there are: step_0000000"):
        open_source(str(series)).pin(foreign)


def test_a_series_shares_the_tokenizer_that_stands_beside_it(series: Path, tmp_path: Path) -> None:
    run = shutil.copytree(series, tmp_path / "run")
    (run / "tokenizer").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(run / "checkpoints" / "step_0000010" / name, run / "tokenizer")
        (run / "checkpoints" / "step_0000010" / name).unlink()
    source = open_source(str(run))
    with pytest.warns(
        FallbackTokenizerWarning, match=r"run@step_0000010 has no tokenizer; that of .*tokenizer is used"
    ):
        assert load(source, source.checkpoints()[1]).adds_bos


def test_a_pattern_names_the_one_folder_that_it_fits(series: Path) -> None:
    wanted = open_source(str(series)).checkpoints()[2]
    assert open_source(str(series / "checkpoints" / "*_00001*")).checkpoints() == (wanted,)


@pytest.mark.parametrize(("pattern", "found"), [("step_*", "3 folders"), ("nothing*", "none")])
def test_a_pattern_that_fits_no_folder_or_several_is_refused(pattern: str, found: str, series: Path) -> None:
    with pytest.raises(CheckpointError, match=f"this pattern fits {found}"):
        open_source(str(series / "checkpoints" / pattern))
