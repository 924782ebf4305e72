"""How much the statements of one block help the probes of the others: the part of a cross-validated score's noise that groups hide.

Each statement is scored once, but it also trains the probes that score all others. Where probes find nothing, statement g sways what is
said of h exactly as h sways what is said of g, since both hang on the product of their labels and of their readings: one chance is
counted twice, and groups that share no statement are right and wrong together. To see it, blocks of groups are left out of the
training rows one at a time, and what the others' predictions lose is counted.

With d_g what group g adds to a difference D of two views, and I_g what the other groups lose of D without g among their training rows,
Σ d_g² + Σ d_g I_g estimates the variance of D. Where every two groups matter to each other in the same way (a U-statistic of order
two) its mean is that variance; the sum of squares alone is half of it.

References:
    Efron and Stein (1981), The jackknife estimate of variance.
    Bengio and Grandvalet (2004), No unbiased estimator of the variance of k-fold cross-validation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from trustrace.core.draws import generator
from trustrace.measures.config import ProbingConfig
from trustrace.measures.folds import Fold
from trustrace.measures.over_training.linear import FoldProbes, spaces_of, standard_of
from trustrace.measures.over_training.views import Design, View
from trustrace.measures.probing import solve_masks
from trustrace.measures.spaces import readings

NONE = -1
"""The block of a row that no fold tests."""

Blocks = Int[np.ndarray, " statement"]
PerBlock = Float64[np.ndarray, " block"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Influence:
    """What the predictions of several views owe to each block of statements.

    Attributes:
        blocks: The block of each tested row.
        lost: By view, how many rows outside of each block are right, less how many are right without the block among the training rows.
    """

    blocks: Int[np.ndarray, " tested"]
    lost: Float64[np.ndarray, "view block"]


def blocks_of(design: Design, *, most: int) -> Blocks:
    """Tested groups in at most about `most` blocks of nearly equal numbers of groups, each inside the rows that one fold tests."""
    groups = np.asarray(design.groups)
    blocks = np.full(len(groups), NONE)
    per_fold, first = max(1, most // len(design.pairs)), 0
    for place, pair in enumerate(design.pairs):
        names = np.unique(groups[pair.test])
        order = generator(design.seed, "influence", place).permutation(len(names))
        count = min(per_fold, len(names))
        block_of = dict(zip(names[order].tolist(), (first + np.arange(len(names)) % count).tolist(), strict=True))
        blocks[pair.test] = [block_of[group] for group in groups[pair.test]]
        first += count
    return blocks


def influence(view: View, probes: FoldProbes, design: Design, blocks: Blocks, *, config: ProbingConfig) -> PerBlock:
    """How many rows are right under `probes` less how many are right under the same ones fitted without each block's rows."""
    read = readings(view.read(), features=config.features)
    labels = design.targets(read.device)
    standard = standard_of(read, [pair.train for pair in design.pairs], features=config.features)
    chosen = iter(probes.regularisers)
    lost = np.zeros(int(blocks.max()) + 1)
    for part, _, pairs in spaces_of(read, standard, design.pairs, features=config.features):
        for pair, regulariser in zip(pairs, chosen, strict=False):
            fits = _without(pair, blocks, design.labels)
            strengths = [regulariser] * len(fits.masks)
            said = solve_masks(part.space, labels[:, None], fits.masks, strengths).responses.cpu().numpy()
            right = ((said > 0) == (design.labels == 1)[:, None])[pair.test].sum(axis=0)
            lost[fits.left_out] += right[0] - right[1:]
    return lost


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fits:
    """The training rows of one fold, then the same without each block `left_out`."""

    masks: Sequence[Bool[np.ndarray, " statement"]]
    left_out: Sequence[int]


def _without(pair: Fold, blocks: Blocks, labels: Int[np.ndarray, " statement"]) -> _Fits:
    """A block without which the training rows would hold one class is kept in."""
    trained = np.unique(blocks[pair.train & (blocks != NONE)]).tolist()
    rest = {block: pair.train & (blocks != block) for block in trained}
    usable = [block for block in trained if 0 < labels[rest[block]].sum() < rest[block].sum()]
    return _Fits(masks=[pair.train, *(rest[block] for block in usable)], left_out=usable)


def inflation(
    differences: Float64[np.ndarray, "pair block"],
    lost: Float64[np.ndarray, "pair block"],
    squares: Float64[np.ndarray, " pair"],
) -> Float64[np.ndarray, " pair"]:
    """The variance of a difference of two views over that which independent groups would have; not below 1.

    Args:
        differences: What each block adds to the difference.
        lost: What the rows outside lose of the difference without the block.
        squares: The sum of the squares of what each group adds.
    """
    shared = (differences * lost).sum(axis=1)
    return np.asarray(np.maximum(1.0, 1.0 + shared / np.maximum(squares, 1.0)))
