"""Many penalised linear models over one feature space, each a column, fitted together to the exact optimum.

Column f minimises  Σ_i s_if loss(y_if, m_if) + λ_f/2 |w_f|²  with m = x·w + b and the intercept b unpenalised: scikit-learn's
``LogisticRegression`` at C = 1/λ with sample weights s. A fold, a control labelling or a prefix of the rows is just another column.

A truncated Newton method: each direction comes from :mod:`trustrace.measures.directions`; a backtracking line search costs no product,
since responses are linear in the step; converged columns leave the block. Where features span next to nothing, as at an embedding that
all but a few statements share, single precision would lose the directions: such spaces are fitted in double precision throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float64
from torch import Tensor
from torch.nn.functional import softplus

from trustrace.core.errors import MeasurementError
from trustrace.measures.directions import Direction, newton_direction
from trustrace.measures.spaces import FeatureSpace

Loss = Literal["logistic", "squared"]

MAX_STEPS = 100
# Features whose scales differ so much that single-precision directions lead nowhere get double-precision ones.
SINGLE_PRECISION_STEPS = 40
# How far each Newton system is solved: loosely at first, since the next one differs; single precision holds no more than the last.
LOOSEST, TIGHTEST = 0.3, 1e-3
_TINY = 1e-35
# Values in one block of columns: it bounds memory and keeps the block in reach of the cache.
_BLOCK_VALUES = 500_000

PerRow = Float64[Tensor, "statement column"]
PerColumn = Float64[Tensor, " column"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """The models to fit, one a column.

    Attributes:
        labels: Targets, 0 and 1 (or anything between).
        weights: Row weights: 1 for the rows a model is fitted on and 0 for the others, or any non-negative number.
        penalties: λ.
    """

    labels: PerRow
    weights: PerRow
    penalties: PerColumn


class Solution(NamedTuple):
    """Fitted models, one a column.

    Attributes:
        coefficients: α of a wide space, θ of a tall one.
        intercepts: b, which belongs to centred features.
        responses: What each model says of every statement, b included: log-odds under the logistic loss.
    """

    coefficients: Float64[Tensor, "coefficient column"]
    intercepts: PerColumn
    responses: PerRow


class _Curve(NamedTuple):
    """A loss at given targets and responses: each row's value; minus its slope, and its curvature."""

    values: Callable[[PerRow, PerRow], PerRow]
    derivatives: Callable[[PerRow, PerRow], tuple[PerRow, PerRow]]


def _logistic_derivatives(y: PerRow, m: PerRow) -> tuple[PerRow, PerRow]:
    p = torch.sigmoid(m)
    return y - p, p * (1 - p)


_CURVES: dict[Loss, _Curve] = {
    "logistic": _Curve(values=lambda y, m: softplus(m) - y * m, derivatives=_logistic_derivatives),
    "squared": _Curve(values=lambda y, m: (y - m).square() / 2, derivatives=lambda y, m: (y - m, torch.ones_like(m))),
}


