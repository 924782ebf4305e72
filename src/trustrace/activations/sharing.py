"""May this model compute a shared beginning once? It is asked, not its family."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trustrace.activations.batching import Tokens, Tree, lay_out, plant
from trustrace.activations.forward import read_sites
from trustrace.core.sites import Site
from trustrace.models.language_model import LanguageModel
from trustrace.models.selfcheck import TOLERANCE

LEAST_SAVING = 0.05
"""Trees that save a smaller part of the tokens are not worth their mask."""


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Whether shared beginnings are computed once.

    Attributes:
        used: Whether they are.
        reason: Why, or why not.
        difference: The largest difference to plain batching that was seen, relative to a token's norm; None where it was not tried.
    """

    used: bool
    reason: str
    difference: float | None = None


def decide(model: LanguageModel, sequences: Sequence[Tokens], *, site: Site) -> Sharing:
    """Whether `model` can and should read `sequences` as trees.

    The longest statement and a sibling that departs half-way go through the model as one tree and as two plain rows, and must come out
    alike at every token. That shows whatever would make trees wrong: positions that cannot be set, a mask that is ignored, a sliding
    window or a recurrence that reaches across branches at the lengths at hand.

    Args:
        model: The model.
        sequences: The tokens of each statement.
        site: Where to compare, the deepest that is wanted.
    """
    total = sum(map(len, sequences))
    saved = 1 - sum(tree.n_tokens for tree in plant(sequences, sharing=True)) / total
    if saved < LEAST_SAVING:
        return Sharing(used=False, reason=f"it would save {saved:.1%} of the tokens")
    try:
        difference = _difference(model, _siblings(sequences), site=site)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        # Model code of any family may be run here, and each refuses positions or masks that it does not know in its own way.
        return Sharing(used=False, reason=f"the decoder refuses branches: {error}")
    if not difference <= TOLERANCE.get(model.dtype, 0.0):
        return Sharing(used=False, reason="branches come out unlike plain rows", difference=difference)
    return Sharing(used=True, reason=f"it saves {saved:.1%} of the tokens", difference=difference)


def _siblings(sequences: Sequence[Tokens]) -> tuple[Tokens, Tokens]:
    """The longest statement, and one that departs from it half-way and agrees with it nowhere after."""
    longest = max(sequences, key=len)
    lowest, highest = min(map(min, sequences)), max(map(max, sequences))
    half = len(longest) // 2
    other = tuple(highest if token == lowest else lowest for token in longest[half:])
    return longest, longest[:half] + other


def _difference(model: LanguageModel, pair: tuple[Tokens, Tokens], *, site: Site) -> float:
    """The largest relative difference between two statements in one tree and in two rows, over all their tokens."""
    together = _tokens_of(model, pair, [Tree((0, 1), 2 * len(pair[0]) - len(pair[0]) // 2)], site=site)
    apart = _tokens_of(model, pair, plant(pair, sharing=False), site=site)
    gaps = [(a - b).norm(dim=1) / b.norm(dim=1) for a, b in zip(together, apart, strict=True)]
    return float(torch.cat(gaps).max())


def _tokens_of(
    model: LanguageModel, pair: Sequence[Tokens], trees: Sequence[Tree], *, site: Site
) -> list[Float[Tensor, "token d_model"]]:
    """The residual stream of each statement, in the order of `pair`."""
    batch = lay_out(trees, pair)
    stream = read_sites(model, batch, [site], lambda residual: residual.flatten(0, 1).float())[site]
    by_statement = {
        statement: stream[list(path)] for statement, path in zip(batch.statements, batch.paths, strict=True)
    }
    return [by_statement[statement] for statement in range(len(pair))]
