"""Code that a checkpoint's files name: it runs where it is trusted by name, or never."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trustrace.core.errors import CheckpointError, ModelError, TrustraceError, UnsafeFileError
from trustrace.models import tiny
from trustrace.models.classifier import load_classifier
from trustrace.models.loading import load, random_init
from trustrace.models.sources import open_source
from trustrace.models.weights import weight_files

ADAPTER = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that comes with code."""
    folder = tiny.save(tmp_path / "model", "llama")
    (folder / "theirs.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'code-has-run')!r}).touch()")
    return folder


def change(folder: Path, name: str = "config.json", **changes: Any) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def opened(folder: Path) -> object:
    source = open_source(str(folder))
    return load(source, source.checkpoints()[-1])


def imitated(folder: Path) -> object:
    source = open_source(str(folder))
    return random_init(source, source.checkpoints()[-1], seed=0)


@pytest.mark.parametrize("read", [opened, imitated, lambda folder: load_classifier(str(folder))])
def test_an_architecture_of_its_own_is_refused(model: Path, tmp_path: Path, read: Callable[[Path], object]) -> None:
    change(model, model_type="theirs", auto_map={"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"})
    with pytest.raises(ModelError, match="only with trust_remote_code=True"):
        read(model)
    assert not (tmp_path / "code-has-run").exists()


def test_code_beside_a_known_architecture_is_left_alone(model: Path, tmp_path: Path) -> None:
    change(model, auto_map={"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"})
    change(model, "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "theirs.Tokenizer"]})
    opened(model)
    imitated(model)
    assert not (tmp_path / "code-has-run").exists()


def test_a_tokenizer_of_its_own_is_refused(model: Path, tmp_path: Path) -> None:
    change(model, "tokenizer_config.json", tokenizer_class="Theirs", auto_map={"AutoTokenizer": ["theirs.T", None]})
    with pytest.raises(TrustraceError):
        opened(model)
    assert not (tmp_path / "code-has-run").exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
@pytest.mark.parametrize("read", [opened, imitated])
def test_a_kernel_from_the_hub_is_refused(model: Path, key: str, read: Callable[[Path], object]) -> None:
    change(model, text_config={key: "someone/kernel"})
    with pytest.raises(UnsafeFileError, match="names a kernel on the hub"):
        read(model)


def test_an_adapter_that_would_be_added_unasked_is_refused(model: Path) -> None:
    (model / "adapter_config.json").write_text(json.dumps(ADAPTER | {"base_model_name_or_path": str(model)}))
    with pytest.raises(CheckpointError, match="would add it unasked"):
        opened(model)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"megatron_config": {"a": 1}, "megatron_core": "theirs"}, UnsafeFileError, "would import code"),
        ({"auto_mapping": {"base_model_class": "A", "parent_library": "theirs"}}, UnsafeFileError, "would import code"),
        ({"r": 10**9}, CheckpointError, "a rank of 1000000000"),
        ({"target_modules": "(a+)+$"}, CheckpointError, "can take forever"),
    ],
)
def test_what_an_adapter_may_not_ask_for(
    model: Path, tmp_path: Path, asked: dict[str, Any], error: type[TrustraceError], message: str
) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = ADAPTER | {"base_model_name_or_path": str(model)} | asked
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(error, match=message):
        opened(folder)


@pytest.mark.parametrize(
    "asked", [{"num_hidden_layers": 2**64}, {"vocab_size": 2**40}, {"hidden_size": -1}, {"num_attention_heads": 1.5}]
)
@pytest.mark.parametrize("read", [opened, imitated])
def test_a_size_that_no_model_has_is_refused(
    model: Path, asked: dict[str, Any], read: Callable[[Path], object]
) -> None:
    change(model, **asked)
    with pytest.raises(CheckpointError, match="expected a whole number up to"):
        read(model)


def test_a_configuration_that_promises_more_than_the_files_hold_is_refused(model: Path) -> None:
    change(model, hidden_size=65536, intermediate_size=65536, num_hidden_layers=1000)
    with pytest.raises(CheckpointError, match="do not belong together"):
        opened(model)
    with pytest.raises(CheckpointError, match="do not fit"):
        imitated(model)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/b", "..", ".hidden", "a\0b", "C:\\x", 3, None, {"a": 1}]
)
def test_an_index_names_no_shard_outside_its_folder(tmp_path: Path, name: object) -> None:
    index = {"weight_map": {"a": name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="is no file beside it"):
        weight_files(tmp_path)
