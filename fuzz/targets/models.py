"""Checkpoints: configurations, indices, weights, tokenizers, adapters."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import torch

from fuzz.driving import Target
from fuzz.mutation import of_bytes, of_json, of_tensors
from fuzz.targets.files import of_file
from trustrace.models import tiny, weights
from trustrace.models.loading import load, random_init
from trustrace.models.sources import open_source

_PROGRESS = {"step": 10, "tokens_seen": 1000, "held_out_loss": 2.0}
_STATE = {"global_step": 10, "num_input_tokens_seen": 0, "epoch": 1.0}
_INDEX = {
    "metadata": {"total_size": 10},
    "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
}
_ADAPTER = {
    "base_model_name_or_path": "../base",
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["q_proj"],
    "task_type": "CAUSAL_LM",
    "bias": "none",
    "peft_version": "0.1",
}
_TENSORS = {"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}


def _whole(mutated: str, *, series: bool = False) -> Callable[[Path], Sequence[bytes]]:
    """A tiny model, of which one file is mutated; in a series beside a whole one."""

    def valid(folder: Path) -> Sequence[bytes]:
        tiny.save(folder / "step_10", "llama", n_blocks=1, d_model=8)
        (folder / "step_10" / "trustrace.json").write_text(json.dumps(_PROGRESS))
        if series:
            shutil.copytree(folder / "step_10", folder / "step_2")
        return [(folder / "step_10" / mutated).read_bytes()]

    return valid


def _listed(path: Path) -> object:
    found = open_source(str(path.parents[1]))
    return found.checkpoints(), [found.pin(one).commit for one in found.checkpoints()], found.notices


def _progress(*documents: dict[str, object]) -> Callable[[Path], Sequence[bytes]]:
    def valid(folder: Path) -> Sequence[bytes]:
        _whole("config.json")(folder)
        (folder / "step_10" / "trustrace.json").unlink()
        return [json.dumps(document).encode() for document in documents]

    return valid


def _sharded(folder: Path) -> Sequence[bytes]:
    for name in _INDEX["weight_map"].values():  # type: ignore[attr-defined]
        (folder / name).write_bytes(b"")
    (folder / "config.json").write_text("{}")
    return [json.dumps(_INDEX).encode()]


def _adapter(folder: Path) -> Sequence[bytes]:
    tiny.save(folder / "base", "llama", n_blocks=1, d_model=8)
    place = folder / "adapter"
    place.mkdir()
    tensors = {
        f"base_model.model.model.layers.0.self_attn.q_proj.lora_{name}.weight": torch.ones(shape)
        for name, shape in (("A", (2, 8)), ("B", (8, 2)))
    }
    from safetensors.torch import save_file

    save_file(tensors, place / "adapter_model.safetensors")
    return [json.dumps({**_ADAPTER, "base_model_name_or_path": str(folder / "base")}).encode()]


def _adapted(path: Path) -> object:
    source = open_source(str(path.parent))
    return [source.pin(one) for one in source.checkpoints()]


def _loaded(path: Path) -> object:
    source = open_source(str(path.parent))
    return load(source, source.checkpoints()[-1], prove=False).n_blocks


def _imitated(path: Path) -> object:
    source = open_source(str(path.parent))
    return random_init(source, source.checkpoints()[-1], seed=0).n_blocks


def _pickled(folder: Path) -> Sequence[bytes]:
    zipped, plain = io.BytesIO(), io.BytesIO()
    torch.save(_TENSORS, zipped)
    torch.save(_TENSORS, plain, _use_new_zipfile_serialization=False)
    return [zipped.getvalue(), plain.getvalue()]


def _of_pickle(rng: Random, content: bytes) -> bytes:
    """The pickle inside the archive changed, or the archive's own bytes."""
    if not zipfile.is_zipfile(io.BytesIO(content)) or rng.random() < 0.3:
        return of_bytes(rng, content)
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as there, zipfile.ZipFile(written, "w") as made:
        for name in there.namelist():
            inside = there.read(name)
            made.writestr(name, of_bytes(rng, inside) if name.endswith("data.pkl") else inside)
    return written.getvalue()


def _one(kind: str) -> Callable[[Path], object]:
    return lambda path: weights.verify(weights.WeightFiles(kind=kind, paths=(path,)))


def _tensors(folder: Path) -> Sequence[bytes]:
    from safetensors.torch import save

    return [save(_TENSORS), save(_TENSORS, metadata={"format": "pt"})]


MODELS: tuple[Target, ...] = (
    of_file("config_listed", "step_10/config.json", _listed, _whole("config.json", series=True), of_json),
    of_file("progress", "step_10/trustrace.json", _listed, _progress(_PROGRESS), of_json),
    of_file("trainer_state", "step_10/trainer_state.json", _listed, _progress(_STATE), of_json),
    of_file(
        "weights_index",
        "model.safetensors.index.json",
        lambda path: weights.weight_files(path.parent),
        _sharded,
        of_json,
    ),
    of_file("weights_safetensors", "model.safetensors", _one("safetensors"), _tensors, of_tensors),
    of_file("weights_pickle", "pytorch_model.bin", _one("bin"), _pickled, _of_pickle),
    of_file("adapter_config", "adapter/adapter_config.json", _adapted, _adapter, of_json),
    of_file("adapter_loaded", "adapter/adapter_config.json", _loaded, _adapter, of_json, is_slow=True),
    of_file("config_loaded", "step_10/config.json", _loaded, _whole("config.json"), of_json, is_slow=True),
    of_file("config_imitated", "step_10/config.json", _imitated, _whole("config.json"), of_json, is_slow=True),
    of_file(
        "generation_loaded",
        "step_10/generation_config.json",
        _loaded,
        _whole("generation_config.json"),
        of_json,
        is_slow=True,
    ),
    of_file(
        "weights_loaded", "step_10/model.safetensors", _loaded, _whole("model.safetensors"), of_tensors, is_slow=True
    ),
    of_file("tokenizer_loaded", "step_10/tokenizer.json", _loaded, _whole("tokenizer.json"), of_json, is_slow=True),
    of_file(
        "tokenizer_config_loaded",
        "step_10/tokenizer_config.json",
        _loaded,
        _whole("tokenizer_config.json"),
        of_json,
        is_slow=True,
    ),
)
