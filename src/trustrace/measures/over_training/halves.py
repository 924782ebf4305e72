"""Halves of the statements, and halves with a block left out: what tells a direction that turned from one that is only noisy.

Two directions fitted on the same statements share their noise, and one fitted on few statements has a cosine below 1 with the truth. Both
are seen by fitting on halves of the groups: directions of different halves share no statement.

References:
    Spearman (1904), The proof and measurement of association between two things (reliability, and the correction for it).
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 11 (the jackknife).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import t as student

from trustrace.core.draws import generator
from trustrace.core.errors import MeasurementError
from trustrace.measures.folds import grouped_folds
from trustrace.measures.over_training.views import Design

Values = Float64[np.ndarray, "*shape"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Halves:
    """Which rows each fit sees.

    Attributes:
        masks: The rows of each fit.
        variants: By halving and by what is left out (nothing first, then each block), the fits of the two halves.
    """

    masks: Bool[np.ndarray, "mask statement"]
    variants: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, design: Design, *, halvings: int, blocks: int) -> "Halves":
        """Halve the groups of the training rows at random.

        Raises:
            MeasurementError: there are fewer groups than blocks, or a half without both labels.
        """
        rows = np.any([pair.train for pair in design.pairs], axis=0)
        chosen = np.flatnonzero(rows)
        groups = [design.groups[row] for row in chosen]
        block_of = np.full(len(rows), -1)
        try:
            block_of[chosen] = grouped_folds(
                groups, design.labels[chosen].tolist(), folds=blocks, rng=generator(design.seed, "blocks")
            )
        except MeasurementError as error:
            raise MeasurementError(f"{design.dataset}: {error}") from None
        masks: list[Bool[np.ndarray, " statement"]] = []
        variants = []
        for halving in range(halvings):
            order = generator(design.seed, "halves", halving).permutation(blocks)
            sides = [order[: blocks // 2], order[blocks // 2 :]]
            variants.append(_variants(masks, [np.isin(block_of, side) for side in sides], block_of, blocks))
        halves = cls(masks=np.stack(masks), variants=tuple(variants))
        halves._require_both_labels(design)
        return halves

    @property
    def whole(self) -> Bool[np.ndarray, " statement"]:
        """The rows that are in either half."""
        return np.asarray(self.masks.any(axis=0))

    def _require_both_labels(self, design: Design) -> None:
        share = (self.masks @ design.labels) / np.maximum(self.masks.sum(axis=1), 1)
        if ((share <= 0) | (share >= 1)).any():
            raise MeasurementError(
                f"{design.dataset}: a half of the groups holds rows of one class; each label must occur in several groups"
            )


def _variants(
    masks: list[Bool[np.ndarray, " statement"]], sides: list[np.ndarray], block_of: np.ndarray, blocks: int
) -> tuple[tuple[int, int], ...]:
    """Add the two halves and each of them less each of its blocks to `masks`; say which stand together."""
    first = len(masks)
    masks += sides
    found = [(first, first + 1)]
    for block in range(blocks):
        side = 0 if sides[0][block_of == block].any() else 1
        masks.append(sides[side] & (block_of != block))
        found.append((len(masks) - 1, first + 1) if side == 0 else (first, len(masks) - 1))
    return tuple(found)


def jackknife(values: Float64[np.ndarray, "variant *shape"], *, level: float = 0.95) -> tuple[Values, Values]:
    """The ends of the interval of ``values[0]``, from the others, which leave out one block each."""
    left_out = values[1:]
    blocks = len(left_out)
    spread = np.sqrt((blocks - 1) / blocks * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    reach = student.ppf((1 + level) / 2, blocks - 1) * spread
    return np.asarray(values[0] - reach), np.asarray(values[0] + reach)
