"""The hub's client against a hub of our own: listing, pinning, fetching, going without."""

import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from tests.models.fake_hub import FakeHub, commit_of
from trustrace.core.errors import CheckpointError
from trustrace.models import tiny, weights
from trustrace.models.loading import FallbackTokenizerWarning, load, random_init
from trustrace.models.sources import open_source

Serve = Callable[[dict[str, dict[str, Path]]], FakeHub]
PYTHIA = "EleutherAI/pythia-70m"


@pytest.fixture
def revisions(series: Path) -> dict[str, Path]:
    folders = sorted((series / "checkpoints").iterdir())
    return {"main": folders[2], "step1000": folders[1], "step0": folders[0], "experiment": folders[0]}


def test_revisions_are_listed_in_order_of_training_and_pinned(hub: Serve, revisions: dict[str, Path]) -> None:
    hub({PYTHIA: revisions})
    checkpoints = open_source(PYTHIA).checkpoints()
    assert [(one.revision, one.step, one.tokens_seen) for one in checkpoints] == [
        ("step0", 0, 0),
        ("step1000", 1000, 2_097_152_000),
        ("main", 143_000, 299_892_736_000),
    ]
    assert [one.commit for one in checkpoints] == [commit_of(one.revision) for one in checkpoints]
    assert {one.family for one in checkpoints} == {"pythia"}


def test_differences_from_what_is_known_are_told(hub: Serve, revisions: dict[str, Path]) -> None:
    hub({PYTHIA: {**revisions, "step999999": revisions["main"]}})
    missing, unknown, new = open_source(PYTHIA).notices
    assert missing.startswith("152 revisions of pythia are not in EleutherAI/pythia-70m: step1, step2,")
    assert unknown == "1 revisions are left out, because their names tell no step: experiment"
    assert "step999999" in new


def test_main_is_listed_once_where_a_revision_holds_the_same(hub: Serve, revisions: dict[str, Path]) -> None:
    hub({PYTHIA: {**revisions, "step143000": revisions["main"]}})
    assert [one.revision for one in open_source(PYTHIA).checkpoints()] == ["step0", "step1000", "step143000"]


def test_a_repository_of_no_known_family_is_read_by_the_usual_names(hub: Serve, revisions: dict[str, Path]) -> None:
    hub(
        {
            "somebody/model": {
                "main": revisions["main"],
                "step-20-tokens": revisions["main"],
                "checkpoint-5": revisions["step0"],
            }
        }
    )
    assert [(one.revision, one.step) for one in open_source("somebody/model").checkpoints()] == [
        ("checkpoint-5", 5),
        ("main", None),
    ]


def test_a_checkpoint_from_the_hub_is_the_checkpoint_that_was_put_there(hub: Serve, revisions: dict[str, Path]) -> None:
    hub({PYTHIA: revisions})
    source = open_source(PYTHIA)
    loaded = load(source, source.checkpoints()[1])
    local = open_source(str(revisions["step1000"]))
    expected = load(local, local.checkpoints()[0])
    assert loaded.checkpoint.commit == commit_of("step1000")
    assert all(
        torch.equal(one, other)
        for one, other in zip(loaded.module.parameters(), expected.module.parameters(), strict=True)
    )


