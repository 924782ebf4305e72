"""A checkpoint becomes a :class:`LanguageModel`: safely, completely, and proved."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError, ConfigError, TokenizerError
from trustrace.models import adapters, selfcheck, trusting, weights
from trustrace.models.language_model import LanguageModel
from trustrace.models.placing import placed, placement
from trustrace.models.quiet import quietly
from trustrace.models.sources import CheckpointSource

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


class FallbackTokenizerWarning(UserWarning):
    """A checkpoint came without a tokenizer, and that of its family was taken."""


def load(
    source: CheckpointSource,
    checkpoint: Checkpoint,
    *,
    device: str = "cpu",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    prove: bool = True,
) -> LanguageModel:
    """Load a checkpoint, and let it prove that what is read from it is what it computes.

    Args:
        source: Where it comes from.
        checkpoint: One of the source's checkpoints.
        device: Where to put it: ``cpu``, ``cuda``, ``cuda:1`` ..., or ``balanced``: its blocks over all GPUs.
        dtype: What to compute in; ``auto`` is what the checkpoint was saved in.
        trust_remote_code: Whether code that comes with the checkpoint may run.
        prove: Whether to run :func:`trustrace.models.selfcheck.prove`: a few forward passes of a dozen tokens.

    Returns:
        The model in evaluation mode, its commit resolved.

    Raises:
        CheckpointError: a file is missing, truncated, or does not fit the configuration, or weights are missing or not finite.
        UnsafeFileError: its weights can only be read by running code.
        TokenizerError: it has no tokenizer and its series names none, or the tokenizer has more tokens than the embedding rows.
        ModelError: its architecture is unknown, or needs code of its own that was not trusted, or it fails its proof, or the
            GPUs do not hold it.
        ConfigError: `device` or `dtype` is unknown or absent.
        MissingExtraError: it is an adapter, and peft is not installed, or it is to be balanced, and accelerate is not.
    """
    target, wanted = placement(device), _dtype(dtype)
    pinned = source.pin(checkpoint)
    with source.path(pinned) as folder:
        config = trusting.require_known(folder, trusted=trust_remote_code)
        files = weights.weight_files(folder)
        weights.verify(files)
        trusting.require_backed(folder, config, files)
        tokenizer = _tokenizer(source, pinned, folder, trust_remote_code=trust_remote_code)
        read_in = adapters.merging_dtype(folder, wanted)
        module = _module(folder, files, dtype=read_in, trust_remote_code=trust_remote_code)
        module = adapters.merged(module, folder, dtype=wanted)
    _require_finite(module, checkpoint=pinned)
    _require_fit(tokenizer, module, checkpoint=pinned)
    model = LanguageModel.of(placed(module, target), tokenizer, checkpoint=pinned)
    if prove:
        selfcheck.prove(model)
    return model


def random_init(
    source: CheckpointSource,
    checkpoint: Checkpoint,
    *,
    seed: int,
    device: str = "cpu",
    dtype: str = "auto",
    trust_remote_code: bool = False,
) -> LanguageModel:
    """The architecture and the tokenizer of a checkpoint with fresh weights: what is readable before any training.

    Weights are drawn on the CPU in float32, so that every device and dtype starts from the same numbers; torch's global generator is
    left as it was.

    Args:
        source: Where the checkpoint comes from; its weights are not fetched.
        checkpoint: What to imitate.
        seed: Seed of the weights.
        device: Where to put it; as in :func:`load`.
        dtype: What to compute in; ``auto`` is what the checkpoint was saved in.
        trust_remote_code: Whether code that comes with the checkpoint may run.

    Returns:
        A model whose checkpoint has revision ``random_init_<seed>``, step 0 and no tokens seen.

    Raises:
        CheckpointError: the configuration is missing.
        TokenizerError: see :func:`load`.
        ModelError: the architecture is unknown here.
        ConfigError: `device` or `dtype` is unknown or absent.
    """
    target, wanted = placement(device), _dtype(dtype)
    with source.path(checkpoint, with_weights=False) as folder:
        promised = trusting.promised_weights(trusting.require_known(folder, trusted=trust_remote_code))
        _require_memory(folder, weights_in_float32=promised)
        tokenizer = _tokenizer(source, checkpoint, folder, trust_remote_code=trust_remote_code)
        with _explained(folder), quietly():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        commit = f"random_init_{seed}-{weights.content_hash(folder, with_weights=False)}"
    with torch.random.fork_rng(devices=[]), _explained(folder), quietly():
        torch.default_generator.manual_seed(seed)
        module: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, trust_remote_code=trust_remote_code
        )
    fresh = replace(checkpoint, revision=f"random_init_{seed}", step=0, tokens_seen=0, commit=commit)
    _require_fit(tokenizer, module, checkpoint=fresh)
    module = placed(module, target, dtype=wanted or _stored_dtype(config))
    return LanguageModel.of(module, tokenizer, checkpoint=fresh)


def _dtype(name: str) -> torch.dtype | None:
    """The dtype called `name`; None for ``auto``."""
    if name != "auto" and name not in _DTYPES:
        raise ConfigError(f"unknown dtype {name!r}; use 'auto', {', '.join(map(repr, _DTYPES))}")
    return _DTYPES.get(name)


def _require_memory(folder: Path, *, weights_in_float32: int) -> None:
    """Refuse before the memory is filled rather than after."""
    free = psutil.virtual_memory().available
    if 4 * weights_in_float32 > free:
        raise CheckpointError(
            f"{folder}: about {weights_in_float32:,} weights in float32 do not fit {free / 1e9:.1f} GB of free memory; "
            "take a smaller model, or leave the untrained twin out"
        )


def _stored_dtype(config: Any) -> torch.dtype:
    return config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32


def _module(
    folder: Path, files: weights.WeightFiles, *, dtype: torch.dtype | None, trust_remote_code: bool
) -> PreTrainedModel:
    with _explained(folder), quietly():
        module, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype or "auto",
            use_safetensors=files.kind == "safetensors",
            weights_only=True,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
        )
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise CheckpointError(
            f"{folder}: {len(missing)} weights are missing, among them {', '.join(missing[:3])}; "
            "transformers would have drawn them at random"
        )
    return module


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """What transformers raises over a folder's content, as an error that names the folder."""
    try:
        yield
    # Each architecture fails in a way of its own over a configuration that does not fit it: missing attributes, assertions, divisions.
    except Exception as error:
        said = str(error)[:2000]
        raise CheckpointError(f"{folder}: transformers cannot read it: {said or type(error).__name__}") from error


