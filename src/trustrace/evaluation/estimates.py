"""Items become numbers: with intervals from resampled groups, and against the same model unsteered, by exchanging the two within groups.

References:
    Davison and Hinkley (1997), Bootstrap Methods and their Application, sections 3.8 and 4.3.
    Hesterberg (2015), What teachers should know about the bootstrap, section 5.3 (the expanded percentile interval).
    Clopper and Pearson (1934), The use of confidence or fiducial limits.
"""

from functools import partial

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import norm, t

from trustrace.core.draws import generator
from trustrace.core.errors import AlignmentError
from trustrace.core.intervals import percentile_interval
from trustrace.core.measurements import Estimate, Role
from trustrace.evaluation.outcomes import Graded, Outcome, Statistic
from trustrace.evaluation.statistics import SUMS, GroupWeights, Items, Values

DRAWS = 1000
EXCHANGES = 2000

RANK_EXCHANGES = 500
"""Ranks and correlations are computed anew for each exchange, so fewer are drawn."""

_TIE = 1e-12

_RATIOS: tuple[Statistic, ...] = ("ratio", "exp_ratio")


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


def undefined_beside(graded: Graded, before: Graded) -> int:
    """How many items `before` has a value of and `graded` has none of."""
    return int((_defined(before) & ~_defined(graded)).sum())


def value_of(graded: Graded) -> float:
    """The number alone; NaN where no item is defined."""
    return _items(graded).value


def _estimate(graded: Graded, *, seed: int, draws: int, role: Role) -> Estimate:
    items = _items(graded)
    lower, upper = float("nan"), float("nan")
    # Resamples of an infinite number are infinite or lack what made it so.
    if items.n_groups > 1 and not np.isinf(items.value):
        resampled = _interval(items.weighed(_resamples(items.n_groups, draws=draws, seed=seed)), items.n_groups)
        lower, upper = _honest(items, resampled)
    return Estimate(
        quantity=graded.quantity,
        method=graded.method,
        value=items.value,
        lower=lower,
        upper=upper,
        n=len(items),
        n_groups=items.n_groups,
        role=role,
        note=_note(graded, items),
    )


def _change(graded: Graded, before: Graded, *, seed: int, draws: int, exchanges: int, role: Role) -> list[Estimate]:
    both = _defined(graded) & _defined(before)
    after, plain = _items(graded, both), _items(before, both)
    row = partial(
        Estimate,
        method=graded.method,
        n=len(after),
        n_groups=after.n_groups,
        role=role,
        note=_note(graded, after),
    )
    observed = after.value - plain.value
    if after.n_groups < 2 or np.isinf(after.value) or np.isinf(plain.value):
        # Nothing can be resampled or exchanged against anything, or all of it is infinite.
        return [
            row(quantity=f"{graded.quantity}_change", value=observed),
            row(quantity=f"{graded.quantity}_change_p", value=float("nan")),
        ]
    resamples = _resamples(after.n_groups, draws=draws, seed=seed)
    lower, upper = _interval(after.weighed(resamples) - plain.weighed(resamples), after.n_groups)
    lower, upper = _honest_change(after, plain, (lower, upper))
    p = _exchanged(after, plain, observed, exchanges=exchanges, seed=seed)
    return [
        row(quantity=f"{graded.quantity}_change", value=observed, lower=lower, upper=upper),
        row(quantity=f"{graded.quantity}_change_p", value=p),
    ]


def _exchanged(after: Items, plain: Items, observed: float, *, exchanges: int, seed: int) -> float:
    """The p-value of the observed difference, under the hypothesis that which model is which means nothing."""
    if not np.isfinite(observed):
        return float("nan")
    drawn = exchanges if after.statistic in SUMS else min(exchanges, RANK_EXCHANGES)
    swapped = generator(seed, "exchange", after.n_groups).integers(0, 2, size=(drawn, after.n_groups)) == 1
    differences = after.exchanged(plain, swapped)
    extreme = np.abs(differences) >= abs(observed) - _TIE
    return float((1 + extreme.sum()) / (1 + drawn))


def _items(graded: Graded, kept: Bool[np.ndarray, " item"] | None = None) -> Items:
    defined = _defined(graded) if kept is None else kept
    return Items.of(graded.values, graded.groups, defined, graded.statistic)


def _defined(graded: Graded) -> Bool[np.ndarray, " item"]:
    """Which items have a value. An infinite loss is one: a perplexity without it would be that of an easier text."""
    undefined = np.isnan if graded.statistic in _RATIOS else _is_not_finite
    return np.asarray(~undefined(graded.values).any(axis=1))


def _is_not_finite(values: Values) -> Bool[np.ndarray, "item part"]:
    return np.asarray(~np.isfinite(values))


def _resamples(n_groups: int, *, draws: int, seed: int) -> GroupWeights:
    rng = generator(seed, "bootstrap", n_groups)
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws).astype(np.float64)


def _interval(replicates: Float64[np.ndarray, " draw"], n_groups: int) -> tuple[float, float]:
    """The 95 % percentile interval, expanded as few groups ask for: their plain percentiles are those of a normal, and too narrow."""
    tail = norm.cdf(-np.sqrt(n_groups / (n_groups - 1)) * t.ppf(0.975, n_groups - 1))
    return percentile_interval(replicates, level=float(1 - 2 * tail))


def _honest_change(after: Items, plain: Items, interval: tuple[float, float]) -> tuple[float, float]:
    """Where two models differ in all items alike, resamples show no doubt; that of a share of 0 or 1 is put in its place."""
    binary = np.isin(after.values, (0, 1)).all() and np.isin(plain.values, (0, 1)).all()
    if after.statistic != "mean" or interval[0] != interval[1] or not binary:
        return interval
    doubt = 1 - 0.025 ** (1 / after.n_groups)
    return max(-1.0, interval[0] - doubt), min(1.0, interval[1] + doubt)


def _honest(items: Items, interval: tuple[float, float]) -> tuple[float, float]:
    """Where every item is 0, or every item 1, resamples show no doubt; Clopper and Pearson's bound over groups does."""
    if items.statistic != "mean" or interval[0] != interval[1] or items.value not in (0.0, 1.0):
        return interval
    doubt = 1 - 0.025 ** (1 / items.n_groups)
    return (0.0, doubt) if items.value == 0 else (1 - doubt, 1.0)


def _note(graded: Graded, items: Items) -> str:
    missing = len(graded.groups) - len(items)
    counted = f"{missing} of {missing + len(items)} items undefined" if missing else ""
    alone = "one group alone: no interval and no test" if items.n_groups == 1 else ""
    return "; ".join(part for part in (graded.note, counted, alone) if part)
