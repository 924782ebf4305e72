"""A loaded checkpoint: the module, its tokenizer, what it is, and where it can be read."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.sites import Site, sites_of
from trustrace.models.anatomy import Anatomy, find

UNLIMITED = 2**31 - 1
"""What :attr:`LanguageModel.max_tokens` is for a model without a longest context, such as BLOOM with its ALiBi."""

Sharing = Literal["prompt", "beginning", "nothing"]
"""How much of a prompt is read once.

* ``prompt``: all but its last token, since every version of the model reads it alike.
* ``beginning``: what several prompts begin with, by each version for itself.
* ``nothing``: how a token is read depends on where the prompt ends.
"""


def strictest(*sharings: Sharing) -> Sharing:
    """How much of a prompt is still read once where all of these hold."""
    return max(sharings, key=get_args(Sharing).index)


_CONTEXT_NAMES = ("max_position_embeddings", "max_seq_len", "seq_length")


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageModel:
    """A causal language model in evaluation mode.

    Attributes:
        module: The network.
        tokenizer: Its tokenizer.
        checkpoint: Which moment of which training this is, its commit resolved.
        anatomy: Its decoder, blocks and final norm.
        variants: How many versions of the model answer at once, as rows of one batch; 1 for a model as it is.
        sharing: How much of a prompt is read once; see :data:`Sharing`.
        preamble: Tokens that stand before every prompt, after a beginning-of-sequence token: what the model is told before it is asked.
        reads_alike: Whether its versions differ in logits alone, so that one row is read for all of them.
        companions: Other models that read all that this one reads, and have a say in its logits; none for a model by itself.
    """

    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    checkpoint: Checkpoint
    anatomy: Anatomy
    variants: int = 1
    sharing: Sharing = "prompt"
    preamble: tuple[int, ...] = ()
    reads_alike: bool = False
    companions: tuple["LanguageModel", ...] = ()

    @classmethod
    def of(
        cls, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, checkpoint: Checkpoint | None = None
    ) -> "LanguageModel":
        """A model that is already in memory, put into evaluation mode.

        Raises:
            ModelError: its blocks or its final norm cannot be found.
        """
        known = checkpoint or Checkpoint(family="memory", model=module.config.model_type, revision="memory")
        module.eval()
        return cls(module=module, tokenizer=tokenizer, checkpoint=known, anatomy=find(module))

    @property
    def readers(self) -> "tuple[LanguageModel, ...]":
        """The model and its companions."""
        return self, *self.companions

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.anatomy.blocks)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.module.config.get_text_config().hidden_size)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Every place where the residual stream can be read, in order of depth."""
        return sites_of(self.n_blocks)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.module.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are computed in."""
        dtype: torch.dtype = self.module.dtype
        return dtype

    @property
    def max_tokens(self) -> int:
        """The longest context in tokens, the model's, a companion's or the tokenizer's, whichever is shortest, less the preamble.

        It is :data:`UNLIMITED` where neither has a longest.
        """
        config = self.module.config.get_text_config()
        limits = [getattr(config, name, None) for name in _CONTEXT_NAMES]
        others = [companion.max_tokens for companion in self.companions]
        longest = min([UNLIMITED, self.tokenizer.model_max_length, *others, *(limit for limit in limits if limit)])
        return int(longest) - len(self.preamble)

    @cached_property
    def adds_bos(self) -> bool:
        """Whether the tokenizer puts a beginning-of-sequence token before a text."""
        ids = self.tokenizer("a").input_ids
        return self.tokenizer.bos_token_id is not None and ids[0] == self.tokenizer.bos_token_id