def _tokenizer(
    source: CheckpointSource, checkpoint: Checkpoint, folder: Path, *, trust_remote_code: bool
) -> PreTrainedTokenizerBase:
    if weights.has_tokenizer(folder):
        return _read_tokenizer(folder, trust_remote_code=trust_remote_code)
    fallback = source.fallback_tokenizer()
    if fallback is None:
        raise TokenizerError(
            f"{checkpoint.key}: no tokenizer among its files, and {source.name} names no other; "
            f"put the tokenizer's files beside the weights ({', '.join(weights.TOKENIZER_VOCABULARIES)})"
        )
    name, place = fallback
    message = f"{checkpoint.key} has no tokenizer; that of {name} is used instead"
    warnings.warn(message, FallbackTokenizerWarning, stacklevel=3)
    return _read_tokenizer(place, trust_remote_code=trust_remote_code)


def _read_tokenizer(folder: Path, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    try:
        with quietly():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=trust_remote_code, local_files_only=True
            )
    # The tokenizers library raises plain Exception for a damaged file.
    except Exception as error:
        raise TokenizerError(f"{folder}: its tokenizer cannot be read: {error}") from error
    return tokenizer


def _require_finite(module: PreTrainedModel, *, checkpoint: Checkpoint) -> None:
    broken = [name for name, weight in module.named_parameters() if not bool(torch.isfinite(weight).all())]
    if broken:
        raise CheckpointError(
            f"{checkpoint.key}: NaN or infinity in {len(broken)} weights, among them {', '.join(broken[:3])}; "
            "this checkpoint is damaged, leave it out of the selection"
        )


def _require_fit(tokenizer: PreTrainedTokenizerBase, module: PreTrainedModel, *, checkpoint: Checkpoint) -> None:
    """Special tokens may lie beyond the embedding, as an added padding token often does; ordinary ones never."""
    rows = module.get_input_embeddings().num_embeddings
    special = set(tokenizer.all_special_ids)
    largest = max((token for token in tokenizer.get_vocab().values() if token not in special), default=-1)
    if largest >= rows:
        raise TokenizerError(
            f"{checkpoint.key}: the tokenizer writes token {largest}, but the model has {rows} embeddings; "
            "this tokenizer belongs to another model"
        )
