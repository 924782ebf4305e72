"""A representation against the label, whose kernel has rank one: every measure is a quadratic form, and its null as many more of them."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from trustrace.core.measurements import Estimate
from trustrace.measures.information.influence import (
    LabelProducts,
    cosine_influence,
    kernel_influence,
    label_trace_influence,
)
from trustrace.measures.information.kernel_pairs import length
from trustrace.measures.information.operators import Operator
from trustrace.measures.information.rows import (
    AT_MOST_ONE,
    COSINE,
    POSITIVE,
    SHARE,
    UNBOUNDED,
    Bounds,
    InformationRows,
)
from trustrace.measures.information.variables import Variable

QUANTITY = "I(T;Y)"

FEWEST_LABELLINGS = 20

FEW_LABELLINGS = (
    "undefined: groups of too many different sizes leave no permutations of the labels that keep groups together"
)


def smoother_rows(t: Operator, rows: InformationRows, *, ridge: float, method: str) -> Iterator[Estimate]:
    """Normalised HSIC of a smoother and the labels; its null from labels that are permuted within and between groups."""
    strength = label_ceiling(rows.label.strength, len(rows), ridge=ridge)
    products = LabelProducts.of(t, rows.directions)
    influences = products.smoother_influences(strength)
    values = (products.forms * strength).cpu().numpy()
    own, null_influence = influences[:, 0], influences[:, 1:].mean(dim=1)
    yield rows.estimate(QUANTITY, float(values[0]), own, method=method, bounds=(0.0, strength))
    yield rows.bare(QUANTITY, strength, method=method, role="ceiling")
    yield from null_rows(values, rows, method=method)
    if rows.n_labellings < FEWEST_LABELLINGS:
        yield rows.bare(f"{QUANTITY} calibrated", math.nan, method=method, note=FEW_LABELLINGS)
        return
    null = float(values[1:].mean())
    room = strength - null
    ratio = (float(values[0]) - null) / room
    ceiling = label_trace_influence(rows.directions[:, 0], strength)
    influence = (own - null_influence - ratio * (ceiling - null_influence)) / room
    yield rows.estimate(f"{QUANTITY} calibrated", ratio, influence, method=method, bounds=AT_MOST_ONE)


def label_ceiling(strength: float, n: int, *, ridge: float) -> float:
    """The most that normalised HSIC with a label can reach: the only eigenvalue of the label's own smoother."""
    return strength / (strength + ridge * n)


def kernel_rows(t: Variable, rows: InformationRows) -> Iterator[Estimate]:
    """HSIC and CKA of the representation's kernel and that of the labels, each biased and unbiased."""
    n, label = len(t), _label_operator(rows)
    for is_fair, method in ((False, "hsic"), (True, "hsic_unbiased")):
        factor = 1 / (n * (n - 3)) if is_fair else (n - 1) ** -2
        influence = kernel_influence(label, t.gaussian) * factor
        bounds = UNBOUNDED if is_fair else POSITIVE
        yield from _form_rows(t.gaussian, factor, influence, rows, bounds=bounds, is_fair=is_fair, method=method)
    for is_fair, method in ((False, "cka"), (True, "cka_debiased")):
        factor, bounds = 1 / length(t.linear, label, is_fair=is_fair), COSINE if is_fair else SHARE
        influence = cosine_influence(label, t.linear, biased=not is_fair)
        yield from _form_rows(t.linear, factor, influence, rows, bounds=bounds, is_fair=is_fair, method=method)


def _form_rows(
    t: Operator, factor: float, influence: Tensor, rows: InformationRows, *, bounds: Bounds, is_fair: bool, method: str
) -> Iterator[Estimate]:
    """The label's kernel without its diagonal acts on a U-centred T as the whole one does, whose diagonal is zero there."""
    operator = t.fair if is_fair else t
    forms = LabelProducts.of(operator, rows.directions).forms * rows.label.strength * factor
    values = forms.cpu().numpy()
    yield rows.estimate(QUANTITY, float(values[0]), influence, method=method, bounds=bounds)
    yield from null_rows(values, rows, method=method)


def null_rows(values: np.ndarray, rows: InformationRows, *, method: str) -> Iterator[Estimate]:
    """Mean, band and p-value from the values of permuted labels, which come after that of the real ones."""
    name, drawn = f"{QUANTITY} p-value", values[1:]
    if rows.n_labellings < FEWEST_LABELLINGS or not np.isfinite(values).all():
        note = FEW_LABELLINGS if np.isfinite(values).all() else ""
        yield rows.bare(QUANTITY, math.nan, method=method, role="null", note=note)
        yield rows.bare(name, math.nan, method=method, note=note)
        return
    lower, upper = np.quantile(drawn, [0.025, 0.975])
    yield rows.bare(QUANTITY, float(drawn.mean()), method=method, lower=float(lower), upper=float(upper), role="null")
    # A labelling that equals the real one differs from it by rounding error of either sign.
    tolerance = 1e-12 * abs(float(values[0]))
    p_value = (1 + int((drawn >= values[0] - tolerance).sum())) / (1 + len(drawn))
    yield rows.bare(name, p_value, method=method)


def _label_operator(rows: InformationRows) -> Operator:
    """The centred kernel of the labels as a matrix."""
    direction = rows.directions[:, 0]
    return Operator(matrix=rows.label.strength * torch.outer(direction, direction))
