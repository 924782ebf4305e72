"""A model proves that what is read from it is what it computes.

Three things go wrong silently when activations are captured: a block's output is taken at the wrong place, a statement's activations
depend on what else is in its batch, or on the side on which shorter statements are padded. Each is measured on the model at hand.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trustrace.core.errors import ModelError
from trustrace.core.sites import Site
from trustrace.models.anatomy import Anatomy, watching
from trustrace.models.language_model import LanguageModel

# Statements differ in length, so these axes carry no common name.
Statement = Int[Tensor, " _"]
Readings = dict[str, Float[Tensor, "_ _ _"]]

TOLERANCE: Mapping[torch.dtype, float] = {
    torch.float64: 1e-8,
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
}
"""Largest relative difference that rounding explains: a wrong place, mask or position differs by tenths in any precision."""

_LENGTHS = (12, 7, 3)


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """Largest relative differences, ``‖a − b‖ / ‖b‖`` over the width of the residual stream, at any site and token.

    Attributes:
        hidden_states: Between what hooks read and Hugging Face's ``hidden_states``, where these must agree: ``embed`` is entry 0,
            ``block_i`` entry i + 1 but for the last block, ``final_norm`` the last entry.
        batch: Between statements in one batch, padded on the right, and each by itself.
        padding_side: Between the same batch padded on the left, with mask and positions to fit, and each statement by itself.
        tolerance: What the model's dtype allows.
    """

    hidden_states: float
    batch: float
    padding_side: float
    tolerance: float


def prove(model: LanguageModel) -> SelfCheck:
    """Measure a model against itself.

    Raises:
        ModelError: something differs by more than the model's dtype explains; the message names what, where and by how much.
    """
    tolerance = TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16])
    statements = _statements(model)
    with torch.no_grad():
        alone = [_read(model, ids[None]) for ids in statements]
        differences = {
            "hidden_states": _against_hidden_states(model, statements[0]),
            "batch": _against_batch(model, statements, alone, side="right"),
            "padding_side": _against_batch(model, statements, alone, side="left"),
        }
    for what, by_site in differences.items():
        _require(model, what, by_site, tolerance=tolerance)
    return SelfCheck(**{what: max(by_site.values()) for what, by_site in differences.items()}, tolerance=tolerance)


def _require(model: LanguageModel, what: str, by_site: Mapping[str, float], *, tolerance: float) -> None:
    # NaN compares as neither, so it is asked for what it must be.
    wrong = {site: value for site, value in by_site.items() if not value <= tolerance}
    if not wrong:
        return
    meaning = {
        "hidden_states": "what hooks read differs from Hugging Face's hidden_states",
        "batch": "a statement in a batch differs from the statement by itself",
        "padding_side": "padding on the left differs from no padding",
    }
    site, value = max(wrong.items(), key=lambda item: item[1])
    raise ModelError(
        f"{model.checkpoint.key}: {meaning[what]} at {len(wrong)} sites, most at {site} by {value:.2g} "
        f"(relative; {model.dtype} allows {tolerance:g}); its activations cannot be trusted, load it with prove=False to look into it"
    )


def _statements(model: LanguageModel) -> list[Statement]:
    """Statements of fixed tokens and unequal length, so that one batch of them needs padding; no special tokens are among them."""
    rows = model.module.get_input_embeddings().num_embeddings
    longest = min(_LENGTHS[0], model.max_tokens)
    # A multiplicative walk visits tokens all over the vocabulary, the same ones in every run.
    tokens = (torch.arange(1, longest + 1, device=model.device) * 7919) % rows
    return [tokens[:length].roll(shift) for shift, length in enumerate(_LENGTHS)]


def _read(model: LanguageModel, ids: Int[Tensor, "statement token"], **inputs: Tensor) -> Readings:
    readings: Readings = {}

    def keep(site: Site, residual: Float[Tensor, "statement token d_model"]) -> None:
        readings[site.name] = residual.to(torch.float64)

    with watching(model.anatomy, model.sites, keep):
        model.anatomy.decoder(input_ids=ids, use_cache=False, **inputs)
    return readings


def _against_hidden_states(model: LanguageModel, ids: Statement) -> dict[str, float]:
    expected = model.anatomy.decoder(input_ids=ids[None], use_cache=False, output_hidden_states=True).hidden_states
    read = _read(model, ids[None])
    # The raw output of the last block is the one site that hidden_states leave out: their last entry is normalised.
    entries = {site.name: site.depth for site in model.sites[:-2]} | {"final_norm": len(expected) - 1}
    return {name: _difference(read[name], expected[entry]) for name, entry in entries.items()}


def _against_batch(
    model: LanguageModel, statements: list[Statement], alone: list[Readings], *, side: str
) -> dict[str, float]:
    """Pad statements to one batch on a side, and compare each with itself alone, site by site."""
    width = max(len(ids) for ids in statements)
    starts = [0 if side == "right" else width - len(ids) for ids in statements]
    batch = torch.zeros(len(statements), width, dtype=torch.long, device=model.device)
    mask = torch.zeros_like(batch)
    for row, (ids, start) in enumerate(zip(statements, starts, strict=True)):
        batch[row, start : start + len(ids)] = ids
        mask[row, start : start + len(ids)] = 1
    read = _read(model, batch, **_placed(model.anatomy, mask))
    spans = [slice(start, start + len(ids)) for ids, start in zip(statements, starts, strict=True)]
    return {
        site.name: max(
            _difference(read[site.name][row : row + 1, span], single[site.name])
            for row, (span, single) in enumerate(zip(spans, alone, strict=True))
        )
        for site in model.sites
    }


def _placed(anatomy: Anatomy, mask: Int[Tensor, "statement token"]) -> dict[str, Tensor]:
    """The mask, and positions that start at each statement's first token, for decoders that take positions at all."""
    if "position_ids" not in inspect.signature(anatomy.decoder.forward).parameters:
        return {"attention_mask": mask}
    return {"attention_mask": mask, "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)}


def _difference(one: Float[Tensor, "1 token d_model"], other: Float[Tensor, "1 token d_model"]) -> float:
    one, other = one.to(other.device, torch.float64), other.to(torch.float64)
    distance, size = (one - other).norm(dim=-1), other.norm(dim=-1)
    return float((distance / size.clamp(min=torch.finfo(torch.float64).tiny)).max())
