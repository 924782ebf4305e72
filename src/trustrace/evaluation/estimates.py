"""Items become numbers: with intervals from resampled groups, and against the same model unsteered, by exchanging the two within groups.

Every statistic here is a function of sums over items, so all resamples of groups are one product of their counts with the groups' sums.

References:
    Davison and Hinkley (1997), Bootstrap Methods and their Application, sections 3.8 and 4.3.
    Clopper and Pearson (1934), The use of confidence or fiducial limits.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float64, Int

from trustrace.core.draws import generator
from trustrace.core.errors import AlignmentError
from trustrace.core.intervals import cluster_weights, percentile_interval
from trustrace.core.measurements import Estimate, Role
from trustrace.evaluation.outcomes import Graded, Outcome, Statistic

DRAWS = 1000
EXCHANGES = 2000

Sums = Float64[np.ndarray, "group column"]
"""Of each group: the sum of each part of its items, and the number of items in the last column."""

_TIE = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class _Items:
    """Defined items, group by group."""

    sums: Sums
    statistic: Statistic
    n: int
    missing: int

    @property
    def n_groups(self) -> int:
        return len(self.sums)

    def value(self, weights: Float64[np.ndarray, "draw group"]) -> Float64[np.ndarray, " draw"]:
        return _statistic(weights @ self.sums, self.statistic)


def estimates(outcome: Outcome, *, seed: int, draws: int = DRAWS, role: Role = "measured") -> list[Estimate]:
    """Every quantity of `outcome` with its 95 % interval.

    Args:
        outcome: What a model did.
        seed: Of the resamples; equal groups are resampled alike, so that outcomes of two models pair up.
        draws: Resamples of groups.
        role: Of the rows.
    """
    return [_estimate(graded, seed=seed, draws=draws, role=role) for graded in outcome.graded]


def changes(
    outcome: Outcome,
    plain: Outcome,
    *,
    seed: int,
    draws: int = DRAWS,
    exchanges: int = EXCHANGES,
    role: Role = "measured",
) -> list[Estimate]:
    """By how much every quantity of `outcome` differs from `plain`, the same model on the same items unsteered.

    ``<quantity>_change`` has an interval from groups resampled for both at once; ``<quantity>_change_p`` is the share of random
    exchanges of the two models' items, whole groups at a time, that differ as much in either direction (the observed one counts).
    Items that are undefined for either are left out.

    Raises:
        AlignmentError: the two are not of the same items.
    """
    found = []
    for graded, before in zip(outcome.graded, plain.graded, strict=True):
        if (graded.quantity, graded.method, graded.groups) != (before.quantity, before.method, before.groups):
            raise AlignmentError(
                f"{outcome.dataset}: {graded.quantity} by {graded.method} is compared with {before.quantity} by {before.method}, "
                "or over other items; compare outcomes of one task on the same items"
            )
        found += _change(graded, before, seed=seed, draws=draws, exchanges=exchanges, role=role)
    return found


def value_of(graded: Graded) -> float:
    """The number alone; NaN where no item is defined."""
    items = _items(graded)
    return float(items.value(np.ones((1, items.n_groups)))[0]) if items.n else float("nan")


def _estimate(graded: Graded, *, seed: int, draws: int, role: Role) -> Estimate:
    items = _items(graded)
    value = value_of(graded)
    lower, upper = float("nan"), float("nan")
    if items.n_groups > 1:
        lower, upper = percentile_interval(items.value(_resamples(items.n_groups, draws=draws, seed=seed)))
        lower, upper = _honest(graded, items, (lower, upper))
    return Estimate(
        quantity=graded.quantity,
        method=graded.method,
        value=value,
        lower=lower,
        upper=upper,
        n=items.n,
        n_groups=items.n_groups,
        role=role,
        note=_note(graded, items),
    )


def _change(graded: Graded, before: Graded, *, seed: int, draws: int, exchanges: int, role: Role) -> list[Estimate]:
    both = _defined(graded.values) & _defined(before.values)
    after, plain = _items(graded, both), _items(before, both)
    row = partial(
        Estimate, method=graded.method, n=after.n, n_groups=after.n_groups, role=role, note=_note(graded, after)
    )
    if after.n_groups < 2:
        return [row(quantity=f"{graded.quantity}_{what}", value=float("nan")) for what in ("change", "change_p")]
    one = np.ones((1, after.n_groups))
    observed = float((after.value(one) - plain.value(one))[0])
    resamples = _resamples(after.n_groups, draws=draws, seed=seed)
    lower, upper = percentile_interval(after.value(resamples) - plain.value(resamples))
    p = _exchanged(after, plain, observed, exchanges=exchanges, seed=seed)
    return [
        row(quantity=f"{graded.quantity}_change", value=observed, lower=lower, upper=upper),
        row(quantity=f"{graded.quantity}_change_p", value=p),
    ]


def _exchanged(after: _Items, plain: _Items, observed: float, *, exchanges: int, seed: int) -> float:
    """The p-value of the observed difference, under the hypothesis that which model is which means nothing."""
    swapped = generator(seed, "exchange", after.n_groups).integers(0, 2, size=(exchanges, after.n_groups)).astype(float)
    moved = swapped @ (plain.sums - after.sums)
    differences = _statistic(after.sums.sum(0) + moved, after.statistic) - _statistic(
        plain.sums.sum(0) - moved, after.statistic
    )
    extreme = np.abs(differences) >= abs(observed) - _TIE
    return float((1 + extreme.sum()) / (1 + exchanges))


def _items(graded: Graded, kept: Bool[np.ndarray, " item"] | None = None) -> _Items:
    defined = _defined(graded.values) if kept is None else kept
    values = graded.values[defined]
    names = np.asarray(graded.groups, dtype=object)[defined]
    _, membership = np.unique(names.astype(str), return_inverse=True)
    columns = np.column_stack([values, np.ones(len(values))])
    sums = np.zeros((int(membership.max()) + 1 if len(values) else 0, columns.shape[1]))
    np.add.at(sums, membership, columns)
    return _Items(sums=sums, statistic=graded.statistic, n=len(values), missing=int((~defined).sum()))


def _defined(values: Float64[np.ndarray, "item part"]) -> Bool[np.ndarray, " item"]:
    return np.asarray(np.isfinite(values).all(axis=1))


def _statistic(totals: Float64[np.ndarray, "draw column"], statistic: Statistic) -> Float64[np.ndarray, " draw"]:
    parts, counts = totals[:, :-1], totals[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        match statistic:
            case "mean":
                return np.asarray(parts[:, 0] / counts)
            case "product_of_means":
                return np.asarray((parts / counts[:, None]).prod(axis=1))
        return np.asarray(np.exp(parts[:, 0] / parts[:, 1]))


def _resamples(n_groups: int, *, draws: int, seed: int) -> Float64[np.ndarray, "draw group"]:
    groups = tuple(map(str, range(n_groups)))
    weights: Int[np.ndarray, "draw group"] = cluster_weights(groups, draws=draws, rng=generator(seed, "bootstrap"))
    # `cluster_weights` orders groups by their names as text.
    return weights.astype(np.float64)


def _honest(graded: Graded, items: _Items, interval: tuple[float, float]) -> tuple[float, float]:
    """Where every item is 0, or every item 1, resamples show no doubt; Clopper and Pearson's bound over groups does."""
    value = items.sums[:, 0].sum() / items.n
    if graded.statistic != "mean" or interval[0] != interval[1] or value not in (0.0, 1.0):
        return interval
    doubt = 1 - 0.025 ** (1 / items.n_groups)
    return (0.0, doubt) if value == 0 else (1 - doubt, 1.0)


def _note(graded: Graded, items: _Items) -> str:
    missing = f"{items.missing} of {items.missing + items.n} items undefined" if items.missing else ""
    return "; ".join(part for part in (graded.note, missing) if part)
