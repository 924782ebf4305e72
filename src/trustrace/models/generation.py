"""A model answers prompts: in batches, each answer as if it were asked alone.

The loop is that of transformers; what is ours is what it starts from (shared beginnings read once, all versions of a model as rows of one
batch) and where it ends. Greedy answers depend on the batch by rounding alone. Sampled ones draw their noise by the prompt, so that they
do not depend on it either, and versions of one model answer a prompt under the same noise.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TopPLogitsWarper,
)

from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError, DataError
from trustrace.core.progress import Progress, silent
from trustrace.models.language_model import LanguageModel
from trustrace.models.layout import Layout, laid_out
from trustrace.models.prompting import Prompted, begun, prompted
from trustrace.models.reading import (
    Tokens,
    batches,
    beginning_of,
    comfortable,
    filler,
    padded,
    require_context,
    tokens_of,
    told,
)

Ending = Literal["stop", "eos", "length"]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How an answer is written.

    Attributes:
        max_new_tokens: Where it is cut at the latest.
        stops: Texts before which it is cut.
        temperature: 0 takes the likeliest token; else tokens are drawn from softmax(logits / temperature).
        top_p: Draw from the likeliest tokens that together have this probability.
        seed: The seed of the draws.
    """

    max_new_tokens: int
    stops: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not 0 <= self.temperature < np.inf or not 0 < self.top_p <= 1 or "" in self.stops:
            raise ConfigError(
                f"{self}: max_new_tokens must be at least 1, temperature at least 0, top_p in (0, 1], and no stop empty"
            )


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer.

    Attributes:
        text: What was written, up to the first stop.
        tokens: All tokens that were written, without an end-of-sequence token.
        ending: Why it ended: at a stop, by an end-of-sequence token, or cut at its longest.
    """

    text: str
    tokens: Tokens
    ending: Ending


def generate(
    model: LanguageModel,
    prompts: Sequence[str],
    *,
    decoding: Decoding,
    batch_tokens: int | None = None,
    progress: Progress = silent,
) -> tuple[tuple[Response, ...], ...]:
    """The answer of each of the model's variants to each prompt.

    Args:
        model: The model, changed or not; its own defaults for generation are ignored.
        prompts: What it is asked, as text.
        decoding: How to write.
        batch_tokens: Tokens that are held at once; by default what suits the device.
        progress: Told of prompts as they are answered.

    Returns:
        Responses by variant, then by prompt.

    Raises:
        DataError: there are no prompts, or one leaves no room for the answer in the model's context.
        ConfigError: `batch_tokens` is not positive.
    """
    if not prompts:
        raise DataError("no prompts to answer; at least one is needed")
    encoded = [tokens_of(model, prompt) for prompt in prompts]
    for place, tokens in enumerate(encoded):
        if not tokens:
            raise DataError(f"prompt {place} has no token; give it text")
        require_context(model, len(tokens) + decoding.max_new_tokens, what=f"prompt {place} with its answer")
    encoded = [told(model, tokens) for tokens in encoded]
    answers: dict[tuple[int, int], Response] = {}
    beginning = beginning_of(model, encoded)
    past = begun(model, beginning)
    lengths = [len(tokens) + decoding.max_new_tokens for tokens in encoded]
    limit = comfortable(model, batch_tokens)
    for places in batches(lengths, copies=[model.variants] * len(encoded), limit=limit):
        rows = prompted(
            model,
            past,
            [encoded[place] for place in places],
            beginning=beginning,
            copies=[1] * len(places),
            room=decoding.max_new_tokens,
            is_whole=model.variants == 1,
        )
        for row, response in enumerate(_answered(model, rows, decoding, asked=places)):
            answers[int(rows.variants[row]), places[rows.places[row]]] = response
        progress(len(answers) // model.variants, len(prompts), "prompts")
    return tuple(tuple(answers[variant, place] for place in range(len(prompts))) for variant in range(model.variants))


def _answered(model: LanguageModel, rows: Prompted, decoding: Decoding, *, asked: Sequence[int]) -> Iterator[Response]:
    """The response of each row."""
    tokens, rest = padded(rows.rests, device=model.device, side="left", fill=filler(model))
    mask = torch.cat([rows.past.mask, rest], dim=1)
    blank = torch.full_like(rows.past.mask, filler(model))
    width = mask.shape[1]
    layout = Layout(prompts=torch.tensor(rows.prompts, device=model.device), variants=rows.variants)
    draws = [_Noise(decoding, [asked[place] for place in rows.places], start=width)] if decoding.temperature else []
    with torch.inference_mode(), _own_settings(model, decoding), laid_out(layout):
        written = model.module.generate(
            input_ids=torch.cat([blank, tokens], dim=1),
            attention_mask=mask,
            past_key_values=rows.past.cache,
            logits_processor=LogitsProcessorList(draws),
            stopping_criteria=StoppingCriteriaList([_Stops(model, decoding.stops, start=width)]),
        )
    for row in written[:, width:].tolist():
        yield _response(model, row, decoding)


def _response(model: LanguageModel, row: Sequence[int], decoding: Decoding) -> Response:
    ends = _end_tokens(model)
    length = next((place for place, token in enumerate(row) if token in ends), len(row))
    text = model.tokenizer.decode(row[:length], skip_special_tokens=True)
    cuts = [found for stop in decoding.stops if (found := text.find(stop)) >= 0]
    if cuts:
        # The row goes on, padded, until the last of its batch has ended.
        kept = next(n for n in range(1, length + 1) if _holds(model, row[:n], decoding.stops))
        return Response(text=text[: min(cuts)], tokens=tuple(row[:kept]), ending="stop")
    ending: Ending = "eos" if length < len(row) else "length"
    return Response(text=text, tokens=tuple(row[:length]), ending=ending)


def _end_tokens(model: LanguageModel) -> frozenset[int]:
    """What ends a text, by the checkpoint's own settings or by its tokenizer."""
    named = model.module.generation_config.eos_token_id
    named = model.tokenizer.eos_token_id if named is None else named
    return frozenset([named] if isinstance(named, int) else named or [])


