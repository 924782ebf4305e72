"""A representation against an input: value, interval, null, calibrated value and p-value of every kernel measure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from trustrace.core.measurements import Estimate
from trustrace.measures.information.influence import Chosen, SmootherInfluence, cosine_influence, kernel_influence
from trustrace.measures.information.kernels import EQUAL
from trustrace.measures.information.nulls import Null
from trustrace.measures.information.operators import Operator, inner
from trustrace.measures.information.rows import InformationRows
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
        yield rows.estimate(quantity, value, influence, method=method, floor=0.0)
        yield from null_rows(quantity, value, null, rows, method=method)
        squares = [rows.exchange.excess(one, one, one.squared) for one in (x, t)]
        if min(squares) <= EQUAL * max(x.squared, t.squared):
            note = "undefined: a smoother is its own average over permutations"
            yield rows.bare(f"{quantity} calibrated", math.nan, method=method, note=note)
            continue
        ratio, moved = _calibrated(x, t, value, (squares[0], squares[1]), influence, rows, influences)
        yield rows.estimate(f"{quantity} calibrated", ratio, moved, method=method)


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
    pairs = {name: (x.gaussian, t.gaussian) for name, x in inputs.items()}
    for is_fair, method in ((False, "hsic"), (True, "hsic_unbiased")):
        factor = 1 / (n * (n - 3)) if is_fair else (n - 1) ** -2
        for name, (a, b), null in _with_nulls(pairs, rows, is_fair=is_fair):
            value = inner(a.fair, b.fair) if is_fair else inner(a, b)
            influence = kernel_influence(a, b) * factor
            floor = -math.inf if is_fair else 0.0
            yield rows.estimate(name, value * factor, influence, method=method, floor=floor)
            yield from null_rows(name, value * factor, null.scaled(factor), rows, method=method)
    pairs = {name: (x.linear, t.linear) for name, x in inputs.items()}
    for is_fair, method in ((False, "cka"), (True, "cka_debiased")):
        for name, (a, b), null in _with_nulls(pairs, rows, is_fair=is_fair):
            factor = 1 / length(a, b, is_fair=is_fair)
            value = inner(a.fair, b.fair) if is_fair else inner(a, b)
            influence = cosine_influence(a, b, biased=not is_fair)
            yield rows.estimate(name, value * factor, influence, method=method)
            yield from null_rows(name, value * factor, null.scaled(factor), rows, method=method)


def length(a: Operator, b: Operator, *, is_fair: bool) -> float:
    """|A| |B|, or that of the U-centred forms; NaN where one of these is rounding error, so that no angle is defined."""
    first, second = (a.fair, b.fair) if is_fair else (a, b)
    if first.squared <= EQUAL * a.squared or second.squared <= EQUAL * b.squared:
        return math.nan
    return math.sqrt(first.squared * second.squared)


def _with_nulls(
    pairs: Mapping[str, tuple[Operator, Operator]], rows: InformationRows, *, is_fair: bool
) -> Iterator[tuple[str, tuple[Operator, Operator], Null]]:
    if not pairs:
        return
    _, t = next(iter(pairs.values()))
    nulls = rows.exchange.nulls([a for a, _ in pairs.values()], t)
    if is_fair:
        # The unbiased form is the biased one, shifted and rescaled, up to diagonals that permutations hardly move; so is its skewness.
        own = rows.exchange.nulls([a.fair for a, _ in pairs.values()], t.fair)
        nulls = [replace(fair, skewness=null.skewness) for fair, null in zip(own, nulls, strict=True)]
    for (name, pair), null in zip(pairs.items(), nulls, strict=True):
        yield name, pair, null


def null_rows(quantity: str, value: float, null: Null, rows: InformationRows, *, method: str) -> Iterator[Estimate]:
    """The null's mean and band, and how far in its tail the value lies."""
    lower, upper = null.band()
    yield rows.bare(quantity, null.mean, method=method, lower=lower, upper=upper, role="null")
    yield rows.bare(f"{quantity} p-value", null.p_value(value), method=method)
