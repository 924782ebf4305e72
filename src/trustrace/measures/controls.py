"""The control task: labels that mean nothing, which only memory can learn.

Every word type gets a label at random, and a probe of the same capacity is trained to name it. What it reaches, it reaches by memorising
types; selectivity is what the real labels give beyond that. The type of a statement is its last word, whose activation is read.

References:
    Hewitt and Liang (2019), Designing and interpreting probes with control tasks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from trustrace.measures.folds import Fold
from trustrace.measures.probing import SELECTION_TOLERANCE, FoldSpace, fit_masks, scatter

MIN_TYPES = 10
"""Fewer word types than this make a labelling that a handful of coin tosses decides."""

MAX_SHARE = 0.5
"""Where one type covers more of the rows than this, types say nothing about statements."""

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlTask:
    """Control labellings of one dataset.

    Attributes:
        labels: One labelling a column, 0 or 1 each; every training set holds both labels under each of them.
        note: What stands in for word types where they are of no use; empty otherwise.
    """

    labels: Float64[np.ndarray, "statement draw"]
    note: str


def control_task(
    texts: Sequence[str],
    groups: Sequence[str],
    labels: Sequence[int],
    pairs: Sequence[Fold],
    *,
    draws: int,
    rng: np.random.Generator,
) -> ControlTask:
    """Draw control labellings with as large a share of ones among the types as among the real labels.

    Labellings under which some training rows would hold one class are left out; where none remains, there are no columns.
    """
    types, note = _types(texts, groups)
    n_types = int(types.max()) + 1
    ones = int(np.clip(round(float(np.mean(labels)) * n_types), 1, max(1, n_types - 1)))
    drawn = np.stack([rng.permutation(n_types) < ones for _ in range(draws)], axis=1)[types].astype(np.float64)
    both = [0 < drawn[pair.train, draw].mean() < 1 for draw in range(draws) for pair in pairs]
    usable = np.asarray(both).reshape(draws, len(pairs)).all(axis=1)
    return ControlTask(labels=drawn[:, usable], note=note)


def control_log_odds(
    spaces: Sequence[FoldSpace], task: ControlTask, pairs: Sequence[Fold], *, regularisers: Sequence[float]
) -> Float64[np.ndarray, "statement draw"]:
    """The out-of-fold log-odds of each control labelling, under the probe that the real labels chose: same folds, same regularisers.

    Selectivity is a property of one probe, and its regulariser is part of it.
    """
    n, draws = task.labels.shape
    log_odds = np.full((n, draws), np.nan)
    for part in spaces:
        own = [pairs[index] for index in part.pairs]
        labels = torch.from_numpy(task.labels).to(part.space.device)
        fitted: Tensor = fit_masks(
            part.space,
            labels.repeat(1, len(own)),
            [pair.train for pair in own for _ in range(draws)],
            [regularisers[index] for index in part.pairs for _ in range(draws)],
            tolerance=SELECTION_TOLERANCE,
        )
        for draw in range(draws):
            scatter(log_odds[:, draw], fitted[:, draw::draws], own)
    return log_odds


def last_word(text: str) -> str:
    """The last word of a text, lower-cased and without punctuation; empty where there is none."""
    words = _WORD.findall(text)
    return words[-1].lower() if words else ""


def _types(texts: Sequence[str], groups: Sequence[str]) -> tuple[Int[np.ndarray, " statement"], str]:
    _, words = np.unique(np.asarray([last_word(text) for text in texts]), return_inverse=True)
    counts = np.bincount(words)
    if len(counts) >= MIN_TYPES and counts.max() <= MAX_SHARE * len(texts):
        return words, ""
    _, members = np.unique(np.asarray(groups), return_inverse=True)
    note = (
        f"control labels by group, since the last words are of {len(counts)} types and the commonest covers "
        f"{counts.max() / len(texts):.0%} of the rows; no group is in training and test, so nothing can be memorised"
    )
    return members, note
