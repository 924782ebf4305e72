"""What is fitted on halves of the statements: the direction of a concept, and the subspace that discriminates.

The subspace of rank k is that of partial least squares with k components: the span of the class difference s, S s, ..., S^{k-1} s with S
the covariance of the features. It holds the mean difference and what covaries with it.

References:
    Barker and Rayens (2003), Partial least squares for discrimination.
    Helland (1988), On the structure of partial least squares regression (the Krylov space).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from trustrace.measures.config import ProbingConfig
from trustrace.measures.over_training.halves import Halves
from trustrace.measures.over_training.linear import Method, mean_contrast, standard_of
from trustrace.measures.over_training.views import Design, View
from trustrace.measures.probing import SELECTION_TOLERANCE, solve_masks
from trustrace.measures.spaces import centre_, readings, require_finite, spanned

Standardised = Float64[Tensor, "statement d_model"]

_EXHAUSTED = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class Axes:
    """Of one view, on standardised readings; in single precision, since there are many.

    Attributes:
        directions: The unit direction of each method's probe under each mask; 0 where there is none.
        subspaces: Orthonormal rows that span the discriminative subspace under each mask.
    """

    directions: dict[Method, Float32[Tensor, "mask d_model"]]
    subspaces: Float32[Tensor, "mask rank d_model"]


def axes_of(
    view: View, design: Design, halves: Halves, *, config: ProbingConfig, regulariser: float, rank: int
) -> Axes:
    """Fit one view on every mask of `halves`, the logistic probe at one ``C``.

    Raises:
        MeasurementError: a value is not finite.
    """
    values = view.read()
    require_finite(values)
    read = readings(values, features=config.features)
    standard = standard_of(read, [halves.whole], features=config.features)
    z = (read - standard.shift[0]) / standard.scale[0]
    labels, masks = design.targets(z.device), torch.from_numpy(halves.masks.T).to(z.device)
    part = spanned(centre_(z.clone()))
    logistic = solve_masks(
        part.space,
        labels[:, None],
        list(halves.masks),
        [regulariser] * len(halves.masks),
        tolerance=SELECTION_TOLERANCE,
    )
    contrasts = z.T @ mean_contrast(labels, masks)
    return Axes(
        directions={
            "logistic": _unit((part.basis @ logistic.coefficients).T).float(),
            "mass_mean": _unit(contrasts.T).float(),
        },
        subspaces=krylov(z, masks.double(), contrasts, rank=min(rank, z.shape[1])).float(),
    )


def krylov(
    z: Standardised,
    masks: Float64[Tensor, "statement mask"],
    contrasts: Float64[Tensor, "d_model mask"],
    *,
    rank: int,
) -> Float64[Tensor, "mask rank d_model"]:
    """Orthonormal rows that span contrast, S contrast, ... under each mask; 0 where the span ends earlier."""
    sizes = masks.sum(0)
    means = z.T @ masks / sizes
    basis = [_unit(contrasts.T)]
    while len(basis) < rank:
        last = basis[-1]
        responses = masks * (z @ last.T - (means.T * last).sum(1))
        image = (z.T @ responses).T / sizes[:, None]
        size = torch.linalg.vector_norm(image, dim=1, keepdim=True)
        # Twice, since once leaves rounding along the others.
        for _ in range(2):
            for one in basis:
                image = image - (image * one).sum(1, keepdim=True) * one
        left = torch.linalg.vector_norm(image, dim=1, keepdim=True) > _EXHAUSTED * size
        basis.append(torch.where(left, _unit(image), 0.0))
    return torch.stack(basis, dim=1)


def _unit(vectors: Float64[Tensor, "mask d_model"]) -> Float64[Tensor, "mask d_model"]:
    size = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return torch.where(size > 0, vectors / size.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
