"""Prompts become the past from which each version of a model answers, with what they share read once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from trustrace.models.language_model import LanguageModel
from trustrace.models.reading import Past, Tokens, advanced


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompted:
    """Rows that have read their prompts but for the last tokens.

    Attributes:
        past: What the rows have read.
        rests: The prompt's tokens that each row still has to read, at least one.
        prompts: Tokens of each row's prompt.
        variants: Which version of the model each row is meant for.
        places: Which prompt each row has.
    """

    past: Past
    rests: tuple[Tokens, ...]
    prompts: tuple[int, ...]
    variants: Int[Tensor, " row"]
    places: tuple[int, ...]


def begun(model: LanguageModel, beginning: Tokens) -> Past:
    """The past after the `beginning` of all prompts: one row where all variants read it alike, else one for each."""
    apart = model.sharing == "beginning"
    rows = model.variants if apart else 1
    variants = torch.arange(rows, device=model.device) if apart else None
    # Every prompt is longer than what they all begin with.
    ends = [len(beginning) + 1] * rows
    empty = Past.nothing(model, rows=rows)
    return advanced(model, empty, [beginning] * rows, prompts=ends, variants=variants, goes_on=True)


def prompted(
    model: LanguageModel,
    past: Past,
    prompts: Sequence[Tokens],
    *,
    beginning: Tokens,
    copies: Sequence[int],
    room: int,
    is_whole: bool = False,
) -> Prompted:
    """Rows that go on from `past`, the past of the prompts' `beginning`.

    Args:
        model: The model.
        past: From :func:`begun`.
        prompts: The prompts, whole.
        beginning: What they begin with.
        copies: Rows that each version of the model needs of each prompt.
        room: Tokens that each row will read after its prompt.
        is_whole: Whether each row still has to read all of its prompt but for the beginning: better where no two rows have one prompt.

    Returns:
        Rows in order of prompt, copy and variant.
    """
    rests = [prompt[len(beginning) :] for prompt in prompts]
    places = [place for place, count in enumerate(copies) for _ in range(count * model.variants)]
    variants = torch.arange(model.variants, device=model.device).repeat(sum(copies))
    if model.sharing == "prompt" and not is_whole:
        # All but the last token is the same for every variant and every copy.
        shared = _shared(model, past, rests, [len(prompt) for prompt in prompts])
        rows = shared.take(torch.tensor(places, device=model.device), room=room + 1)
        left = [rest[-1:] for rest in rests]
    else:
        own = variants if len(past.mask) > 1 else torch.zeros_like(variants)
        rows, left = past.take(own, room=room + max(map(len, rests))), rests
    return Prompted(
        past=rows,
        rests=tuple(left[place] for place in places),
        prompts=tuple(len(prompts[place]) for place in places),
        variants=variants,
        places=tuple(places),
    )


def _shared(model: LanguageModel, past: Past, rests: Sequence[Tokens], ends: Sequence[int]) -> Past:
    """The past of each prompt but for its last token."""
    first = torch.zeros(len(rests), dtype=torch.long, device=model.device)
    rows = past.take(first, room=max(map(len, rests)) - 1)
    return advanced(model, rows, [rest[:-1] for rest in rests], prompts=ends, variants=None)
