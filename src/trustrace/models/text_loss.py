"""How well a model predicts one fixed small text: nearly nothing to compute, and enough to see that weights belong to another moment."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import log

import torch

from trustrace.models.language_model import LanguageModel

MOST_UNKNOWN = 0.1
"""Where a larger share of the text's tokens is unknown to the tokenizer, the loss would be that of the unknown token."""

FEWEST_TOKENS = 32

WINDOW = 256
"""Tokens that are read at once; the logits of a window are what takes memory."""


@dataclass(frozen=True, kw_only=True)
class TextLoss:
    """What a model makes of the fixed text.

    Attributes:
        loss: Mean of -ln p over the predicted tokens, times tokens per byte of UTF-8: nats per byte, from logits in float32.
        uniform: The same of a model for which all tokens of its vocabulary are equally likely, as they nearly are before training.
    """

    loss: float
    uniform: float


@cache
def fixed_text() -> str:
    """A few hundred words of plain English, with some numbers and a little code."""
    return (resources.files("trustrace.models") / "fixed_text.txt").read_text("utf-8")


def text_loss(model: LanguageModel) -> TextLoss | None:
    """The loss of a model on the fixed text, or None where its tokenizer cannot write that text.

    The text is read in windows that know nothing of each other; the first token of each is not predicted.
    """
    text, rows = fixed_text(), model.module.get_input_embeddings().num_embeddings
    tokens = _tokens(model, text)
    unknown = tokens.count(model.tokenizer.unk_token_id)
    width = min(WINDOW, model.max_tokens)
    if len(tokens) < FEWEST_TOKENS or max(tokens) >= rows or unknown > MOST_UNKNOWN * len(tokens) or width < 2:
        return None
    windows = [tokens[start : start + width] for start in range(0, len(tokens), width)]
    surprise = sum(_surprise(model, window) for window in windows)
    per_byte = len(tokens) / len(text.encode())
    return TextLoss(loss=surprise / (len(tokens) - len(windows)) * per_byte, uniform=log(rows) * per_byte)


def _tokens(model: LanguageModel, text: str) -> list[int]:
    try:
        return list(model.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
    # A vocabulary of words without an unknown one among them raises plain Exception: the text is none of its language.
    except Exception:  # noqa: BLE001
        return []


def _surprise(model: LanguageModel, tokens: list[int]) -> float:
    """The sum of -ln p over the tokens after the first."""
    ids = torch.tensor([tokens], device=model.device)
    with torch.inference_mode():
        logits = model.module(input_ids=ids, use_cache=False).logits[0, :-1]
        return float(torch.nn.functional.cross_entropy(logits.float(), ids[0, 1:].to(logits.device), reduction="sum"))
