"""The files of a checkpoint: which of them matter, whether they are whole, whether reading them is safe, and their hash."""

import hashlib
import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import NonNegativeInt
from typing_extensions import TypedDict

from trustrace.core.documents import is_folder_name, parsed, require_shape
from trustrace.core.errors import CheckpointError, UnsafeFileError

CONFIG = "config.json"

TOKENIZER_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
"""A folder with none of these has no tokenizer."""

TOKENIZER_FILES = (
    *TOKENIZER_VOCABULARIES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)

_LONGEST_HEADER = 100_000_000
"""Bytes: what safetensors itself reads at most."""


class _Entry(TypedDict):
    dtype: str
    shape: list[NonNegativeInt]
    data_offsets: tuple[NonNegativeInt, NonNegativeInt]


_SINGLE = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}
_SHAPE_KEYS = (
    ("model_type",),
    ("hidden_size", "n_embd", "d_model"),
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    ("num_key_value_heads",),
    ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    ("vocab_size",),
)


@dataclass(frozen=True, kw_only=True)
class WeightFiles:
    """The files that hold a checkpoint's weights.

    Attributes:
        kind: ``safetensors`` or ``bin`` (pickled by torch).
        paths: The files, in order of name.
    """

    kind: str
    paths: tuple[Path, ...]


def weight_files(folder: Path) -> WeightFiles:
    """The weights in `folder`: safetensors where there are any, else ``pytorch_model*.bin``.

    Raises:
        CheckpointError: there are none, or a shard that the index names is missing.
    """
    for kind, single in _SINGLE.items():
        index = folder / f"{single}.index.json"
        if index.is_file():
            return WeightFiles(kind=kind, paths=tuple(_shards(folder, index)))
        if (folder / single).is_file():
            return WeightFiles(kind=kind, paths=(folder / single,))
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    raise CheckpointError(
        f"{folder}: no weights; expected model.safetensors or pytorch_model.bin (or an index and its shards), found {held or 'nothing'}"
    )


def weight_patterns(names: Sequence[str], *, where: str) -> list[str]:
    """Which of a repository's files hold its weights, as patterns: safetensors where there are any, else ``pytorch_model*.bin``.

    Raises:
        CheckpointError: none does.
    """
    for single in _SINGLE.values():
        if single in names or f"{single}.index.json" in names:
            stem, suffix = single.split(".")
            return [single, f"{single}.index.json", f"{stem}-*-of-*.{suffix}"]
    raise CheckpointError(
        f"{where}: no weights; expected {' or '.join(_SINGLE.values())} or shards of them, found {sorted(names)[:8]}"
    )


def verify(files: WeightFiles) -> None:
    """Read enough of every file to know that it is whole and holds nothing but tensors; no code in it is run.

    Raises:
        CheckpointError: a file is truncated or damaged.
        UnsafeFileError: a pickle asks for more than tensors.
    """
    for path in files.paths:
        if files.kind == "safetensors":
            _verify_safetensors(path)
        else:
            _verify_pickle(path)


def read_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a checkpoint.

    Raises:
        CheckpointError: it is missing or is no JSON object.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder}: no {CONFIG}; a checkpoint is a folder as save_pretrained writes it")
    return read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in a file of a checkpoint.

    Raises:
        CheckpointError: the file holds no JSON object.
    """
    values: dict[str, Any] = parsed(
        path.read_bytes(),
        dict,
        where=path,
        error=CheckpointError,
        way_out="it may be truncated, so fetch or save it again",
    )
    return values


def architecture(config: dict[str, Any]) -> dict[str, Any]:
    """What of a configuration decides the shape of the weights, under one name per idea."""
    text = config.get("text_config")
    inner = {**config, **text} if isinstance(text, dict) else config
    return {names[0]: next((inner[name] for name in names if name in inner), None) for names in _SHAPE_KEYS}


def has_tokenizer(folder: Path) -> bool:
    """Whether `folder` holds a vocabulary."""
    return any((folder / name).is_file() for name in TOKENIZER_VOCABULARIES)


def content_hash(folder: Path, *, with_weights: bool = True) -> str:
    """SHA-256 over the content of the weights, the configuration and the tokenizer: what decides every number the model gives.

    Args:
        folder: A checkpoint.
        with_weights: Whether the weights count; what is known of a model that is still to be drawn are the other two.

    Raises:
        CheckpointError: weights or configuration are missing.
    """
    shards = weight_files(folder).paths if with_weights else ()
    paths = [*shards, folder / CONFIG, *(folder / name for name in TOKENIZER_FILES)]
    read_config(folder)
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(f"{path.name}\x00{_file_hash(path, path.stat().st_size, path.stat().st_mtime_ns)}\x00".encode())
    return digest.hexdigest()


@lru_cache(maxsize=4096)
def _file_hash(path: Path, size: int, modified: int) -> str:
    """SHA-256 of a file; size and time of change are part of the key, so that a file that was rewritten is read again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shards(folder: Path, index: Path) -> Iterator[Path]:
    weight_map = read_json(index).get("weight_map")
    named = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if wrong := [name for name in named if not isinstance(name, str) or not is_folder_name(name)]:
        raise CheckpointError(
            f"{index}: {str(wrong[0])[:80]!r} is no file beside it; an index names the shards that lie in its own folder: fetch it again"
        )
    names = sorted(set(named))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        raise CheckpointError(
            f"{folder}: {index.name} names {len(names)} shards, of which {len(missing)} are missing: "
            f"{', '.join(missing) or '-'}; fetch them again"
        )
    yield from (folder / name for name in names)


def _verify_safetensors(path: Path) -> None:
    """Compare the file's length with what its header promises: 8 bytes of length, the header, then the tensors."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + length > size:
            raise CheckpointError(f"{path}: truncated inside its header ({size} bytes); fetch or save it again")
        if length > _LONGEST_HEADER:
            raise CheckpointError(f"{path}: a header of {length:,} bytes is no header of safetensors; fetch it again")
        # A reader must not be asked for more than the file has: the promise alone would fill the memory.
        way_out = "its header is no JSON that lists tensors as safetensors does; fetch or save it again"
        header = parsed(file.read(length), dict, where=path, error=CheckpointError, way_out=way_out)
    header.pop("__metadata__", None)
    require_shape(header, dict[str, _Entry], where=path, error=CheckpointError, way_out=way_out)
    expected = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if size != expected:
        raise CheckpointError(f"{path}: {size} bytes, but its header promises {expected}; fetch or save it again")


def _verify_pickle(path: Path) -> None:
    """Unpickle with torch's weights-only reader onto the meta device: every name the pickle asks for is checked, no tensor is read."""
    try:
        with warnings.catch_warnings():
            # Torch warns of newer pickle protocols that its safe reader may refuse; a refusal is an error below.
            warnings.simplefilter("ignore", UserWarning)
            torch.load(path, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise UnsafeFileError(
            f"{path}: reading it could run code, because its pickle holds more than tensors; "
            "convert it to safetensors where you trust it, and use that"
        ) from error
    # What a damaged pickle asks of torch fails in as many ways as there are things to ask for.
    except Exception as error:
        said = str(error).partition("\n")[0][:200]
        raise CheckpointError(f"{path}: truncated or damaged ({said}); fetch or save it again") from error
