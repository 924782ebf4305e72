"""Tiny models and statements that begin alike, for the tests of this room."""

import random

from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel

_QUESTIONS = ("Is the sky blue?", "Do cats walk at night?", "What is it")
_ANSWERS = ("Yes.", "No, never.", "No, never at all.", "Yes.")

ALONE = ("Something else.", "x")


def statements() -> list[str]:
    """Statements that share questions and parts of answers, two of them equal, in no order."""
    texts = [f"{question} {answer}" for question in _QUESTIONS for answer in _ANSWERS] + list(ALONE)
    random.Random(0).shuffle(texts)
    return texts


def language_model(family: str = "llama", *, adds_bos: bool = True, seed: int = 0) -> LanguageModel:
    return LanguageModel.of(tiny.build(family, seed=seed), tiny.tokenizer(adds_bos=adds_bos))
