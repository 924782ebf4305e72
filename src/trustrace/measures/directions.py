"""Search directions: the Newton systems of all columns, solved together by preconditioned conjugate gradients.

Every operation that costs anything is a product of one matrix with the block of all columns. Directions may be computed in single
precision: the outer iteration in :mod:`trustrace.measures.solver` works in double precision on what is left, so that the optimum is exact
all the same (iterative refinement).

References:
    Nocedal and Wright (2006), Numerical Optimization, chapters 5 and 7 (truncated Newton).
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from trustrace.measures.operators import Operator, PerCoefficient, PerColumn, PerRow

MAX_ITERATIONS = 250
_TINY = 1e-35
# Solved columns leave the block once they are this share of it; copying the others costs about an iteration.
_SOLVED_SHARE = 0.2


class Direction(NamedTuple):
    """A step in the coefficients, and what it adds to the responses."""

    coefficients: Float64[Tensor, "coefficient column"]
    responses: Float64[Tensor, "statement column"]


class _State(NamedTuple):
    """Conjugate gradients in flight, one column each; `image` and `solved_image` are the responses to `direction` and `solution`."""

    residual: PerCoefficient
    direction: PerCoefficient
    image: PerRow
    solution: PerCoefficient
    solved_image: PerRow
    curvatures: PerRow
    total: PerColumn
    penalties: PerColumn
    power: PerColumn
    target: PerColumn

    def take(self, columns: Bool[Tensor, " column"]) -> "_State":
        return _State(*(part[..., columns] for part in self))


def newton_direction(
    operator: Operator,
    *,
    residual: Float[Tensor, "coefficient column"],
    curvatures: Float[Tensor, "statement column"],
    penalties: Float[Tensor, " column"],
    forcing: Float[Tensor, " column"],
) -> Direction:
    """The Newton step of every column, with the intercept eliminated: D - D1 1'D / ΣD stands for D.

    Args:
        operator: The feature space, in the precision of the products.
        residual: Minus the gradient of the objective, at the best intercept to first order, as `operator` represents it.
        curvatures: D, with row weights.
        penalties: λ.
        forcing: A column is solved once its residual has shrunk to this share, in the norm of the preconditioner.
    """
    dtype = residual.dtype
    state = _begin(operator, residual, curvatures, penalties, forcing)
    solution, image = torch.zeros_like(state.solution), torch.zeros_like(state.solved_image)
    where = torch.arange(residual.shape[1], device=residual.device)
    for _ in range(MAX_ITERATIONS):
        state = _iterate(operator, state)
        solved = state.power <= state.target
        if solved.sum() < _SOLVED_SHARE * len(where):
            continue
        solution[:, where[solved]], image[:, where[solved]] = state.solution[:, solved], state.solved_image[:, solved]
        state, where = state.take(~solved), where[~solved]
        if not len(where):
            break
    solution[:, where], image[:, where] = state.solution, state.solved_image
    return Direction(solution.to(dtype), image.to(dtype))


def _begin(
    operator: Operator, residual: PerCoefficient, curvatures: PerRow, penalties: PerColumn, forcing: PerColumn
) -> _State:
    residual, curvatures, penalties = (operator.cast(part) for part in (residual, curvatures, penalties))
    total = curvatures.sum(0).clamp_min(_TINY)
    step, image = operator.precondition(residual, level=total / len(curvatures), penalties=penalties)
    power = operator.inner(residual, step, image)
    return _State(
        residual=residual,
        direction=step,
        image=image,
        solution=torch.zeros_like(step),
        solved_image=torch.zeros_like(image),
        curvatures=curvatures,
        total=total,
        penalties=penalties,
        power=power,
        target=operator.cast(forcing).square() * power,
    )


def _iterate(operator: Operator, at: _State) -> _State:
    """One iteration; columns that are solved stand still."""
    unsolved = at.power > at.target
    weighted = at.curvatures * at.image
    pushed = operator.pull(weighted - at.curvatures * (weighted.sum(0) / at.total)) + at.penalties * at.direction
    bend = operator.inner(pushed, at.direction, at.image).clamp_min(_TINY)
    length = torch.where(unsolved, at.power / bend, 0.0)
    residual = at.residual - length * pushed
    step, image = operator.precondition(residual, level=at.total / len(at.curvatures), penalties=at.penalties)
    power = torch.where(unsolved, operator.inner(residual, step, image), at.power)
    keep = power / at.power.clamp_min(_TINY)
    return at._replace(
        residual=residual,
        direction=step + keep * at.direction,
        image=image + keep * at.image,
        solution=at.solution + length * at.direction,
        solved_image=at.solved_image + length * at.image,
        power=power,
    )
