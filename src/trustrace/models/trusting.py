"""What a checkpoint's files may ask for before anything of them is opened by another library.

A configuration can name code as well as numbers: a class in a file beside it, a kernel on the hub, a module to import. Of these, the first
runs where it is asked for by name (``trust_remote_code``), and the others never. It can also promise a model that fills the memory.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from trustrace.core.errors import CheckpointError, ModelError, UnsafeFileError
from trustrace.models import weights

ADAPTER = "adapter_config.json"

MOST_BLOCKS = 10_000
MOST_ROWS = 1 << 28
"""Of any matrix."""

MOST_RANK = 1 << 14

WEIGHTS_PER_BYTE = 64
"""More weights than a byte of any format holds, by far: a configuration that promises more than its files hold is not theirs."""

_SPARE = 1 << 28
_IMPLEMENTATIONS = re.compile(r"_?(attn|experts)_implementation(_internal)?")
_IMPORTING = ("megatron_config", "auto_mapping", "runtime_config")
# A repeated group around a repetition takes time that doubles with every character.
_REPEATED_GROUP = re.compile(r"\)[*+{]")


def require_known(folder: Path, *, trusted: bool) -> dict[str, Any]:
    """The configuration in `folder`, once it is seen to ask for nothing but what transformers itself knows.

    Args:
        folder: A checkpoint.
        trusted: Whether code that comes with it may run.

    Raises:
        CheckpointError: it is no configuration, promises a size that no model has, or an adapter lies in the same folder.
        ModelError: its architecture is not known to transformers, and its code is not trusted.
        UnsafeFileError: it asks for code from the hub.
    """
    config = weights.read_config(folder)
    if (folder / ADAPTER).is_file():
        raise CheckpointError(
            f"{folder}: an adapter lies beside a model, and transformers would add it unasked; keep {ADAPTER} and its weights in a folder "
            "of their own, and open that"
        )
    _require_no_kernels(folder, config)
    _require_sizes(folder, config)
    kind = config.get("model_type")
    if (isinstance(kind, str) and kind in CONFIG_MAPPING) or (trusted and "auto_map" in config):
        return config
    way_out = (
        "it comes with code of its own, which runs only with trust_remote_code=True"
        if "auto_map" in config
        else "it may need a newer transformers"
    )
    raise ModelError(f"{folder}: architecture {str(kind)[:80]!r} is not known to transformers; {way_out}")


def promised_weights(config: Mapping[str, Any]) -> int:
    """About as many weights as a decoder of this configuration has; the experts of a mixture count once."""
    shape = {name: value if isinstance(value, int) else 0 for name, value in weights.architecture(dict(config)).items()}
    width, inner = shape["hidden_size"], shape["intermediate_size"]
    return shape["num_hidden_layers"] * width * (2 * width + 2 * inner) + shape["vocab_size"] * width


def require_backed(folder: Path, config: Mapping[str, Any], files: weights.WeightFiles) -> None:
    """Do nothing where the files can hold the weights that the configuration promises.

    Raises:
        CheckpointError: they cannot, by far.
    """
    promised, held = promised_weights(config), sum(path.stat().st_size for path in files.paths)
    if promised > WEIGHTS_PER_BYTE * held + _SPARE:
        raise CheckpointError(
            f"{folder}: {weights.CONFIG} promises about {promised:,} weights, but the files hold {held:,} bytes; they do not belong "
            "together: fetch both again"
        )


def require_plain_adapter(folder: Path, config: Mapping[str, Any]) -> None:
    """Do nothing where an adapter's configuration holds numbers and names of modules alone.

    Raises:
        UnsafeFileError: it names a module of Python to import.
        CheckpointError: its rank is beyond any adapter's, or a pattern in it could take forever.
    """
    if asked := [name for name in _IMPORTING if config.get(name)]:
        raise UnsafeFileError(
            f"{folder / ADAPTER} asks for {asked[0]}, by which peft would import code; remove the key where you trust the adapter"
        )
    patterns = config.get("rank_pattern")
    ranks = [config.get("r", 8), *(patterns.values() if isinstance(patterns, dict) else ())]
    if wrong := [rank for rank in ranks if type(rank) is not int or not 0 < rank <= MOST_RANK]:
        raise CheckpointError(
            f"{folder / ADAPTER}: a rank of {str(wrong[0])[:40]}; expected a whole number from 1 to {MOST_RANK}"
        )
    if endless := [text for text in _texts(dict(config)) if _REPEATED_GROUP.search(text)]:
        raise CheckpointError(
            f"{folder / ADAPTER}: the pattern {endless[0][:80]!r} repeats a group, which can take forever; name the modules one by one"
        )


def _require_no_kernels(folder: Path, config: Any) -> None:
    for name, value in _entries(config):
        if _IMPLEMENTATIONS.fullmatch(name) and any("/" in text for text in _texts(value)):
            raise UnsafeFileError(
                f"{folder / weights.CONFIG}: {name} names a kernel on the hub, which is code; remove the key, and attention is computed "
                "by what is installed"
            )


def _require_sizes(folder: Path, config: dict[str, Any]) -> None:
    for name, value in weights.architecture(config).items():
        most = MOST_BLOCKS if name == "num_hidden_layers" else MOST_ROWS
        if name == "model_type" or value is None or (isinstance(value, list) and len(value) <= MOST_BLOCKS):
            continue
        if type(value) is not int or not 0 <= value <= most:
            raise CheckpointError(
                f"{folder / weights.CONFIG}: {name} is {str(value)[:40]}; expected a whole number up to {most:,}"
            )


def _entries(document: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at every depth."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield name, value
            yield from _entries(value)
    elif isinstance(document, list):
        for value in document:
            yield from _entries(value)


def _texts(document: Any) -> Iterator[str]:
    """Every text at every depth, keys as well."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        yield from document
        for value in document.values():
            yield from _texts(value)
    elif isinstance(document, list):
        for value in document:
            yield from _texts(value)
