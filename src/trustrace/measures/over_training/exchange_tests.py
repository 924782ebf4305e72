"""Does one checkpoint get more statements right than another: paired tests by exchange of predictions, for all pairs at once.

If two checkpoints are equally good, a group's predictions may as well have come from either: exchanging them changes the sign of the
group's difference. A pair's p-value is how often the absolute difference of random exchanges reaches its own. Whole groups are exchanged,
since rows of one group are right or wrong together. An exchange is a sign for each group, and a difference of sums is a sum of
differences: the signs are multiplied with each checkpoint's counts once, and every pair's null is a difference of two rows.

Predictions are held-out ones, but the rows that one group is scored by train the probes of all others: groups that share nothing are right
and wrong together, most of all where probes find nothing, and exchanges of groups alone told 10 to 13 % of simulated pairs at chance
apart at a nominal 5 %. So a difference is first divided by the root of what this adds to its variance (:mod:`.influence`).

References:
    Bengio and Grandvalet (2004), No unbiased estimator of the variance of k-fold cross-validation.
    Fisher (1935), The Design of Experiments, section 21.
    Hoeffding (1963), Probability inequalities for sums of bounded random variables, theorem 2.
    Benjamini and Hochberg (1995), Controlling the false discovery rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.stats import false_discovery_control

from trustrace.core.draws import generator
from trustrace.core.errors import MeasurementError
from trustrace.core.intervals import percentile_interval
from trustrace.core.measurements import Estimate
from trustrace.measures.over_training.influence import Influence, inflation
from trustrace.measures.over_training.transfer import Cell
from trustrace.measures.scoring import Sample

Hits = Bool[np.ndarray, "view tested"]
PerPair = Float64[np.ndarray, " pair"]

# Exchanges that are drawn together; it bounds memory.
_BATCH = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedTests:
    """What the pairs of views at one site say.

    Attributes:
        pairs: The earlier and the later view of each.
        differences: The later one's accuracy less the earlier one's.
        p_values: Of "they are equally good".
        inflations: The variance of each difference over that of independent groups.
    """

    pairs: tuple[tuple[int, int], ...]
    differences: PerPair
    p_values: PerPair
    inflations: PerPair


def exchange_tests(
    hits: Hits, groups: Sequence[str], *, exchanges: int, seed: int, influence: Influence | None = None
) -> PairedTests:
    """Test every pair of views.

    A p-value counts the exchange that was observed among the others: (1 + reached) / (1 + exchanges). Where no exchange comes near a
    difference, it is Hoeffding's bound on the tail, 2 exp(-t²/2Σd²), instead of the reciprocal of the number of exchanges: with hundreds
    of pairs, false-discovery control needs p-values that exchanges cannot resolve.

    Args:
        hits: Whether each view's held-out prediction of each statement is right.
        groups: The group of each statement.
        exchanges: Random exchanges.
        seed: Of the exchanges.
        influence: What predictions owe to each other's statements; None where no statement trains what another is scored by.

    Raises:
        MeasurementError: there are fewer than two groups, so that nothing can be exchanged.
    """
    _, membership = np.unique(np.asarray(groups), return_inverse=True)
    n_groups = int(membership.max()) + 1
    if n_groups < 2:
        raise MeasurementError(
            "one group of statements; its predictions cannot be exchanged: bring statements of several groups"
        )
    counts = _sums(hits, membership)
    pairs = tuple(combinations(range(len(hits)), 2))
    first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
    differences = counts[second].sum(axis=1) - counts[first].sum(axis=1)
    squares = ((counts[second] - counts[first]) ** 2).sum(axis=1)
    inflations = np.ones(len(pairs))
    if influence is not None:
        parts, lost = _sums(hits, influence.blocks), influence.lost
        inflations = inflation(parts[second] - parts[first], lost[second] - lost[first], squares)
    shrunk = np.abs(differences) / np.sqrt(inflations)
    reached = np.zeros(len(pairs))
    rng = generator(seed, "exchange")
    for start in range(0, exchanges, _BATCH):
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(n_groups, min(_BATCH, exchanges - start)))
        sums = counts @ signs
        reached += [(np.abs(sums[j] - sums[i]) >= own).sum() for i, j, own in zip(first, second, shrunk, strict=True)]
    return PairedTests(
        pairs=pairs,
        differences=differences / hits.shape[1],
        p_values=_p_values(reached, exchanges, shrunk, squares),
        inflations=inflations,
    )


def _sums(hits: Hits, parts: Int[np.ndarray, " tested"]) -> Float64[np.ndarray, "view part"]:
    """How many rows of each part are right, by view."""
    counts = np.zeros((len(hits), int(parts.max()) + 1))
    np.add.at(counts.T, parts, hits.T.astype(np.float64))
    return counts


def _p_values(reached: PerPair, exchanges: int, shrunk: PerPair, squares: PerPair) -> PerPair:
    counted = (1 + reached) / (1 + exchanges)
    bound = 2 * np.exp(-(shrunk**2) / (2 * np.maximum(squares, 1.0)))
    return np.where(reached == 0, np.minimum(counted, bound), counted)


def paired_tests(
    hits: Mapping[str, Hits],
    names: Sequence[str],
    groups: Sequence[str],
    sample: Sample,
    *,
    exchanges: int,
    seed: int,
    influences: Mapping[str, Influence] | None = None,
) -> dict[str, list[Cell]]:
    """``accuracy change``, with its interval, and its p- and q-value, for every pair of checkpoints at every site.

    False discoveries are controlled over all pairs of all sites together (Benjamini and Hochberg). The tests share statements and are
    positively dependent, under which that procedure holds. The interval is that of the bootstrap, spread about the change by the root of
    the variance's inflation, as the change is divided by it for the test.

    Args:
        hits: By site, whether each checkpoint's held-out prediction is right.
        names: The checkpoints, in order.
        groups: The group of each tested row.
        sample: The tested rows with their bootstrap draws, shared by all checkpoints.
        exchanges: Random exchanges; the same ones at every site.
        seed: Of the exchanges.
        influences: By site, what predictions owe to each other's statements.

    References:
        Benjamini and Yekutieli (2001), The control of the false discovery rate in multiple testing under dependency.
    """
    owed = influences or {}
    found = {
        site: exchange_tests(one, groups, exchanges=exchanges, seed=seed, influence=owed.get(site))
        for site, one in hits.items()
    }
    p_values = np.concatenate([one.p_values for one in found.values()]) if found else np.empty(0)
    q_values = false_discovery_control(p_values) if len(p_values) else p_values
    cells: dict[str, list[Cell]] = {}
    start = 0
    for site, tests in found.items():
        q = q_values[start : start + len(tests.pairs)]
        start += len(tests.pairs)
        cells[site] = _cells(hits[site], names, tests, q, sample)
    return cells


def _cells(hits: Hits, names: Sequence[str], tests: PairedTests, q_values: PerPair, sample: Sample) -> list[Cell]:
    draws = sample.draws.astype(np.float64)
    replicates = hits @ draws / draws.sum(axis=0)
    cells = []
    for place, (i, j) in enumerate(tests.pairs):
        change, p, q = tests.differences[place], tests.p_values[place], q_values[place]
        # Draws of groups vary as independent groups do: they lack what the test allows for.
        wider = np.sqrt(tests.inflations[place])
        lower, upper = percentile_interval(change + wider * (replicates[j] - replicates[i] - change))

        def estimate(quantity: str, value: float, low: float = np.nan, high: float = np.nan) -> Estimate:
            return Estimate(
                quantity=quantity,
                method="logistic",
                value=value,
                lower=low,
                upper=high,
                n=len(sample),
                n_groups=sample.n_groups,
            )

        cells += [
            Cell(source=names[i], target=names[j], estimate=one)
            for one in (
                estimate("accuracy change", float(change), lower, upper),
                estimate("accuracy change p", float(p)),
                estimate("accuracy change q", float(q)),
            )
        ]
    return cells
