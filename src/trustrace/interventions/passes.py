"""What an intervention must know of the forward pass at work: which token stands where, where prompts end, whose row is whose."""

import functools
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from trustrace.core.errors import ModelError
from trustrace.interventions.positions import Positions
from trustrace.models.language_model import LanguageModel
from trustrace.models.layout import current_layout


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """Whom the intervention acts on in one pass.

    Attributes:
        tokens: Which tokens; None for all of them.
        variants: The version that each row belongs to.
    """

    tokens: Bool[Tensor, "row token"] | None
    variants: Int[Tensor, " row"]


class Watcher:
    """Follows a model through its forward passes. Changed by the pass that is at work, and by nothing else."""

    def __init__(self, model: LanguageModel, positions: Positions, *, versions: int) -> None:
        self.model, self.positions, self.versions = model, positions, versions
        self._signature = inspect.signature(type(model.anatomy.decoder).forward)
        self._arguments: Mapping[str, Any] = {}
        self._past = 0
        self._chosen: Chosen | None = None
        self._is_known = False
        self._generating = False
        self._prompts: Int[Tensor, " row"] | None = None
        self._columns = 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While open, every pass of the decoder and every call of `generate` is followed."""
        decoder, module = self.model.anatomy.decoder, self.model.module
        handle = decoder.register_forward_pre_hook(self._begin, with_kwargs=True)
        outer = module.__dict__.get("generate")
        try:
            module.generate = self._following(module.generate)
            yield
        finally:
            handle.remove()
            if outer is None:
                module.__dict__.pop("generate", None)
            else:
                module.generate = outer

    def chosen(self) -> Chosen | None:
        """Whom to act on in this pass; None for nobody. Worked out once a pass.

        Raises:
            ModelError: where the prompt ends, or whose row is whose, must be known and is not.
        """
        if not self._is_known:
            self._chosen, self._is_known = self._choose(), True
        return self._chosen

    def _begin(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._arguments = self._signature.bind_partial(module, *args, **kwargs).arguments
        self._arguments = {**self._arguments, **self._arguments.get("kwargs", {})}
        # The place of a token hangs on what the cache holds before this pass.
        self._past = _cached(self._arguments.get("past_key_values"))
        self._is_known = False
        if self._generating and self._prompts is None and current_layout() is None:
            self._prompts = self._whole_prompts()

    def _following(self, generate: Any) -> Any:
        """`generate`, during which the first pass is the prompt's: for callers that say nothing of their layout."""

        @functools.wraps(generate)
        def followed(*args: Any, **kwargs: Any) -> Any:
            self._generating, self._prompts, self._columns = True, None, _columns(args, kwargs)
            try:
                return generate(*args, **kwargs)
            finally:
                self._generating, self._prompts = False, None

        return followed

    def _whole_prompts(self) -> Int[Tensor, " row"]:
        """Tokens of each prompt, as the first pass of `generate` shows them.

        Raises:
            ModelError: that pass is of a part of them.
        """
        places = self._places()
        if self._past + places.shape[1] < self._columns:
            raise ModelError(
                f"{self.model.checkpoint.key}: `generate` reads prompts in chunks, of which none says where they end; "
                "leave prefill_chunk_size unset while the model is steered"
            )
        return places.amax(dim=1) + 1

    def _choose(self) -> Chosen | None:
        layout = current_layout()
        places = self._places()
        prompts, goes_on = (layout.prompts, layout.goes_on) if layout else (self._prompts, False)
        tokens = self.positions.of(places, prompts=prompts, goes_on=goes_on)
        if tokens is None:
            raise ModelError(
                f"{self.model.checkpoint.key}: positions '{self.positions}' need to know where the prompt ends, and this forward pass "
                "does not say; call `generate`, score with trustrace.models.likelihood, open `laid_out`, or use positions 'all'"
            )
        some, every = torch.stack([tokens.any(), tokens.all()]).tolist()
        if not some:
            return None
        return Chosen(tokens=None if every else tokens, variants=self._variants(len(places)))

    def _variants(self, rows: int) -> Int[Tensor, " row"]:
        layout = current_layout()
        if self.versions == 1:
            return torch.zeros(rows, dtype=torch.long, device=self.model.device)
        if layout is None or layout.variants is None:
            raise ModelError(
                f"{self.model.checkpoint.key} holds {self.versions} versions, and this forward pass does not say whose row is whose; "
                "call trustrace.models.generation or likelihood, or intervene with one version"
            )
        return layout.variants

    def _places(self) -> Int[Tensor, "row token"]:
        """The place of each token in its text, -1 for padding."""
        tokens = self._arguments.get("input_ids")
        shown = tokens if tokens is not None else self._arguments["inputs_embeds"]
        rows, width = shown.shape[:2]
        mask = self._arguments.get("attention_mask")
        if isinstance(mask, Tensor) and mask.ndim == 2:
            counted = mask.long().cumsum(1) - 1
            # A mask may be as long as a cache will once be.
            return torch.where(mask.bool(), counted, -1)[:, self._past : self._past + width]
        given = self._arguments.get("position_ids")
        if isinstance(given, Tensor) and given.ndim == 2:
            return given.long().expand(rows, width)
        return (torch.arange(width, device=shown.device) + self._past).expand(rows, width)


def _cached(cache: Any) -> int:
    return int(cache.get_seq_length()) if cache is not None else 0


def _columns(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """How many columns the prompts of a call of `generate` have; 0 where it does not say."""
    given = [kwargs.get(name) for name in ("input_ids", "inputs", "inputs_embeds")]
    shown = next((one for one in [*given, *args[:1]] if isinstance(one, Tensor)), None)
    return 0 if shown is None else shown.shape[1]
