"""How far the direction of a concept turns between checkpoints, beside how far noise alone turns it.

All numbers of a pair of checkpoints compare a fit on one half of the groups with a fit on the other half, both ways round, averaged over
random halvings: no statement stands behind both, so that noise cannot agree with itself.

* ``direction cosine``: of the two directions. On the diagonal it is the reliability of the direction, below 1 from noise alone.
* ``direction cosine ceiling``: the root of the product of the two reliabilities: what the cosine would be, had the direction not turned.
* ``direction cosine corrected``: their ratio, the cosine of the directions that endless statements would give. Undefined where a
  direction is not reliable: no cosine is known between directions of which one may not exist.
* ``subspace overlap``: the mean squared cosine of the principal angles of two discriminative subspaces; ``subspace angle``: the largest of
  these angles, in degrees. Overlap has a ceiling of the same kind, and random subspaces overlap by rank / d_model.

Intervals leave out one block of groups at a time (jackknife), through both halves and all halvings.

References:
    Björck and Golub (1973), Numerical methods for computing angles between linear subspaces.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from trustrace.core.measurements import Estimate, Role
from trustrace.measures.over_training.halves import Halves, jackknife
from trustrace.measures.over_training.transfer import Cell

Pairs = Float64[np.ndarray, "variant view view"]
Compare = Callable[[Tensor, Tensor], Float64[Tensor, "view view"]]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What stands behind every pair.

    Attributes:
        names: The views.
        n: Statements that directions were fitted on.
        n_groups: Groups among them.
    """

    names: tuple[str, ...]
    n: int
    n_groups: int


def direction_drift(
    directions: Float32[Tensor, "view mask d_model"], halves: Halves, counted: Counted, *, method: str
) -> Iterator[Cell]:
    """Cosine, ceiling and corrected cosine of every pair of views, the diagonal included."""
    cosine = halved(directions, halves, cosines)
    ceiling = ceilings(cosine)
    reliable = jackknife(cosine)[0].diagonal() > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        corrected = cosine / ceiling
    corrected[:, ~(reliable[:, None] & reliable)] = np.nan
    notes = ["" if known else "the direction is not reliable" for known in reliable]
    yield from _cells(cosine, counted, "direction cosine", method=method)
    yield from _cells(ceiling, counted, "direction cosine ceiling", method=method, role="ceiling", notes=notes)
    yield from _cells(corrected, counted, "direction cosine corrected", method=method, notes=notes)


def subspace_drift(
    subspaces: Float32[Tensor, "view mask rank d_model"], halves: Halves, counted: Counted
) -> Iterator[Cell]:
    """Overlap, its ceiling and the largest principal angle of every pair of views, the diagonal included."""
    rank, d_model = subspaces.shape[2:]
    method = f"pls_{rank}"
    overlap = halved(subspaces, halves, overlaps)
    yield from _cells(overlap, counted, "subspace overlap", method=method)
    yield from _cells(ceilings(overlap), counted, "subspace overlap ceiling", method=method, role="ceiling")
    yield from _cells(halved(subspaces, halves, largest_angles), counted, "subspace angle", method=method)
    chance = Estimate(
        quantity="subspace overlap",
        method=method,
        value=rank / d_model,
        n=counted.n,
        n_groups=counted.n_groups,
        role="null",
        note="of random subspaces",
    )
    yield Cell(source="", target=counted.names[-1], estimate=chance)


def halved(fits: Float32[Tensor, "view mask *rest"], halves: Halves, compare: Compare) -> Pairs:
    """`compare` between the halves, both ways round, averaged over halvings: of all rows first, then with each block left out."""
    found = []
    for parts in zip(*halves.variants, strict=True):
        pairs = [compare(fits[:, first].double(), fits[:, second].double()) for first, second in parts]
        found.append(torch.stack([(one + one.T) / 2 for one in pairs]).mean(0))
    return torch.stack(found).cpu().numpy()


def ceilings(pairs: Pairs) -> Pairs:
    """The root of the product of both views' own values; NaN where one is not above 0."""
    own = np.diagonal(pairs, axis1=1, axis2=2)
    root = np.sqrt(np.where(own > 0, own, np.nan))
    return np.asarray(root[:, :, None] * root[:, None, :])


def cosines(
    first: Float64[Tensor, "view d_model"], second: Float64[Tensor, "view d_model"]
) -> Float64[Tensor, "view view"]:
    """Of unit directions."""
    return first @ second.T


def overlaps(
    first: Float64[Tensor, "view rank d_model"], second: Float64[Tensor, "view rank d_model"]
) -> Float64[Tensor, "view view"]:
    """The mean squared cosine of the principal angles."""
    return _products(first, second).square().sum((2, 3)) / first.shape[1]


def largest_angles(
    first: Float64[Tensor, "view rank d_model"], second: Float64[Tensor, "view rank d_model"]
) -> Float64[Tensor, "view view"]:
    """The largest principal angle, in degrees."""
    smallest = torch.linalg.svdvals(_products(first, second))[..., -1]
    return torch.rad2deg(torch.arccos(smallest.clamp(-1, 1)))


def _products(first: Tensor, second: Tensor) -> Float64[Tensor, "view view rank rank"]:
    return torch.einsum("ikd,jld->ijkl", first, second)


def _cells(
    pairs: Pairs,
    counted: Counted,
    quantity: str,
    *,
    method: str,
    role: Role = "measured",
    notes: Sequence[str] | None = None,
) -> Iterator[Cell]:
    lower, upper = jackknife(pairs)
    for i, source in enumerate(counted.names):
        for j in range(i, len(counted.names)):
            unknown = [f"undefined: {notes[at]} at {counted.names[at]}" for at in {i: 0, j: 0} if notes and notes[at]]
            yield Cell(
                source=source,
                target=counted.names[j],
                estimate=Estimate(
                    quantity=quantity,
                    method=method,
                    value=float(pairs[0, i, j]),
                    lower=float(lower[i, j]),
                    upper=float(upper[i, j]),
                    n=counted.n,
                    n_groups=counted.n_groups,
                    role=role,
                    note="; ".join(unknown) if np.isnan(pairs[0, i, j]) else "",
                ),
            )
