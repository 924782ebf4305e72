"""Several networks that read the same tokens and speak with one voice: their logits, mixed at every token.

To whoever calls it, an ensemble is one more causal language model of transformers. All that its members remember lies in one cache, the
layers of the first member first: whatever is done to that cache (rows taken, beams put in order, tokens forgotten) is done to all members.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from trustrace.core.errors import ModelError

Logits = Float[Tensor, "row token _"]
Mix = Callable[[Sequence[Logits]], Logits]
"""The logits of the ensemble from those of its members, in their order and on the device of the first; heads may be padded to different
widths. What it is given is not to be changed in place. An ensemble of several versions may answer a row by several, one after another."""


class Ensemble(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """Networks of one vocabulary as one network.

    Whatever is asked of a single network (its configuration, its embeddings, its device) is the first member's. The members stay as they
    are, and each is run once a pass.
    """

    def __init__(self, members: Sequence[PreTrainedModel], mix: Mix) -> None:
        """Members, no two of them the same object, and how their logits become one."""
        config = copy.deepcopy(members[0].config)
        # The ensemble attends to nothing itself, and has nothing to check of its members' ways to do so.
        config._attn_implementation = "eager"
        super().__init__(config)
        self.generation_config = copy.deepcopy(members[0].generation_config)
        self.members = nn.ModuleList(members)
        self.mix = mix
        # Not `eval()`, which would reach the members.
        self.training = False

    def forward(
        self,
        input_ids: Int[Tensor, "row token"],
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Int[Tensor, " kept"] = 0,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithPast:
        """The mixed logits after each token, or after the last `logits_to_keep`.

        Raises:
            ModelError: the cache is of a kind that members cannot share, or holds what the first of them alone has read.
        """
        cache = self._whole(past_key_values, use_cache)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        logits = [
            _logits(member, _accepted(member, inputs, past), logits_to_keep).to(self.device)
            for member, past in zip(self._networks, self._pasts(cache), strict=True)
        ]
        return CausalLMOutputWithPast(logits=self.mix(logits), past_key_values=cache)

    def read(self, **inputs: Any) -> None:
        """Let all members read on without computing logits; the arguments are those of a forward pass, with a cache."""
        cache = self._whole(inputs.pop("past_key_values"), inputs.pop("use_cache"))
        for member, past in zip(self._networks, self._pasts(cache), strict=True):
            member.get_decoder()(**_accepted(member, inputs, past))

    def get_decoder(self) -> Any:
        """What reads without computing logits."""
        return self.read

    def get_input_embeddings(self) -> Any:
        """The first member's."""
        return self._networks[0].get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        """The first member's."""
        return self._networks[0].get_output_embeddings()

    def tie_weights(self, *_: Any, **__: Any) -> None:
        """Nothing: members have tied theirs."""

    @property
    def _networks(self) -> list[Any]:
        return list(self.members)

    @cached_property
    def _depths(self) -> tuple[int, ...]:
        """Layers of each member's own cache."""
        return tuple(len(DynamicCache(config=member.config).layers) for member in self._networks)

    def _whole(self, cache: Cache | None, use_cache: bool | None) -> DynamicCache | None:
        """The cache of all members; one that has read nothing may come with the layers of the first alone, or with none."""
        if cache is None and use_cache is False:
            return None
        whole = DynamicCache() if cache is None else cache
        if type(whole) is not DynamicCache:
            raise ModelError(
                f"the members of an ensemble share a DynamicCache, not a {type(whole).__name__}; leave cache_implementation unset"
            )
        if len(whole.layers) == sum(self._depths):
            return whole
        if whole.get_seq_length():
            raise ModelError(
                f"the cache has {len(whole.layers)} layers, but the members of the ensemble have {self._depths}; "
                "go on from a cache that the ensemble itself has filled"
            )
        # The list itself stays the caller's.
        whole.layers[:] = [layer for member in self._networks for layer in DynamicCache(config=member.config).layers]
        return whole

    def _pasts(self, cache: DynamicCache | None) -> Iterator[DynamicCache | None]:
        """Each member's share of the cache: the same layers, seen alone."""
        for start, stop in pairwise(accumulate(self._depths, initial=0)):
            past = copy.copy(cache)
            if past is not None:
                past.layers = past.layers[start:stop]
            yield past


def _accepted(member: PreTrainedModel, inputs: dict[str, Any], past: DynamicCache | None) -> dict[str, Any]:
    """The inputs that a member takes, where it is; architectures that find places by the mask alone take no positions."""
    known = inspect.signature(type(member.get_decoder()).forward).parameters
    given = {
        name: value.to(member.device)
        for name, value in inputs.items()
        if value is not None and (name != "position_ids" or name in known)
    }
    return {**given, "past_key_values": past, "use_cache": past is not None}


def _logits(member: PreTrainedModel, inputs: dict[str, Any], keep: int | Int[Tensor, " kept"]) -> Logits:
    """The member's logits after the wanted tokens."""
    kept = keep if isinstance(keep, int) else keep.to(member.device)
    if "logits_to_keep" in inspect.signature(type(member).forward).parameters:
        inputs = {**inputs, "logits_to_keep": kept}
        kept = 0
    logits: Logits = member(**inputs).logits
    return logits[:, -kept:] if isinstance(kept, int) else logits[:, kept]