@contextmanager
def _own_settings(model: LanguageModel, decoding: Decoding) -> Iterator[None]:
    """Generation by `decoding` alone: whatever the checkpoint asks for by default (sampling, penalties) is put back afterwards."""
    theirs = model.module.generation_config
    ours = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        do_sample=False,
        eos_token_id=sorted(_end_tokens(model)) or None,
        pad_token_id=filler(model),
    )
    try:
        model.module.generation_config = ours
        yield
    finally:
        model.module.generation_config = theirs


def _holds(model: LanguageModel, tokens: Sequence[int], stops: Sequence[str]) -> bool:
    text = model.tokenizer.decode(tokens, skip_special_tokens=True)
    return any(stop in text for stop in stops)


class _Stops(StoppingCriteria):  # type: ignore[misc]
    """Ends a row once one of the stops is in what it wrote."""

    def __init__(self, model: LanguageModel, stops: tuple[str, ...], *, start: int) -> None:
        self.model, self.stops, self.start = model, stops, start

    def __call__(self, input_ids: Int[Tensor, "row token"], scores: Any, **_: Any) -> Tensor:
        if not self.stops:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        held = [_holds(self.model, row, self.stops) for row in input_ids[:, self.start :].tolist()]
        return torch.tensor(held, device=input_ids.device)


class _Noise(LogitsProcessor):  # type: ignore[misc]
    """Turns the likeliest token into a draw: the largest of log-probability plus Gumbel noise is distributed as the softmax.

    References:
        Gumbel (1954), Statistical theory of extreme values; Maddison, Tarlow and Minka (2014), A* sampling.
    """

    def __init__(self, decoding: Decoding, prompts: Sequence[int], *, start: int) -> None:
        self.decoding, self.prompts, self.start = decoding, prompts, start

    def __call__(
        self, input_ids: Int[Tensor, "row token"], scores: Float[Tensor, "row vocab"]
    ) -> Float[Tensor, "row vocab"]:
        tempered = scores / self.decoding.temperature
        if self.decoding.top_p < 1:
            tempered = TopPLogitsWarper(self.decoding.top_p)(input_ids, tempered)
        step = input_ids.shape[1] - self.start
        noise = {
            prompt: generator(self.decoding.seed, "decoding", prompt, step).gumbel(size=scores.shape[1])
            for prompt in set(self.prompts)
        }
        return tempered + torch.from_numpy(np.stack([noise[prompt] for prompt in self.prompts])).to(tempered)
