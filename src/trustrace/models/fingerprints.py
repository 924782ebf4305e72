"""What files say of a model: its vocabulary and its weights as short strings, and what its sites are called inside the module."""

import hashlib
import json

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from trustrace.core.errors import ConfigError, ModelError
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of the sorted vocabulary, tokens with their ids: equal for the same tokens, however the tokenizer was loaded."""
    vocabulary = sorted(tokenizer.get_vocab().items())
    return hashlib.sha256(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def weights_fingerprint(module: nn.Module) -> str:
    """SHA-256 over every parameter and buffer in memory, with its name, type and shape; shared ones count once."""
    digest = hashlib.sha256()
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def module_names(model: LanguageModel) -> dict[str, str]:
    """The module whose output each site is, by its name below the base model: ``block_3`` is ``layers.3`` in LLaMA and ``h.3`` in GPT-2.

    ``embed`` is what enters the first block, which is no module's output in every architecture, and is not among them.
    """
    wanted = {id(block): f"block_{number}" for number, block in enumerate(model.anatomy.blocks)}
    wanted[id(model.anatomy.final_norm)] = "final_norm"
    named = {
        wanted[id(module)]: name for name, module in model.module.base_model.named_modules() if id(module) in wanted
    }
    return {site: named[site] for site in wanted.values() if site in named}


def module_names_of(model_type: str, *, n_blocks: int) -> dict[str, str]:
    """The same for an architecture by its name, from a tiny model of it.

    Raises:
        ModelError: no tiny model of this architecture can be built; load a real one and ask :func:`module_names`.
    """
    try:
        module = tiny.build(model_type, n_blocks=n_blocks, d_model=8)
    except ConfigError as error:
        raise ModelError(
            f"the modules of {model_type!r} are not known without a model of it ({error}); name one"
        ) from None
    return module_names(LanguageModel.of(module, tiny.tokenizer()))
