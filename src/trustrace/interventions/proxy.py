"""Proxy-tuning: a model speaks with what tuning did to another, which it takes from the other's logits before and after.

References:
    Liu et al. (2024), Tuning language models by proxy.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from trustrace.core.errors import ConfigError, ModelError, TokenizerError
from trustrace.models.ensemble import Ensemble
from trustrace.models.language_model import LanguageModel, strictest
from trustrace.models.layout import current_layout
from trustrace.models.vocabularies import extends


@dataclass(frozen=True, kw_only=True, eq=False)
class ProxyTuning:
    """Logits = base + alpha (expert - anti_expert), at every token.

    >>> with ProxyTuning(expert=tuned, anti_expert=last, alphas=(0.0, 1.0)).on(early) as proxied:
    ...     plain, tuned_by_proxy = generate(proxied, prompts, decoding=Decoding(max_new_tokens=50))

    All three read the same tokens: those that the base's tokenizer makes of a text, after the base's preamble. A network that serves
    in two places is run once, and is in both places what it is: steered in both, if it is steered.

    Attributes:
        expert: The tuned model.
        anti_expert: The model that was tuned.
        alphas: The strength in each version of the model; 0 is the base itself.
    """

    expert: LanguageModel
    anti_expert: LanguageModel
    alphas: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.alphas or not all(map(math.isfinite, self.alphas)):
            raise ConfigError(f"alphas are {self.alphas}; give at least one, all of them finite numbers")

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """The base, tuned by proxy; no part of it is changed.

        Interventions nest, within and without; at most one of them may have several versions.

        Raises:
            TokenizerError: a vocabulary differs by more than special tokens after the base's, or a head has fewer rows than the vocabulary.
            ModelError: the model holds several versions already, the expert or the anti-expert holds several or has a preamble, or
                one of the three is tuned by proxy itself.
        """
        parts = (model, self.expert, self.anti_expert)
        _require_versions(parts, len(self.alphas))
        vocabulary = _common_vocabulary(parts)
        readers = _each_once(parts)
        modules = [reader.module for reader in readers]
        mix = _Mix(
            alphas=self.alphas,
            expert=modules.index(self.expert.module),
            anti_expert=modules.index(self.anti_expert.module),
            vocabulary=vocabulary,
            key=model.checkpoint.key,
        )
        yield replace(
            model,
            module=Ensemble(modules, mix),
            companions=readers[1:],
            variants=max(model.variants, len(self.alphas)),
            reads_alike=len(self.alphas) > 1,
            sharing=strictest(*(part.sharing for part in parts)),
        )


def contrasted(
    base: Float[Tensor, "row token width"],
    expert: Float[Tensor, "row token expert_width"],
    anti_expert: Float[Tensor, "row token anti_width"],
    *,
    alphas: Float[Tensor, "#row version"],
    vocabulary: int,
) -> Float[Tensor, "row version token width"]:
    """Base + alpha (expert - anti_expert) over the vocabulary, in float32 at least; where alpha is 0, the base.

    Half precision keeps two or three digits: of logits around twenty bfloat16 keeps eighths, and likely tokens would tie.

    Columns beyond the vocabulary are padding of the base's head, which no token belongs to. They stay as the base has them, so that its
    softmax stays its own at alpha 0: experts may be padded to another width, and minus infinity would make entropies undefined.
    """
    wide = torch.promote_types(base.dtype, torch.float32)
    held = base.to(wide)[:, None]
    shift = expert[..., :vocabulary].to(wide) - anti_expert[..., :vocabulary].to(wide)
    strength = alphas.to(shift)[..., None, None]
    mixed = held.repeat(1, alphas.shape[1], 1, 1)
    known = held[..., :vocabulary]
    # Nothing of the others enters where alpha is 0: not even 0 times infinity, nor the sign of a zero.
    mixed[..., :vocabulary] = torch.where(strength == 0, known, known + strength * shift[:, None])
    return mixed


@dataclass(frozen=True, kw_only=True, eq=False)
class _Mix:
    """The formula, with each row's own alpha or with all of them; `expert` and `anti_expert` are places among the members."""

    alphas: tuple[float, ...]
    expert: int
    anti_expert: int
    vocabulary: int
    key: str

    def __call__(self, logits: Sequence[Float[Tensor, "row token _"]]) -> Float[Tensor, "answer token _"]:
        return contrasted(
            logits[0],
            logits[self.expert],
            logits[self.anti_expert],
            alphas=self._of_rows(logits[0].device),
            vocabulary=self.vocabulary,
        ).flatten(0, 1)

    def _of_rows(self, device: torch.device) -> Float[Tensor, "#row version"]:
        alphas = torch.tensor(self.alphas, device=device, dtype=torch.float64)
        layout = current_layout()
        if layout is None and len(alphas) > 1:
            raise ModelError(
                f"{self.key} holds {len(alphas)} versions, and this forward pass does not say whose row is whose; "
                "call trustrace.models.generation or likelihood, or intervene with one version"
            )
        if layout is None or layout.variants is None or len(alphas) == 1:
            return alphas[None]
        return alphas[layout.variants, None]