def test_what_was_fetched_is_not_fetched_again_and_serves_without_a_connection(
    hub: Serve, revisions: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = hub({PYTHIA: revisions})
    source = open_source(PYTHIA)
    for _ in range(2):
        with source.path(source.checkpoints()[0]) as folder:
            assert weights.has_tokenizer(folder)
    assert len(served.downloads()) == len(set(served.downloads()))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    offline = open_source(PYTHIA)
    [cached] = offline.checkpoints()
    assert cached.commit == commit_of("step0")
    assert "could not be reached" in offline.notices[0]
    assert load(offline, cached).n_blocks == 3


def test_a_known_suite_is_listed_without_a_connection_and_said_to_be_unchecked(
    hub: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub({})
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    amber = open_source("LLM360/Amber")
    assert [one.revision for one in amber.checkpoints()] == [*(f"ckpt_{i:03d}" for i in range(359)), "main"]
    assert not any(one.commit for one in amber.checkpoints())
    assert "unchecked" in amber.notices[0]
    with pytest.raises(CheckpointError, match="could not be fetched"):
        amber.pin(amber.checkpoints()[0])


def test_only_the_files_of_a_checkpoint_are_fetched(hub: Serve, checkpoint: Path) -> None:
    for name in ("pytorch_model.bin", "flax_model.msgpack", "model.fp16.safetensors", "optimizer.pt"):
        (checkpoint / name).write_bytes(b"large")
    served = hub({"somebody/model": {"main": checkpoint}})
    source = open_source("somebody/model")
    with source.path(source.checkpoints()[0]) as folder:
        fetched = {path.name for path in folder.iterdir()}
    assert fetched == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert len(served.downloads()) == len(fetched)


def test_what_is_still_to_be_fetched_is_known_before(hub: Serve, revisions: dict[str, Path]) -> None:
    served = hub({PYTHIA: revisions})
    source = open_source(PYTHIA)
    first = source.checkpoints()[0]
    assert source.download_bytes(first) == sum(
        path.stat().st_size for path in revisions["step0"].iterdir() if path.name != "trustrace.json"
    )
    assert not served.downloads()
    with source.path(first):
        pass
    assert source.download_bytes(first) == 0


def test_random_initialisation_fetches_no_weights(hub: Serve, revisions: dict[str, Path]) -> None:
    served = hub({PYTHIA: revisions})
    source = open_source(PYTHIA)
    fresh = random_init(source, source.checkpoints()[0], seed=4)
    assert fresh.checkpoint.key == "EleutherAI--pythia-70m@random_init_4"
    assert not [request for request in served.downloads() if request.endswith(".safetensors")]


def test_downloads_that_are_not_kept_leave_the_cache_when_used(hub: Serve, revisions: dict[str, Path]) -> None:
    hub({PYTHIA: revisions})
    source = open_source(PYTHIA, keep_downloads=False)
    with source.path(source.checkpoints()[0]) as folder:
        assert weights.weight_files(folder)
    assert not folder.exists()


def test_downloads_that_were_there_before_stay(hub: Serve, revisions: dict[str, Path]) -> None:
    hub({PYTHIA: revisions})
    kept, passing = open_source(PYTHIA), open_source(PYTHIA, keep_downloads=False)
    for source in (kept, passing):
        with source.path(source.checkpoints()[0]) as folder:
            pass
    assert weights.weight_files(folder)


def test_a_missing_tokenizer_comes_from_where_the_family_names_it_loudly(
    hub: Serve, revisions: dict[str, Path], tmp_path: Path
) -> None:
    bare = shutil.copytree(revisions["step0"], tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    hub({PYTHIA: {"main": revisions["main"], "step0": bare}, "EleutherAI/pythia-160m": {"main": revisions["main"]}})
    source = open_source(PYTHIA)
    with pytest.warns(
        FallbackTokenizerWarning, match="pythia-70m@step0 has no tokenizer; that of EleutherAI/pythia-160m@main"
    ):
        model = load(source, source.checkpoints()[0])
    assert model.tokenizer.decode(model.tokenizer("word").input_ids, skip_special_tokens=True) == "word"


def test_one_revision_can_be_named_even_where_its_name_tells_no_step(hub: Serve, revisions: dict[str, Path]) -> None:
    hub({PYTHIA: revisions})
    [checkpoint] = open_source(f"{PYTHIA}@experiment").checkpoints()
    assert (checkpoint.revision, checkpoint.commit) == ("experiment", commit_of("experiment"))
    [by_commit] = open_source(f"{PYTHIA}@{commit_of('step0')}").checkpoints()
    assert by_commit.commit == commit_of("step0")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nobody/nothing", "no such repository on the hub"),
        (f"{PYTHIA}@step10000", "no revision 'step10000' among 4; near it: step1000"),
        ("not a name", "neither a folder nor a hub repository"),
        ("./absent", "no such folder"),
    ],
)
def test_what_the_hub_does_not_have_is_named(hub: Serve, revisions: dict[str, Path], source: str, message: str) -> None:
    hub({PYTHIA: revisions})
    with pytest.raises(CheckpointError, match=message):
        open_source(source)


def test_a_revision_without_weights_is_named(hub: Serve, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("soon")
    hub({"somebody/model": {"main": tmp_path / "empty"}})
    source = open_source("somebody/model")
    message = r"somebody--model@main: no weights; expected .* found \['README.md'\]"
    with pytest.raises(CheckpointError, match=message), source.path(source.checkpoints()[0]):
        pass


def test_a_hub_that_is_down_is_told_from_a_repository_that_is_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="the hub cannot be asked"):
        open_source("somebody/model")


def test_weights_that_break_off_while_fetched_are_refused(hub: Serve, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "whole", "llama")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-10])
    hub({"somebody/model": {"main": folder}})
    source = open_source("somebody/model")
    with pytest.raises(CheckpointError, match="its header promises"):
        load(source, source.checkpoints()[0])
