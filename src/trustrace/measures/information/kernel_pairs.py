"""A representation against an input: value, interval, null, calibrated value and p-value of every kernel measure."""

import math
from collections.abc import Iterator, Mapping

from trustrace.core.measurements import Estimate
from trustrace.measures.information.influence import Chosen, SmootherInfluence, cosine_influence, kernel_influence
from trustrace.measures.information.kernels import EQUAL
from trustrace.measures.information.nulls import Null
from trustrace.measures.information.operators import Operator, inner
from trustrace.measures.information.rows import COSINE, POSITIVE, SHARE, UNBOUNDED, InformationRows
from trustrace.measures.information.variables import Variable


def smoother_rows(
    inputs: Mapping[str, Operator],
    t: Operator,
    rows: InformationRows,
    *,
    influences: SmootherInfluence,
    method: str,
) -> Iterator[Estimate]:
    """Normalised HSIC of T's smoother and that of each input."""
    nulls = rows.exchange.nulls(list(inputs.values()), t)
    for (quantity, x), null in zip(inputs.items(), nulls, strict=True):
        value, influence = inner(x, t), influences.of_product(x, t)
        yield rows.estimate(quantity, value, influence, method=method, bounds=POSITIVE)
        yield from null_rows(quantity, value, null, rows, method=method)
        squares = [rows.exchange.excess(one, one, one.squared) for one in (x, t)]
        if min(squares) <= EQUAL * max(x.squared, t.squared):
            note = "undefined: a smoother is its own average over permutations"
            yield rows.bare(f"{quantity} calibrated", math.nan, method=method, note=note)
            continue
        ratio, moved = _calibrated(x, t, value, (squares[0], squares[1]), influence, rows, influences)
        yield rows.estimate(f"{quantity} calibrated", ratio, moved, method=method, bounds=COSINE)


def _calibrated(
    x: Operator,
    t: Operator,
    value: float,
    squares: tuple[float, float],
    influence: Chosen,
    rows: InformationRows,
    influences: SmootherInfluence,
) -> tuple[float, Chosen]:
    """(value - null) / (ceiling - null), where the ceiling is the geometric mean of what X and T reach with themselves.

    The null is the mean over permutations that keep groups together. Value less null is the inner product of what X and T are beyond
    their averages over these permutations, so this is a cosine: 1 for a variable with itself, 0 on average for unrelated ones.
    """
    size = (squares[0] * squares[1]) ** 0.5
    ratio = rows.exchange.excess(x, t, value) / size
    # A null goes with the traces: exactly where rows are free, nearly so in groups.
    shares = [influences.of_trace(one) / one.trace for one in (x, t)]
    own = influence - (value - ratio * size) * (shares[0] + shares[1])
    norms = [
        (influences.of_square(one) - 2 * (one.squared - square) * share) / square
        for one, share, square in zip((x, t), shares, squares, strict=True)
    ]
    return ratio, own / size - ratio / 2 * (norms[0] + norms[1])


def kernel_rows(inputs: Mapping[str, Variable], t: Variable, rows: InformationRows) -> Iterator[Estimate]:
    """HSIC at the median width and linear CKA of T and each input, biased and unbiased."""
    n = len(t)
    for name, a, b, nulls in _with_nulls({name: x.gaussian for name, x in inputs.items()}, t.gaussian, rows):
        influence = kernel_influence(a, b)
        for is_fair, method in ((False, "hsic"), (True, "hsic_unbiased")):
            factor = 1 / (n * (n - 3)) if is_fair else (n - 1) ** -2
            value = factor * (inner(a.fair, b.fair) if is_fair else inner(a, b))
            yield rows.estimate(
                name, value, influence * factor, method=method, bounds=UNBOUNDED if is_fair else POSITIVE
            )
            yield from null_rows(name, value, nulls[is_fair].scaled(factor), rows, method=method)
    for name, a, b, nulls in _with_nulls({name: x.linear for name, x in inputs.items()}, t.linear, rows):
        for is_fair, method in ((False, "cka"), (True, "cka_debiased")):
            factor = 1 / length(a, b, is_fair=is_fair)
            value = factor * (inner(a.fair, b.fair) if is_fair else inner(a, b))
            yield rows.estimate(
                name,
                value,
                cosine_influence(a, b, biased=not is_fair),
                method=method,
                bounds=COSINE if is_fair else SHARE,
            )
            yield from null_rows(name, value, nulls[is_fair].scaled(factor), rows, method=method)


def length(a: Operator, b: Operator, *, is_fair: bool) -> float:
    """|A| |B|, or that of the U-centred forms; NaN where one of these is rounding error, so that no angle is defined."""
    first, second = (a.fair, b.fair) if is_fair else (a, b)
    if first.squared <= EQUAL * a.squared or second.squared <= EQUAL * b.squared:
        return math.nan
    return math.sqrt(first.squared * second.squared)


def _with_nulls(
    inputs: Mapping[str, Operator], t: Operator, rows: InformationRows
) -> Iterator[tuple[str, Operator, Operator, tuple[Null, Null]]]:
    nulls = rows.exchange.kernel_nulls(list(inputs.values()), t)
    for (name, x), pair in zip(inputs.items(), nulls, strict=True):
        yield name, x, t, pair


def null_rows(quantity: str, value: float, null: Null, rows: InformationRows, *, method: str) -> Iterator[Estimate]:
    """The null's mean and band, and how far in its tail the value lies."""
    lower, upper = null.band()
    yield rows.bare(quantity, null.mean, method=method, lower=lower, upper=upper, role="null")
    yield rows.bare(f"{quantity} p-value", null.p_value(value), method=method)
