"""A statement from outside: its counts of characters, words, capitals, digits and punctuation, and what one of them can tell."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Real

SURFACE_COUNTS: tuple[str, ...] = ("characters", "words", "capitals", "digits", "punctuation marks")
"""The columns of :func:`surface_counts`, in order."""


def surface_counts(texts: Sequence[str]) -> Int[np.ndarray, "statement count"]:
    """How many characters, words, capitals, digits and punctuation marks each text has.

    Words are runs without white space; capitals, digits and punctuation follow Unicode (``str.isupper``, ``str.isdigit``, categories
    P*). The columns are :data:`SURFACE_COUNTS`.
    """
    return np.array([_counts(text) for text in texts], dtype=np.int64).reshape(len(texts), len(SURFACE_COUNTS))


def _counts(text: str) -> tuple[int, int, int, int, int]:
    capitals = sum(letter.isupper() for letter in text)
    digits = sum(letter.isdigit() for letter in text)
    punctuation = sum(unicodedata.category(letter).startswith("P") for letter in text)
    return len(text), len(text.split()), capitals, digits, punctuation


def rank_auroc(scores: Real[np.ndarray, " statement"], labels: Int[np.ndarray, " statement"]) -> float:
    """The chance that a row labelled 1 outscores a row labelled 0, ties counting half; NaN where a class is absent.

    With R the sum of the mid-ranks of the n1 rows labelled 1, this is (R - n1 (n1 + 1) / 2) / (n1 n0).

    References:
        Mann and Whitney (1947), On a test of whether one of two random variables is stochastically larger than the other.
    """
    n_one = int(labels.sum())
    n_zero = len(labels) - n_one
    if not n_one or not n_zero:
        return math.nan
    _, rank, count = np.unique(scores, return_inverse=True, return_counts=True)
    mid_ranks = np.cumsum(count) - (count - 1) / 2
    return float((mid_ranks[rank][labels == 1].sum() - n_one * (n_one + 1) / 2) / (n_one * n_zero))


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The rule "labelled `above` where the count is at least `at_least`, the other label elsewhere", and the rows it gets right."""

    at_least: float
    above: int
    correct: int


def best_threshold(scores: Real[np.ndarray, " statement"], labels: Int[np.ndarray, " statement"]) -> Threshold:
    """The single threshold that gets most of these same rows right; no threshold does worse than the majority class.

    The smallest score as threshold calls every row `above`, so that the majority class is among the rules; of equally good rules the one
    with the lowest threshold is returned.
    """
    values, column = np.unique(scores, return_inverse=True)
    ones = np.bincount(column, weights=labels, minlength=len(values))
    zeros = np.bincount(column, weights=1 - labels, minlength=len(values))
    ones_above = np.cumsum(ones[::-1])[::-1]
    zeros_above = np.cumsum(zeros[::-1])[::-1]
    correct_if_one_above = ones_above + zeros.sum() - zeros_above
    correct = np.stack([len(labels) - correct_if_one_above, correct_if_one_above])
    place, above = np.unravel_index(int(correct.T.argmax()), correct.T.shape)
    return Threshold(at_least=float(values[place]), above=int(above), correct=round(float(correct[above, place])))
