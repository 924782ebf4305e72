"""Which rows may be exchanged when nothing depends on anything: the permutations behind every null, and their exact means."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from trustrace.measures.information.kernels import removed_diagonal
from trustrace.measures.information.nulls import Null, permutation_null
from trustrace.measures.information.operators import Operator

DRAWN = 32
"""Permutations that tell the deviation of a null where groups leave it without a formula."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Exchange:
    """Permutations that exchange whole groups of one size and shuffle rows inside groups.

    Attributes:
        sizes: The size of each statement's group, as the number of a size class.
        pairs: All (i, j) of different rows of one group.
        orders: Some permutations.
        is_free: Whether every row is a group of its own, so that all permutations are allowed.
    """

    sizes: Int[Tensor, " statement"]
    pairs: Int[Tensor, "pair 2"]
    orders: Int[Tensor, "order statement"]
    is_free: bool

    @classmethod
    def of(cls, groups: Sequence[str], *, rng: np.random.Generator, device: torch.device | str) -> "Exchange":
        """The permutations that `groups` allow."""
        _, membership, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
        _, size_class = np.unique(counts, return_inverse=True)
        order = np.argsort(membership, kind="stable")
        blocks = np.split(order, np.cumsum(counts)[:-1])
        pairs = [(i, j) for block in blocks for i in block for j in block if i != j]
        rows = np.arange(len(membership))
        return cls(
            sizes=torch.from_numpy(size_class[membership]).to(device),
            pairs=torch.from_numpy(np.array(pairs, dtype=np.int64).reshape(-1, 2)).to(device),
            orders=torch.from_numpy(block_permutations(rows, groups, draws=DRAWN, rng=rng).T.copy()).to(device),
            is_free=int(counts.max()) == 1,
        )

    def excess(self, a: Operator, b: Operator, product: float) -> float:
        """⟨A, B⟩ above its mean over all permutations: the inner product of what A and B are beyond their averages."""
        return product - float(self.averages(a) @ self.averages(b))

    def averages(self, a: Operator) -> Float64[Tensor, " orbit"]:
        """The average of A over all permutations, as coordinates: the mean over a permutation is the product of two such averages.

        Permutations move entries within orbits only: the diagonal, pairs of one group and pairs of two groups, each by size class. The
        average of A is constant on an orbit; a coordinate is that constant times the root of the orbit's size.
        """
        return a.influence("averages", lambda: self._averages(a))

    def _averages(self, a: Operator) -> Float64[Tensor, " orbit"]:
        classes = int(self.sizes.max()) + 1
        member = torch.nn.functional.one_hot(self.sizes, classes).double()
        count = member.sum(dim=0)
        blocks = member.T @ a.matrix @ member
        diagonal = a.diagonal @ member
        first, second = self.pairs.T
        within = torch.zeros(classes, dtype=torch.float64, device=a.matrix.device)
        within.index_add_(0, self.sizes[first], a.matrix[first, second])
        n_within = torch.bincount(self.sizes[first], minlength=classes).double()
        between, n_between = blocks, count[:, None] * count
        between = between - torch.diag(diagonal + within)
        n_between = n_between - torch.diag(count + n_within)
        sums = torch.cat([diagonal, within, between.reshape(-1)])
        entries = torch.cat([count, n_within, n_between.reshape(-1)])
        return torch.where(entries > 0, sums / entries.clamp_min(1).sqrt(), 0.0)

    def nulls(self, inputs: Sequence[Operator], t: Operator) -> list[Null]:
        """The null of ⟨X, T⟩ for each of `inputs`."""
        if self.is_free:
            return [permutation_null(x, t) for x in inputs]
        return [self._null(x, t, own) for x, own in zip(inputs, self._drawn(inputs, t), strict=True)]

    def kernel_nulls(self, inputs: Sequence[Operator], t: Operator) -> list[tuple[Null, Null]]:
        """The null of ⟨X, T⟩ of centred kernels and that of their U-centred forms, for each of `inputs`.

        The unbiased form is the biased one, shifted and rescaled, up to diagonals. It is given the same skewness, which is right within a
        tenth for light-tailed features, and too much for heavy-tailed ones, so that their p-values are too large.
        """
        if self.is_free:
            pairs = [(permutation_null(x, t), permutation_null(x.fair, t.fair)) for x in inputs]
        else:
            # U-centring adds sums that rows of zero mean do not see, and takes the diagonal away: nothing need be moved again.
            removed = removed_diagonal(t.matrix)[self.orders]
            drawn = self._drawn(inputs, t)
            pairs = [
                (self._null(x, t, own), self._null(x.fair, t.fair, own - (removed @ x.diagonal).cpu().numpy()))
                for x, own in zip(inputs, drawn, strict=True)
            ]
        return [(biased, replace(fair, skewness=biased.skewness)) for biased, fair in pairs]

    def _drawn(self, inputs: Sequence[Operator], t: Operator) -> Float64[np.ndarray, "input order"]:
        """⟨X, P T P'⟩ of each order."""
        drawn = np.empty((len(inputs), len(self.orders)))
        for place, order in enumerate(self.orders):
            moved = t.residual.index_select(0, order).index_select(1, order).view(-1)
            drawn[:, place] = [float(torch.dot(x.residual.view(-1), moved)) for x in inputs]
        # The residuals' products lack what every permutation leaves in place.
        fixed = [x.trace * t.trace / (len(x) - 1) for x in inputs]
        drawn += np.array(fixed)[:, None]
        return drawn

    def _null(self, x: Operator, t: Operator, drawn: Float64[np.ndarray, " order"]) -> Null:
        mean = float(self.averages(x) @ self.averages(t))
        deviation = float(np.sqrt(np.mean((drawn - mean) ** 2)))
        return Null(mean=mean, deviation=deviation, skewness=2 * deviation / mean if mean > 0 else 0.0)


def block_permutations(
    values: Int[np.ndarray, " statement"], groups: Sequence[str], *, draws: int, rng: np.random.Generator
) -> Int[np.ndarray, "statement draw"]:
    """`values` permuted: whole groups of one size are exchanged with each other, and values are shuffled inside each group.

    A group of a clean and a perturbed twin keeps one label of each; a group whose rows share a label is moved as one.
    """
    _, membership = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(membership, kind="stable")
    sizes = np.bincount(membership)
    starts = np.cumsum(sizes) - sizes
    drawn = np.empty((len(values), draws), dtype=values.dtype)
    for size in np.unique(sizes):
        # Row k of `blocks` holds the statements of one group of this size.
        blocks = order[starts[sizes == size][:, None] + np.arange(size)]
        for draw in range(draws):
            shuffled = rng.permuted(values[blocks], axis=1) if size > 1 else values[blocks]
            drawn[blocks, draw] = shuffled[rng.permutation(len(blocks))]
    return drawn