def _require_versions(parts: Sequence[LanguageModel], alphas: int) -> None:
    """Do nothing where at most one of base and intervention has several versions, and the others are plain models."""
    base, *others = parts
    if base.variants > 1 and alphas > 1:
        raise ModelError(
            f"{base.checkpoint.key} holds {base.variants} versions already; put all versions into one intervention"
        )
    for part in others:
        if part.variants > 1 or part.preamble:
            raise ModelError(
                f"{part.checkpoint.key} holds {part.variants} versions and a preamble of {len(part.preamble)} tokens; "
                "an expert and an anti-expert are one version each, and what is said before prompts is said by the base"
            )
    for part in parts:
        if part.companions:
            raise ModelError(
                f"{part.checkpoint.key} is tuned by proxy already; give one ProxyTuning, with all alphas, plain models"
            )


def _each_once(parts: Sequence[LanguageModel]) -> tuple[LanguageModel, ...]:
    """The parts in their order, without those whose network is an earlier one's."""
    found: dict[int, LanguageModel] = {}
    for part in parts:
        found.setdefault(id(part.module), part)
    return tuple(found.values())


def _common_vocabulary(parts: Sequence[LanguageModel]) -> int:
    """How many columns of logits are tokens that the base can write.

    Heads are often padded, each to a width of its own: their widths say nothing. Special tokens beyond the base's head, such as an added
    padding token, are never written. Nor are those that tuning added to an expert: all three read and write what the base's tokenizer
    knows, and an expert's columns beyond are left out.

    Raises:
        TokenizerError: a vocabulary neither is the base's nor extends it by special tokens alone, or a head lacks tokens.
    """
    base = parts[0]
    known = base.tokenizer.get_vocab()
    for part in parts[1:]:
        if not extends(part.tokenizer.get_vocab(), known, special=_special_tokens(part)):
            raise TokenizerError(
                f"{part.checkpoint.key} has a vocabulary of {len(part.tokenizer)} tokens that is not that of {base.checkpoint.key} "
                f"with {len(base.tokenizer)}, nor that one and special tokens after it; logits can be added where token numbers mean "
                "the same, so take models of one tokenizer"
            )
    tokens = known.values()
    special = set(base.tokenizer.all_special_ids)
    ordinary = 1 + max((token for token in tokens if token not in special), default=-1)
    columns: int = max(ordinary, min(1 + max(tokens), _width(base)))
    for part in parts:
        if _width(part) < columns:
            raise TokenizerError(
                f"{part.checkpoint.key} has logits for {_width(part)} tokens, but the vocabulary has {columns}; "
                "take a model whose head has a row for every token"
            )
    return columns


def _special_tokens(model: LanguageModel) -> frozenset[str]:
    added = model.tokenizer.added_tokens_decoder.values()
    return frozenset(token.content for token in added if token.special)


def _width(model: LanguageModel) -> int:
    return int(model.module.get_output_embeddings().weight.shape[0])
