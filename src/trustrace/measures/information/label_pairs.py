"""A representation against the label, whose kernel has rank one: every measure is a quadratic form, and its null as many more of them."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from trustrace.core.measurements import Estimate
from trustrace.measures.information.influence import (
    Columns,
    LabelProducts,
    cosine_influence,
    label_trace_influence,
)
from trustrace.measures.information.operators import Operator, unbiased_size
from trustrace.measures.information.rows import InformationRows
from trustrace.measures.information.variables import Variable

QUANTITY = "I(T;Y)"


def smoother_rows(t: Operator, rows: InformationRows, *, ridge: float, method: str) -> Iterator[Estimate]:
    """Normalised HSIC of a smoother and the labels; its null from labels that are permuted within and between groups."""
    strength = label_ceiling(rows.label.strength, len(rows), ridge=ridge)
    products = LabelProducts.of(t, rows.directions)
    influences = products.smoother_influences(strength)
    values = (products.forms * strength).cpu().numpy()
    own, null_influence = influences[:, 0], influences[:, 1:].mean(dim=1)
    yield rows.estimate(QUANTITY, float(values[0]), own, method=method, floor=0.0)
    yield rows.bare(QUANTITY, strength, method=method, role="ceiling")
    yield from null_rows(values, rows, method=method)
    null = float(values[1:].mean())
    room = strength - null
    ratio = (float(values[0]) - null) / room
    ceiling = label_trace_influence(rows.directions[:, 0], strength)
    influence = (own - null_influence - ratio * (ceiling - null_influence)) / room
    yield rows.estimate(f"{QUANTITY} calibrated", ratio, influence, method=method)


def label_ceiling(strength: float, n: int, *, ridge: float) -> float:
    """The most that normalised HSIC with a label can reach: the only eigenvalue of the label's own smoother."""
    return strength / (strength + ridge * n)


def kernel_rows(t: Variable, rows: InformationRows) -> Iterator[Estimate]:
    """HSIC and CKA of the representation's kernel and that of the labels, each biased and unbiased."""
    n, strength = len(t), rows.label.strength
    for name, fair_name, operator in (("hsic", "hsic_unbiased", t.gaussian), ("cka", "cka_debiased", t.linear)):
        products = LabelProducts.of(operator, rows.directions)
        forms, fair = products.forms * strength, _unbiased(operator, products) * strength
        if name == "hsic":
            factor, fair_factor = (n - 1) ** -2, 1 / (n * (n - 3))
            influence = products.kernel_influences(strength)[:, 0] * factor
        else:
            label = _label_operator(rows)
            factor = 1 / (operator.squared**0.5 * strength)
            fair_factor = 1 / unbiased_size(operator, label)
            influence = cosine_influence(label, operator)
        yield from _form_rows(forms * factor, influence, rows, method=name, floor=0.0)
        yield from _form_rows(fair * fair_factor, influence, rows, method=fair_name, floor=-np.inf)


def _form_rows(
    forms: Float64[Tensor, " labelling"], influence: Tensor, rows: InformationRows, *, method: str, floor: float
) -> Iterator[Estimate]:
    values = forms.cpu().numpy()
    yield rows.estimate(QUANTITY, float(values[0]), influence, method=method, floor=floor)
    yield from null_rows(values, rows, method=method)


def null_rows(values: np.ndarray, rows: InformationRows, *, method: str) -> Iterator[Estimate]:
    """Mean, band and p-value from the values of permuted labels, which come after that of the real ones."""
    drawn = values[1:]
    lower, upper = np.quantile(drawn, [0.025, 0.975])
    yield rows.bare(QUANTITY, float(drawn.mean()), method=method, lower=float(lower), upper=float(upper), role="null")
    # A labelling that equals the real one differs from it by rounding error of either sign.
    tolerance = 1e-12 * abs(float(values[0]))
    p_value = (1 + int((drawn >= values[0] - tolerance).sum())) / (1 + len(drawn))
    yield rows.bare(f"{QUANTITY} p-value", p_value, method=method)


def _unbiased(b: Operator, products: LabelProducts) -> Float64[Tensor, " labelling"]:
    """U' B u of the U-centred form of a centred kernel."""
    n = len(b)
    diagonals = b.diagonal @ products.directions.square()
    return products.forms - diagonals * n / (n - 2) + b.trace / ((n - 1) * (n - 2))


def _label_operator(rows: InformationRows) -> Operator:
    direction: Columns = rows.directions[:, :1]
    return Operator(matrix=rows.label.strength * torch.outer(direction[:, 0], direction[:, 0]))
