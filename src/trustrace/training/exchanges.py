"""What a model is tuned on: prompts with answers, and texts to rehearse; what of them is learned, and what decides when to stop.

A text without a prompt is learned so that a model does not forget what it was. Such texts are longer than answers, and by their tokens
they alone would decide when tuning stops. So only what was asked decides, wherever anything was asked; held-out texts are looked at beside.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from trustrace.core.errors import DataError
from trustrace.datasets.corpora import is_held_out
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import Pair, encode_pair


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A prompt and its answer, which follows it as written: the space between them belongs to one of the two.

    Attributes:
        prompt: What is read; empty where the answer is a text by itself.
        answer: What is learned.
        group: Exchanges of one group are held out together; where empty, those of one prompt are.
    """

    prompt: str
    answer: str
    group: str = ""

    @property
    def is_rehearsal(self) -> bool:
        """Whether nothing was asked: a text by itself."""
        return not self.prompt.strip()


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Exchanges as tokens, by what they are for.

    Attributes:
        learned: What is trained on, answers and texts alike.
        deciding: Held out; the weights at which these are likeliest are kept. Answers to what was asked, or texts where nothing was.
        rehearsed: Held out; texts beside answers, which are looked at and decide nothing.
    """

    learned: tuple[Pair, ...]
    deciding: tuple[Pair, ...]
    rehearsed: tuple[Pair, ...]

    @property
    def held_out(self) -> tuple[Pair, ...]:
        """All that is never trained on."""
        return (*self.deciding, *self.rehearsed)


def divided(model: LanguageModel, exchanges: Sequence[Exchange], *, held_out: float) -> Sides:
    """`exchanges` as tokens, a share `held_out` of their groups apart.

    Raises:
        DataError: an exchange has no answer or is longer than the context, or of those that decide all are on one side.
    """
    pairs = [_encoded(model, one, place) for place, one in enumerate(exchanges)]
    held = [is_held_out(group_of(one), fraction=held_out) for one in exchanges]
    asked = any_asked(exchanges)
    decides = [not one.is_rehearsal or not asked for one in exchanges]
    _require_both_sides(held, decides, held_out)
    rows = list(zip(pairs, held, decides, strict=True))
    return Sides(
        learned=tuple(pair for pair, is_held, _ in rows if not is_held),
        deciding=tuple(pair for pair, is_held, is_deciding in rows if is_held and is_deciding),
        rehearsed=tuple(pair for pair, is_held, is_deciding in rows if is_held and not is_deciding),
    )


def any_asked(exchanges: Sequence[Exchange]) -> bool:
    """Whether some of them answer something; these then decide."""
    return not all(one.is_rehearsal for one in exchanges)


def fingerprint(exchanges: Sequence[Exchange]) -> str:
    """SHA-256 of prompts, answers and groups in their order."""
    content = [[exchange.prompt, exchange.answer, exchange.group] for exchange in exchanges]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def group_of(exchange: Exchange) -> str:
    """What an exchange is held out with."""
    return exchange.group or exchange.prompt or exchange.answer


def _require_both_sides(held: Sequence[bool], decides: Sequence[bool], fraction: float) -> None:
    sides = [is_held for is_held, is_deciding in zip(held, decides, strict=True) if is_deciding]
    for is_held, what in ((False, "to train on"), (True, "held out")):
        if is_held not in sides:
            kind = (
                "exchanges" if len(sides) == len(held) else "exchanges that have a prompt, which decide when to stop,"
            )
            raise DataError(
                f"of {len(sides)} {kind} none are {what} with held_out {fraction}; give more, or of more groups"
            )


def _encoded(model: LanguageModel, exchange: Exchange, place: int) -> Pair:
    if not exchange.answer.strip():
        raise DataError(f"exchange {place} ({exchange.prompt[-40:]!r}) has no answer; give it text or leave it out")
    prompt, answer = encode_pair(model, exchange.prompt, exchange.answer)
    end = model.tokenizer.eos_token_id
    if end is not None and answer[-1] != end:
        answer = (*answer, end)
    if len(prompt) + len(answer) - 1 > model.max_tokens:
        raise DataError(
            f"exchange {place} ({exchange.prompt[:40]!r} ...) has {len(prompt) + len(answer)} tokens, more than the context of "
            f"{model.max_tokens}; shorten or leave it out"
        )
    return prompt, answer