def solve(space: FeatureSpace, columns: Columns, *, loss: Loss = "logistic", tolerance: float = 1e-5) -> Solution:
    """Fit every column.

    Args:
        space: The features of all rows.
        columns: What to fit.
        loss: ``logistic``: log(1 + e^m) - y m. ``squared``: (y - m)²/2.
        tolerance: A column is done once the Newton decrement of the step just taken, relative to the root of the objective, is below this;
            the error after that step is smaller still.

    Raises:
        MeasurementError: a column does not converge, or its weighted rows hold a single class, so that no finite optimum exists.
    """
    _require_an_optimum(columns, loss)
    size = max(16, _BLOCK_VALUES // len(columns.labels))
    blocks = [slice(start, start + size) for start in range(0, columns.labels.shape[1], size)]
    parts = [_Newton(space, _take(columns, block), _CURVES[loss], tolerance).run() for block in blocks]
    return Solution(
        torch.cat([part.coefficients for part in parts], dim=1),
        torch.cat([part.intercepts for part in parts]),
        torch.cat([part.responses for part in parts], dim=1),
    )


class _Newton:
    """The iteration on one block of columns: the one place where numbers change."""

    def __init__(self, space: FeatureSpace, columns: Columns, curve: _Curve, tolerance: float) -> None:
        n, width = columns.labels.shape
        self.space, self.curve, self.tolerance = space, curve, tolerance
        self.labels, self.weights, self.penalties = columns.labels, columns.weights, columns.penalties
        self.coefficients = columns.labels.new_zeros(space.n_coefficients, width)
        self.linear = columns.labels.new_zeros(n, width)
        self.intercepts = columns.labels.new_zeros(width)
        self.forcing = columns.labels.new_full((width,), LOOSEST)
        holds = space.double.survives_rounding(penalty=float(columns.penalties.min()))
        self.single_steps = SINGLE_PRECISION_STEPS if holds else 0
        self.active = torch.arange(width, device=columns.labels.device)
        self.done = Solution(self.coefficients.clone(), self.intercepts.clone(), self.linear.clone())

    def run(self) -> Solution:
        for step in range(MAX_STEPS):
            if not len(self.active):
                return self.done
            self._retire(self._step(single=step < self.single_steps))
        if not len(self.active):
            return self.done
        raise MeasurementError(
            f"{len(self.active)} of {self.done.intercepts.numel()} probes did not converge in {MAX_STEPS} Newton steps; their features "
            "may differ by more orders of magnitude than float64 holds: inspect the activations of this site"
        )

    def _step(self, *, single: bool) -> Bool[Tensor, " column"]:
        """Move every active column; True where it has arrived."""
        responses = self.linear + self.intercepts
        residuals, curvatures = (self.weights * part for part in self.curve.derivatives(self.labels, responses))
        balance = residuals.sum(0) / curvatures.sum(0).clamp_min(_TINY)
        step = newton_direction(
            self.space.single if single else self.space.double,
            residual=self.space.double.pull(residuals - curvatures * balance) - self.penalties * self.coefficients,
            curvatures=curvatures,
            penalties=self.penalties,
            forcing=self.forcing,
        )
        shift = balance - (curvatures * step.responses).sum(0) / curvatures.sum(0).clamp_min(_TINY)
        length, decrement = self._search(responses, residuals, step, shift)
        self.coefficients = self.coefficients + length * step.coefficients
        self.intercepts = self.intercepts + length * shift
        self.linear = self.space.responses(self.coefficients)
        # The closer to the optimum, the more exactly the next system is solved: superlinear convergence.
        self.forcing = decrement.clamp(TIGHTEST, LOOSEST)
        return (decrement <= self.tolerance) & (length == 1)

    def _search(
        self, responses: PerRow, residuals: PerRow, step: Direction, shift: PerColumn
    ) -> tuple[PerColumn, PerColumn]:
        """The step lengths, halved until the objective falls as promised, and the relative Newton decrements."""
        move = step.responses + shift
        inner = self.space.double.inner
        square = inner(self.coefficients, self.coefficients, self.linear)
        cross = inner(step.coefficients, self.coefficients, self.linear)
        growth = inner(step.coefficients, step.coefficients, step.responses)
        before = self._loss(responses) + self.penalties * square / 2
        slope = self.penalties * cross - (residuals * move).sum(0)
        length = torch.ones_like(shift)
        for _ in range(40):
            after = (
                self._loss(responses + length * move)
                + self.penalties * (square + 2 * length * cross + length.square() * growth) / 2
            )
            failed = ~(after <= before + 1e-4 * length * slope + 1e-12 * before.abs())
            if not failed.any():
                break
            length = torch.where(failed, length / 2, length)
        return length, (-slope / before.clamp_min(_TINY)).clamp_min(0).sqrt()

    def _loss(self, responses: PerRow) -> PerColumn:
        return (self.weights * self.curve.values(self.labels, responses)).sum(0)

    def _retire(self, arrived: Bool[Tensor, " column"]) -> None:
        """Record the columns that have arrived and take them out of the block."""
        if not arrived.any():
            return
        where = self.active[arrived]
        self.done.coefficients[:, where] = self.coefficients[:, arrived]
        self.done.intercepts[where] = self.intercepts[arrived]
        self.done.responses[:, where] = (self.linear + self.intercepts)[:, arrived]
        rest = ~arrived
        self.active, self.intercepts = self.active[rest], self.intercepts[rest]
        self.penalties, self.forcing = self.penalties[rest], self.forcing[rest]
        self.labels, self.weights = self.labels[:, rest], self.weights[:, rest]
        self.coefficients, self.linear = self.coefficients[:, rest], self.linear[:, rest]


def _take(columns: Columns, block: slice) -> Columns:
    return Columns(
        labels=columns.labels[:, block], weights=columns.weights[:, block], penalties=columns.penalties[block]
    )


def _require_an_optimum(columns: Columns, loss: Loss) -> None:
    positive, total = (columns.weights * columns.labels).sum(0), columns.weights.sum(0)
    lonely = (positive <= 0) | (positive >= total) if loss == "logistic" else total <= 0
    if lonely.any():
        raise MeasurementError(
            f"{int(lonely.sum())} of {len(lonely)} probes would be fitted on rows of one class, where no finite optimum exists; "
            "each training set needs both labels"
        )
