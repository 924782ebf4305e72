"""Search directions: the Newton systems of all columns, solved together by preconditioned conjugate gradients.

Every operation that costs anything is a product of the coordinates with the block of all columns. Directions
may be computed in single precision, from the space's `single`: the outer iteration in :mod:`trustrace.measures.solver` works in double
precision on what is left, so that the optimum is exact all the same (iterative refinement).

References:
    Nocedal and Wright (2006), Numerical Optimization, chapters 5 and 7 (truncated Newton).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from trustrace.measures.spaces import FeatureSpace

MAX_ITERATIONS = 250
_TINY = 1e-35

PerAxis = Float[Tensor, "axis column"]
PerRow = Float[Tensor, "statement column"]
PerColumn = Float[Tensor, " column"]


class Direction(NamedTuple):
    """A step in the coefficients, and what it adds to the responses."""

    coefficients: Float64[Tensor, "axis column"]
    responses: Float64[Tensor, "statement column"]


def newton_direction(
    space: FeatureSpace,
    *,
    slopes: Float64[Tensor, "axis column"],
    curvatures: Float64[Tensor, "statement column"],
    penalties: Float64[Tensor, " column"],
    forcing: Float64[Tensor, " column"],
) -> Direction:
    """The Newton step of f = Z θ + b with b eliminated: (Z' D Z - Z'D1 1'DZ / ΣD + λ) δθ = -slopes.

    Preconditioned by mean(D) Λ + λ: along principal axes Z' D Z is near-diagonal, since a mask or a curvature hardly knows the axes.

    Args:
        space: Where the products are computed, in its own precision.
        slopes: The gradient of the objective in θ, at the best intercept to first order.
        curvatures: D, with row weights.
        penalties: λ.
        forcing: How far the residual of each system is reduced.
    """
    z = space.coordinates
    d, lam = curvatures.to(z), penalties.to(z)
    total = d.sum(0).clamp_min(_TINY)
    diagonal = (total / len(z)) * space.spectrum[:, None] + lam

    def apply(p: PerAxis) -> tuple[PerAxis, PerRow]:
        image = z @ p
        pull = d * image
        return z.T @ (pull - d * (pull.sum(0) / total)) + lam * p, image

    step, image = conjugate_gradients(apply, lambda r: r / diagonal, -slopes.to(z), forcing=forcing.to(z))
    return Direction(step.double(), image.double())


def conjugate_gradients(
    apply: Callable[[PerAxis], tuple[PerAxis, PerRow]],
    precondition: Callable[[PerAxis], PerAxis],
    right: PerAxis,
    *,
    forcing: PerColumn,
) -> tuple[PerAxis, PerRow]:
    """Solve A x = `right` for every column at once, from x = 0.

    Args:
        apply: p to (A p, L p), with L a linear map whose value at the solution is wanted as well.
        precondition: r to M⁻¹ r.
        right: The right-hand sides.
        forcing: A column is solved once its residual has shrunk to this share, in the norm of M⁻¹.

    Returns:
        x and L x.
    """
    residual = right
    direction = z = precondition(residual)
    power = (residual * z).sum(0)
    target = forcing.square() * power
    solution, image = torch.zeros_like(right), right.new_zeros(())
    for _ in range(MAX_ITERATIONS):
        pushed, pushed_image = apply(direction)
        unsolved = power > target
        length = torch.where(unsolved, power / (direction * pushed).sum(0).clamp_min(_TINY), 0.0)
        solution = solution + length * direction
        image = image + length * pushed_image
        residual = residual - length * pushed
        z = precondition(residual)
        previous, power = power, torch.where(unsolved, (residual * z).sum(0), power)
        if not (power > target).any():
            break
        direction = z + (power / previous.clamp_min(_TINY)) * direction
    return solution, image
