"""Tiny random models of every architecture that publishes checkpoints, built in memory: for tests, ours and yours.

>>> from trustrace.models import tiny
>>> module = tiny.build("llama", seed=0)
>>> folder = tiny.save(Path("tiny-llama"), "llama")                     # one checkpoint, as Hugging Face writes it
>>> series = tiny.save_series(Path("series"), "olmo2", steps=(0, 100))  # several, as a pre-training run writes them
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from trustrace.core.errors import ConfigError
from trustrace.models.quiet import quietly

_BOS, _EOS = "<s>", "</s>"

_GATED_MLP: dict[str, Any] = {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 512}

FAMILIES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bloom": {},
        "falcon": {"max_position_embeddings": 512},
        "gemma2": {**_GATED_MLP, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 8},
        "gemma3_text": {**_GATED_MLP, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 8},
        "gpt2": {"n_inner": 64, "n_positions": 512},
        "gpt_neox": {"intermediate_size": 64, "max_position_embeddings": 512},
        "llama": _GATED_MLP,
        "mistral": {**_GATED_MLP, "head_dim": 8},
        "mpt": {"max_seq_len": 512, "expansion_ratio": 2},
        "olmo": _GATED_MLP,
        "olmo2": _GATED_MLP,
        "olmo3": {**_GATED_MLP, "sliding_window": 8},
        "opt": {"ffn_dim": 64, "max_position_embeddings": 512, "word_embed_proj_dim": 32},
        "phi": {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 512},
        "qwen2": _GATED_MLP,
        "qwen3": {**_GATED_MLP, "head_dim": 8},
        "smollm3": _GATED_MLP,
        "stablelm": {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 512},
    }
)
"""Each family by its ``model_type`` in transformers, with what its configuration needs beyond the common shape."""

FAMILIES_WITH_BOS = frozenset({"bloom", "gemma2", "gemma3_text", "llama", "mistral", "opt"})
"""Families whose published tokenizers put a beginning-of-sequence token before a text."""


def config(family: str, *, n_blocks: int = 3, d_model: int = 32, vocab_size: int = 258) -> PretrainedConfig:
    """The configuration of a tiny model.

    Args:
        family: A key of :data:`FAMILIES`.
        n_blocks: Number of blocks.
        d_model: Width of the residual stream; a multiple of 8, the number of heads being four.
        vocab_size: Rows of the embedding; the default is that of :func:`tokenizer`.

    Raises:
        ConfigError: `family` is not known here.
    """
    if family not in FAMILIES:
        raise ConfigError(f"no tiny model of family {family!r}; there are: {', '.join(sorted(FAMILIES))}")
    shape = {"hidden_size": d_model, "num_hidden_layers": n_blocks, "num_attention_heads": 4, "vocab_size": vocab_size}
    tokens = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    extra = dict(FAMILIES[family])
    if "word_embed_proj_dim" in extra:
        extra["word_embed_proj_dim"] = d_model
    return CONFIG_MAPPING[family](**shape, **tokens, **extra)


def build(
    family: str, *, seed: int = 0, n_blocks: int = 3, d_model: int = 32, vocab_size: int = 258
) -> PreTrainedModel:
    """A tiny model with random weights, in evaluation mode.

    Every parameter is drawn, gains and biases included: a gain of exactly 1 or a bias of exactly 0 would hide mistakes.

    Raises:
        ConfigError: `family` is not known here.
    """
    tiny = config(family, n_blocks=n_blocks, d_model=d_model, vocab_size=vocab_size)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module: PreTrainedModel = AutoModelForCausalLM.from_config(tiny, dtype=torch.float32)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return module.eval()


def tokenizer(*, adds_bos: bool = False, texts: Sequence[str] = (), vocab_size: int = 258) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer, made in memory; it can write any text.

    Args:
        adds_bos: Whether ``<s>`` is put before every text.
        texts: What merges are learned from; without texts, every byte is a token.
        vocab_size: Upper bound of the vocabulary: two special tokens, 256 bytes, and merges.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[_BOS, _EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{_BOS} $A", special_tokens=[(_BOS, backend.token_to_id(_BOS))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=_BOS, eos_token=_EOS, pad_token=_EOS)


def save(folder: Path, family: str, *, seed: int = 0, n_blocks: int = 3, d_model: int = 32) -> Path:
    """Write a tiny model and its tokenizer as one checkpoint folder, and return the folder."""
    with quietly():
        build(family, seed=seed, n_blocks=n_blocks, d_model=d_model).save_pretrained(folder)
        tokenizer(adds_bos=family in FAMILIES_WITH_BOS).save_pretrained(folder)
    return folder


def save_series(folder: Path, family: str, *, steps: Sequence[int], tokens_per_step: int = 1000) -> Path:
    """Write one tiny model per step in the layout of a pre-training run, each with weights of its own, and return `folder`."""
    for step in steps:
        saved = save(folder / "checkpoints" / f"step_{step:07d}", family, seed=step)
        progress = {"step": step, "tokens_seen": step * tokens_per_step}
        (saved / "trustrace.json").write_text(json.dumps(progress), encoding="utf-8")
    return folder
