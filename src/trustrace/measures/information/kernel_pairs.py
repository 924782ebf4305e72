"""A representation against an input: value, interval, null, calibrated value and p-value of every kernel measure."""

from collections.abc import Iterator

from trustrace.core.measurements import Estimate
from trustrace.measures.information.influence import Chosen, SmootherInfluence, cosine_influence, kernel_influence
from trustrace.measures.information.nulls import Null, excess, permutation_null, unbiased_null
from trustrace.measures.information.operators import Operator, inner, unbiased_inner, unbiased_size
from trustrace.measures.information.rows import InformationRows
from trustrace.measures.information.variables import Variable


def smoother_rows(
    quantity: str, x: Operator, t: Operator, rows: InformationRows, *, influences: SmootherInfluence, method: str
) -> Iterator[Estimate]:
    """Normalised HSIC of two smoothers."""
    value = inner(x, t)
    influence = influences.of_product(x, t)
    yield rows.estimate(quantity, value, influence, method=method, floor=0.0)
    yield from null_rows(quantity, value, permutation_null(x, t), rows, method=method)
    sizes = excess(x, x, x.squared), excess(t, t, t.squared)
    name = f"{quantity} calibrated"
    if min(sizes) <= 0:
        note = "undefined: a smoother is a multiple of the identity"
        yield rows.bare(name, float("nan"), method=method, note=note)
        return
    ratio, influence = _calibrated(x, t, value, sizes, influence, influences)
    yield rows.estimate(name, ratio, influence, method=method)


def _calibrated(
    x: Operator,
    t: Operator,
    value: float,
    sizes: tuple[float, float],
    influence: Chosen,
    influences: SmootherInfluence,
) -> tuple[float, Chosen]:
    """(value - null) / (ceiling - null), where the ceiling is the geometric mean of what X and T reach with themselves.

    The null is that of the permutations, tr X tr T / (n - 1). Value less null is the inner product of what X and T are beyond a multiple
    of the identity, so this is a cosine: 1 for a variable with itself, 0 on average for unrelated ones, whatever n, d and the spectra.
    """
    n, size = len(x), (sizes[0] * sizes[1]) ** 0.5
    ratio = excess(x, t, value) / size
    traces = influences.of_trace(x), influences.of_trace(t)
    own = influence - (traces[0] * t.trace + traces[1] * x.trace) / (n - 1)
    norms = [
        (influences.of_square(one) - 2 * one.trace / (n - 1) * trace) / square
        for one, trace, square in zip((x, t), traces, sizes, strict=True)
    ]
    return ratio, own / size - ratio / 2 * (norms[0] + norms[1])


def kernel_rows(quantity: str, x: Variable, t: Variable, rows: InformationRows) -> Iterator[Estimate]:
    """HSIC and CKA, each biased and unbiased."""
    n = len(t)
    for name, fair_name, a, b in (
        ("hsic", "hsic_unbiased", x.gaussian, t.gaussian),
        ("cka", "cka_debiased", x.linear, t.linear),
    ):
        null, product = permutation_null(a, b), inner(a, b)
        fair = unbiased_inner(a, b, product)
        if name == "hsic":
            factor, fair_factor = (n - 1) ** -2, 1 / (n * (n - 3))
            influence = kernel_influence(a, b) * factor
        else:
            factor, fair_factor = (a.squared * b.squared) ** -0.5, 1 / unbiased_size(a, b)
            influence = cosine_influence(a, b)
        yield rows.estimate(quantity, product * factor, influence, method=name, floor=0.0)
        yield from null_rows(quantity, product * factor, null.scaled(factor), rows, method=name)
        yield rows.estimate(quantity, fair * fair_factor, influence, method=fair_name)
        fair_null = unbiased_null(a, b, null).scaled(fair_factor)
        yield from null_rows(quantity, fair * fair_factor, fair_null, rows, method=fair_name)


def null_rows(quantity: str, value: float, null: Null, rows: InformationRows, *, method: str) -> Iterator[Estimate]:
    """The null's mean and band, and how far in its tail the value lies."""
    lower, upper = null.band()
    yield rows.bare(quantity, null.mean, method=method, lower=lower, upper=upper, role="null")
    yield rows.bare(f"{quantity} p-value", null.p_value(value), method=method)
