"""How far responses have degenerated into repetition. Silence is counted by whoever asks."""

import zlib
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import numpy as np

from trustrace.core.errors import AlignmentError
from trustrace.evaluation.outcomes import Graded
from trustrace.models.generation import Response


def degeneration(responses: Sequence[Response], *, groups: Sequence[str]) -> tuple[Graded, ...]:
    """Five measures of each response: ``distinct_1``, ``distinct_2``, ``repeated_4``, ``longest_run`` and ``compression_ratio``.

    The first four read the tokens as they were written, a stop included; the last reads the text.

    Args:
        responses: What a model wrote.
        groups: The group of each response.

    Raises:
        AlignmentError: there are not as many groups as responses.

    References:
        Li et al. (2016), A diversity-promoting objective function for neural conversation models (distinct-n, here for each response);
        Welleck et al. (2020), Neural text generation with unlikelihood training (repeated n-grams).
    """
    if len(responses) != len(groups):
        raise AlignmentError(f"{len(responses)} responses but {len(groups)} groups; each response needs one")
    tokens, texts = [response.tokens for response in responses], [response.text for response in responses]
    lower: Literal["lower"] = "lower"
    return (
        _graded("distinct_1", [distinct(each, 1) for each in tokens], groups, "neither"),
        _graded("distinct_2", [distinct(each, 2) for each in tokens], groups, "neither"),
        _graded("repeated_4", [repeated(each, 4) for each in tokens], groups, lower),
        _graded("longest_run", [float(longest_run(each)) for each in tokens], groups, lower),
        _graded("compression_ratio", [compression_ratio(each) for each in texts], groups, "neither"),
    )


def distinct(tokens: Sequence[int], n: int) -> float:
    """Different n-grams / n-grams, in (0, 1]; NaN where there are fewer than `n` tokens."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def repeated(tokens: Sequence[int], n: int) -> float:
    """The share of n-grams that stood before: 1 - :func:`distinct`."""
    return 1.0 - distinct(tokens, n)


def longest_run(tokens: Sequence[int]) -> int:
    """How often one token follows itself at most, itself included; 0 where there is none."""
    return max((sum(1 for _ in run) for _, run in groupby(tokens)), default=0)


def compression_ratio(text: str) -> float:
    """UTF-8 bytes / their bytes under zlib at level 9; NaN where there is no text.

    About 2 for a page of English, below 1 for a few words (zlib adds at least eight bytes of its own), above 10 for a loop. Compare texts
    of like length.
    """
    raw = text.encode("utf-8", errors="replace")
    return len(raw) / len(zlib.compress(raw, 9)) if raw else float("nan")


def _graded(
    quantity: str, values: Sequence[float], groups: Sequence[str], better: Literal["lower", "neither"]
) -> Graded:
    column = np.array(values, dtype=np.float64).reshape(-1, 1)
    missing = int(np.isnan(column).sum())
    note = f"{missing} of {len(values)} responses too short" if missing else ""
    return Graded(quantity=quantity, method="counted", values=column, groups=tuple(groups), better=better, note=note)
