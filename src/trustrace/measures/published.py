"""The protocol ``published``: the conventions of the paper's scripts, number for number, so that results can be compared with the paper.

Activations are standardised in single precision by the mean and the unbiased standard deviation of *all* rows, test rows included; the
first 80 % of the rows in file order train scikit-learn's ``LogisticRegression`` with its defaults; the rest are scored by accuracy. Known
to be unsound (a leak, no groups, no regulariser chosen, no interval), and kept so. Only what the scripts hide is shown: a fit that did not
converge.

The scripts' dependence is normalised HSIC on the training rows so standardised: kernels exp(-||x - x'||² / 2 σ² d) with σ = 50, ridge
1e-5 n, X the first block's output of the same checkpoint, and for labels the same kernel of width one. The scripts evaluate it in single
precision with inverses of matrices that are not symmetric, which gives negative values; here the same formula is evaluated in double
precision.
"""

import math
import warnings

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from trustrace.core.errors import MeasurementError
from trustrace.core.measurements import Estimate, Role
from trustrace.measures.folds import file_order_pair
from trustrace.measures.information.dependence import RIDGE
from trustrace.measures.information.kernels import LabelKernel, gaussian_, squared_distances
from trustrace.measures.information.label_pairs import label_ceiling
from trustrace.measures.information.operators import Operator, inner, smoother_
from trustrace.measures.spaces import symmetric_product

BANDWIDTH = 50.0
"""σ of the scripts."""

PUBLISHED_MATRICES = 4
"""Square matrices of all statements' size that the published dependence holds at most."""


def published_accuracy(
    values: Float[Tensor, "statement d_model"], labels: Int[np.ndarray, " statement"], *, groups: tuple[str, ...]
) -> Estimate:
    """The scripts' accuracy.

    Returns:
        An accuracy without an interval; NaN, with a note, where a feature is constant, since the scripts divide by its deviation.

    Raises:
        MeasurementError: the first 80 % of the rows hold one class, or there are no rows to score.
    """
    pair = file_order_pair(len(labels))
    if len(np.unique(labels[pair.train])) < 2:
        raise MeasurementError(
            f"the first {pair.train.sum()} of {len(labels)} rows hold one class; the protocol 'published' trains on file order, so shuffle "
            "the rows, or use 'rigorous'"
        )
    x = values.float().cpu()
    standard = ((x - x.mean(dim=0)) / x.std(dim=0)).numpy()
    constant = int((~np.isfinite(standard)).any(axis=0).sum())
    if constant:
        note = f"{constant} of {standard.shape[1]} features are constant over all rows, and the scripts divide by their deviation"
        return _estimate(math.nan, groups, pair.test, note=note)
    model = LogisticRegression()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(standard[pair.train], labels[pair.train])
    accuracy = float(model.score(standard[pair.test], labels[pair.test]))
    stopped = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    note = f"not converged after {int(model.n_iter_[0])} iterations" if stopped else ""
    return _estimate(accuracy, groups, pair.test, note=note)


def published_smoother(values: Float[Tensor, "statement d_model"]) -> Operator | None:
    """The smoother of the training rows, standardised by all rows; None where the scripts would divide by zero."""
    x = values.double()
    deviation = x.std(dim=0)
    if not bool((deviation > 0).all()):
        return None
    train = torch.from_numpy(file_order_pair(len(x)).train).to(x.device)
    distances = squared_distances(symmetric_product(((x - x.mean(dim=0)) / deviation)[train]))
    return smoother_(gaussian_(distances, scale=2 * BANDWIDTH**2 * x.shape[1]), ridge=RIDGE)


def published_information(
    t: Operator | None, first: Operator | None, labels: Int[np.ndarray, " statement"], *, groups: tuple[str, ...]
) -> list[Estimate]:
    """The scripts' I(T;X) and I(T;Y), and the most that I(T;Y) can be.

    Args:
        t: The smoother of T.
        first: That of X, the output of the first block on the same rows; None where it was not captured.
        labels: 0 or 1 each; both occur among the training rows.
        groups: Counted, not used.
    """
    train = file_order_pair(len(labels)).train
    label = LabelKernel.of(labels[train], unlike=math.exp(-1 / (2 * BANDWIDTH**2)))
    strength = label_ceiling(label.strength, int(train.sum()), ridge=RIDGE)

    def row(quantity: str, value: float, *, note: str = "", role: Role = "measured") -> Estimate:
        return _estimate(value, groups, train, quantity=quantity, method=f"nhsic_{BANDWIDTH:g}", note=note, role=role)

    ceiling = row("I(T;Y)", strength, role="ceiling")
    if t is None:
        note = "a feature is constant over all rows, and the scripts divide by its deviation"
        return [row("I(T;X)", math.nan, note=note), row("I(T;Y)", math.nan, note=note), ceiling]
    direction = label.direction.to(t.matrix.device)
    on_label = row("I(T;Y)", max(0.0, strength * float(direction @ t.matrix @ direction)))
    if first is None:
        note = "the first block was not captured, or one of its features is constant"
        return [row("I(T;X)", math.nan, note=note), on_label, ceiling]
    return [row("I(T;X)", max(0.0, inner(first, t))), on_label, ceiling]


def _estimate(
    value: float,
    groups: tuple[str, ...],
    rows: np.ndarray,
    *,
    note: str,
    quantity: str = "accuracy",
    method: str = "logistic",
    role: Role = "measured",
) -> Estimate:
    scored = {group for group, counted in zip(groups, rows, strict=True) if counted}
    return Estimate(
        quantity=quantity, method=method, value=value, n=int(rows.sum()), n_groups=len(scored), note=note, role=role
    )
