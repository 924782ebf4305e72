"""Statements become batches in which a shared beginning is computed once and almost nothing is padding.

Statements that begin alike are laid out as one row, a *tree*: the tokens of the first statement, then of each further one only those
after the point where it departs from the one before. Statements in the order of their tokens make that a walk in depth-first order,
so token a is an ancestor of token b (or b itself) exactly if ``a <= b < end(a)``, where ``end(a)`` is one past the last token below a.
That one number per token is the whole attention mask; a token's depth is its position. A statement that shares nothing is a tree
without branches, and a batch of those needs no mask: right padding cannot be seen by a causal model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

MOST_PADDING = 1 / 32
"""The part of a budget that may be padding: about what one more forward pass costs, so that neither is traded for too much of the other."""

Tokens = tuple[int, ...]
"""The tokens of one statement."""

SHORTEST_PREFIX = 3
"""Fewer shared tokens than this do not join two statements: the row would grow longer for nothing."""

ROW_TOKENS = 256
"""A tree stops growing here, or at twice its first statement where that is longer: attention costs grow with a row's length."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Statements that make up one row.

    Attributes:
        statements: Their indices, in the order of their tokens.
        n_tokens: Length of the row, shared tokens counted once.
    """

    statements: tuple[int, ...]
    n_tokens: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Rows that go through the model together.

    Attributes:
        statements: The statements of all rows.
        paths: For each of them, where its tokens lie among the tokens of all rows.
        tokens: The tokens; rows are padded on the right.
        depths: The position of each token in its statement.
        ends: One past the last token below each token, which is what may attend to it.
        has_branches: Whether any row holds more than one statement, so that a causal mask alone would be wrong.
        n_tokens: Tokens that are no padding.
    """

    statements: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]
    tokens: Int[Tensor, "row token"]
    depths: Int[Tensor, "row token"]
    ends: Int[Tensor, "row token"]
    has_branches: bool
    n_tokens: int

    @property
    def ancestry(self) -> Bool[Tensor, "row 1 token token"]:
        """Which token (last axis) each token may attend to: itself and its ancestors."""
        index = torch.arange(self.tokens.shape[1])
        above = index[None, :] <= index[:, None]
        return (above & (index[None, :, None] < self.ends[:, None, :]))[:, None]


class _Row(NamedTuple):
    """One row while it is laid out; `paths` holds a list of places for each of its statements."""

    tokens: list[int]
    depths: list[int]
    ends: list[int]
    paths: list[list[int]]


def plant(sequences: Sequence[Tokens], *, sharing: bool) -> tuple[Tree, ...]:
    """Every statement in one tree, longest trees first.

    Args:
        sequences: The tokens of each statement.
        sharing: Whether statements may share a row at all.
    """
    order = sorted(range(len(sequences)), key=lambda statement: sequences[statement])
    trees = (
        _grown(order, sequences) if sharing else [Tree((statement,), len(sequences[statement])) for statement in order]
    )
    # Longest first: the batch that needs the most memory fails at once or never.
    return tuple(sorted(trees, key=lambda tree: -tree.n_tokens))


def batched(trees: Sequence[Tree], *, batch_tokens: int) -> Iterator[tuple[Tree, ...]]:
    """Consecutive trees as batches: neither longer than the budget, padding included, nor padded by much; one tree at least.

    Args:
        trees: Longest first.
        batch_tokens: The budget.
    """
    first, padding = 0, 0
    for place, tree in enumerate(trees):
        width, rows = trees[first].n_tokens, place - first
        padding += width - tree.n_tokens
        if rows and (width * (rows + 1) > batch_tokens or padding > MOST_PADDING * batch_tokens):
            yield tuple(trees[first:place])
            first, padding = place, 0
    yield tuple(trees[first:])


def lay_out(trees: Sequence[Tree], sequences: Sequence[Tokens]) -> Batch:
    """The rows of `trees`, padded to the longest."""
    width = max(tree.n_tokens for tree in trees)
    rows = [_roll_out([sequences[statement] for statement in tree.statements]) for tree in trees]
    paths = [tuple(place + i * width for place in path) for i, row in enumerate(rows) for path in row.paths]
    return Batch(
        statements=tuple(statement for tree in trees for statement in tree.statements),
        paths=tuple(paths),
        tokens=torch.tensor([row.tokens + [0] * (width - len(row.tokens)) for row in rows]),
        depths=torch.tensor([row.depths + [0] * (width - len(row.depths)) for row in rows]),
        # Padding attends to itself alone: a row of a mask without a single entry has no softmax.
        ends=torch.tensor([[*row.ends, *range(len(row.ends) + 1, width + 1)] for row in rows]),
        has_branches=any(len(tree.statements) > 1 for tree in trees),
        n_tokens=sum(tree.n_tokens for tree in trees),
    )


def _grown(order: Sequence[int], sequences: Sequence[Tokens]) -> list[Tree]:
    """Consecutive statements join while they share enough and the row stays short."""
    trees: list[Tree] = []
    members: list[int] = [order[0]]
    n_tokens = len(sequences[order[0]])
    for before, statement in pairwise(order):
        length, shared = len(sequences[statement]), _shared(sequences[before], sequences[statement])
        longest = max(ROW_TOKENS, 2 * len(sequences[members[0]]))
        if shared >= SHORTEST_PREFIX and n_tokens + length - shared <= longest:
            members.append(statement)
            n_tokens += length - shared
        else:
            trees.append(Tree(tuple(members), n_tokens))
            members, n_tokens = [statement], length
    return [*trees, Tree(tuple(members), n_tokens)]


def _shared(one: Tokens, other: Tokens) -> int:
    """Length of the common beginning."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


def _roll_out(sequences: Sequence[Tokens]) -> _Row:
    """Walk a tree: each statement goes back up to where it departs from the one before, then down its own tokens."""
    row = _Row([], [], [], [])
    path: list[int] = []
    for previous, sequence in pairwise([(), *sequences, ()]):
        shared, here = _shared(previous, sequence), len(row.tokens)
        for place in path[shared:]:
            row.ends[place] = here
        fresh = range(here, here + len(sequence) - shared)
        path = [*path[:shared], *fresh]
        row.tokens.extend(sequence[shared:])
        row.depths.extend(range(shared, len(sequence)))
        row.ends.extend(fresh)
        row.paths.append(path)
    # The walk ends with an empty statement, which closes what is still open.
    row.paths.pop()
    return row
