"""Prequential description length: what it costs to send the labels to a receiver who learns while receiving.

Labels are sent in portions. The first is sent as fair coin tosses, each later one in the code of a probe trained on all before it. A probe
that needs few examples sends a short message, so that this number goes on falling where accuracy has saturated.

The regulariser is not known to the receiver either: each portion is coded by the mixture of all regularisers, weighted by how well each has
coded so far. The whole message then takes -log₂ mean_C 2^(-L_C) bits, at most log₂ of the grid's size more than the best single one.

References:
    Voita and Titov (2020), Information-theoretic probing with minimum description length (online code, portions).
    Dawid (1984), Statistical theory: the prequential approach; Cesa-Bianchi and Lugosi (2006), section 9 (mixtures).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float64
from scipy.special import logsumexp
from torch import Tensor

from trustrace.measures.config import Features
from trustrace.measures.probing import SELECTION_TOLERANCE, FoldSpace, fit_masks
from trustrace.measures.scoring import Scores, Weights, row_losses
from trustrace.measures.spaces import FeatureSpace, feature_space

PORTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Ends of the portions, as shares of the groups."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Portions:
    """The order of sending.

    Attributes:
        seen: The rows before each portion.
        sent: The rows of each portion; the first one's `seen` is empty.
    """

    seen: tuple[Bool[np.ndarray, " statement"], ...]
    sent: tuple[Bool[np.ndarray, " statement"], ...]


def portions(groups: Sequence[str], *, rows: Bool[np.ndarray, " statement"], rng: np.random.Generator) -> Portions:
    """Cut `rows` into portions of whole groups, in seeded order; small data have fewer portions."""
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    present = np.unique(members[rows])
    rank = np.full(len(names), len(names))
    rank[rng.permutation(present)] = np.arange(len(present))
    ends = sorted({0, *(int(np.ceil(share * len(present))) for share in PORTIONS)})
    place = np.where(rows, rank[members], len(names))
    return Portions(
        seen=tuple(place < end for end in ends[:-1]),
        sent=tuple((place >= start) & (place < end) for start, end in pairwise(ends)),
    )


def code_lengths(
    values: Tensor,
    spaces: Sequence[FoldSpace],
    labels: Float64[Tensor, " statement"],
    order: Portions,
    *,
    regularisers: Sequence[float],
    features: Features,
) -> Float64[np.ndarray, "statement regulariser"]:
    """The bits that each label costs under each regulariser; 1 bit while only one class has been seen; NaN for rows that are not sent."""
    y = labels.cpu().numpy()
    bits = np.full((len(y), len(regularisers)), np.nan)
    for sent in order.sent:
        bits[sent] = 1.0
    learned = [(seen, sent) for seen, sent in zip(order.seen, order.sent, strict=True) if len(np.unique(y[seen])) == 2]
    for space, steps in _spaces_of(values, spaces, learned, features=features):
        for batch in _batches(steps):
            _code(bits, space, labels, batch, regularisers=regularisers)
    return bits


def mixture_bits(bits: Float64[np.ndarray, "statement regulariser"], weights: Weights) -> Scores:
    """Bits per statement of the mixture code, one per draw: -log₂ mean_C 2^(-Σ w bits_C) / Σ w."""
    totals = bits.T @ weights.astype(np.float64)
    nats = -logsumexp(-totals * np.log(2), axis=0, b=1 / bits.shape[1])
    return np.asarray(nats / np.log(2) / weights.sum(axis=0, dtype=np.float64))


Step = tuple[Bool[np.ndarray, " statement"], Bool[np.ndarray, " statement"]]


def _batches(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps that have seen a like number of rows, to a factor of four: a fit need not carry rows that it will not see."""
    most = max(int(seen.sum()) for seen, _ in steps)
    return [list(batch) for _, batch in groupby(steps, key=lambda step: int(np.log2(most / step[0].sum()) / 2))]


def _code(
    bits: Float64[np.ndarray, "statement regulariser"],
    space: FeatureSpace,
    labels: Float64[Tensor, " statement"],
    steps: Sequence[Step],
    *,
    regularisers: Sequence[float],
) -> None:
    """Fill in what the rows sent in `steps` cost."""
    used = np.any([seen | sent for seen, sent in steps], axis=0)
    rows = torch.from_numpy(used).to(labels.device)
    masks = [seen[used] for seen, _ in steps for _ in regularisers]
    strengths = list(regularisers) * len(steps)
    fitted = fit_masks(space.take(rows), labels[rows][:, None], masks, strengths, tolerance=SELECTION_TOLERANCE)
    log_odds = np.full((len(used), len(strengths)), np.nan)
    log_odds[used] = fitted.cpu().numpy()
    y = labels.cpu().numpy()
    for step, (_, sent) in enumerate(steps):
        for place in range(len(regularisers)):
            predicted = log_odds[sent, step * len(regularisers) + place]
            bits[sent, place] = row_losses(y[sent].astype(np.int64), predicted) / np.log(2)


def _spaces_of(
    values: Tensor, spaces: Sequence[FoldSpace], steps: Sequence[Step], *, features: Features
) -> list[tuple[FeatureSpace, list[Step]]]:
    """The shared space for all steps, or one for each where features are fitted on the rows seen so far."""
    if not steps:
        return []
    if features != "zscore":
        return [(spaces[0].space, list(steps))]
    return [
        (feature_space(values, features=features, train=torch.from_numpy(step[0]).to(values.device)), [step])
        for step in steps
    ]
