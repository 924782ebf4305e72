"""Does a probe of one dataset read another: fitted on the training rows of A, scored on the tested rows of B, at one checkpoint and site.

Rows of A that share a group or a text with B's tested rows leave A's training rows, with all of their group: two texts count as shared
where they have eight words in a row in common. Labels are turned so that what is desired in A is asked to be what is desired in B.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from trustrace.core.errors import AlignmentError
from trustrace.core.measurements import Estimate
from trustrace.core.statements import Statements
from trustrace.datasets.grouping import runs
from trustrace.measures.config import ProbingConfig
from trustrace.measures.folds import Fold
from trustrace.measures.over_training.chance import Labellings, Target, chance_of, chance_probes, is_tested, told
from trustrace.measures.over_training.linear import METHODS, FoldProbes, fit
from trustrace.measures.over_training.transfer import (
    STANDARDISATIONS,
    Cell,
    ProbeSet,
    cell_estimates,
    fewer,
    log_odds_of,
)
from trustrace.measures.over_training.views import Design, View


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A dataset as one checkpoint sees it at one site."""

    statements: Statements
    design: Design
    view: View


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What a probe for another dataset learns from.

    Attributes:
        fold: The training rows that are left, with inner folds for the regulariser.
        left_out: How many rows had to leave.
    """

    fold: Fold
    left_out: int


def transfer_between(
    parts: Sequence[Part], *, config: ProbingConfig, draws: int, null_draws: int = 0
) -> Iterator[Cell]:
    """``transfer accuracy``, ``transfer auroc`` and ``transfer sign`` of every ordered pair of datasets.

    The diagonal is the ordinary measurement. With `null_draws`, also ``transfer auroc null`` and ``transfer auroc p``: see
    :mod:`.chance`; q-values are for whoever has the cells of all sites.

    Raises:
        AlignmentError: the parts are not of one checkpoint and site.
    """
    _require_one_place(parts)
    for target in parts:
        chance = Target.of(target.view, target.design, config=config, draws=null_draws) if null_draws else None
        for source in parts:
            yield from _pair(source, target, chance, config=config, draws=draws)


def lesson(source: Part, target: Part) -> Lesson:
    """The training rows of `source` that share neither group nor text with the tested rows of `target`."""
    trained = np.any([pair.train for pair in source.design.pairs], axis=0)
    apart = trained & ~linked(source.statements, target.statements, tested=target.design.tested)
    inner = source.design.pairs if source.statements.scheme == "folds" else source.design.pairs[0].inner
    folds = tuple(Fold(train=fold.train & apart, test=fold.test & apart) for fold in inner)
    return Lesson(fold=Fold(train=apart, test=~apart, inner=folds), left_out=int(trained.sum() - apart.sum()))


def linked(
    statements: Statements, other: Statements, *, tested: Bool[np.ndarray, " other_statement"]
) -> Bool[np.ndarray, " statement"]:
    """Rows whose group has a row that shares its group's name or a run of words with a tested row of `other`."""
    rows = np.flatnonzero(tested)
    groups = {other.groups[row] for row in rows}
    words = {run for row in rows for run in runs(other.texts[row])}
    touched = {
        group
        for text, group in zip(statements.texts, statements.groups, strict=True)
        if group in groups or not words.isdisjoint(runs(text))
    }
    return np.array([group in touched for group in statements.groups])


def _pair(source: Part, target: Part, chance: Target | None, *, config: ProbingConfig, draws: int) -> Iterator[Cell]:
    sample = fewer(target.design.sample, draws=draws)
    if source is target:
        note, sign, design = "", 1.0, source.design
    else:
        learned = lesson(source, target)
        note, sign = _note(source, target, learned), _sign(source.statements, target.statements)
        design = replace(source.design, pairs=(learned.fold,))
        if not _is_fit(learned.fold, source.design.labels):
            yield from _undefined(source, target, note=f"undefined: too few rows are left; {note}")
            return
    probes = fit(source.view, design, config=config)
    for method in METHODS:
        stacked = _for_every_fold(probes[method], len(target.design.pairs))
        for how in STANDARDISATIONS:
            (row,) = log_odds_of(stacked, target.view, target.design, standardisation=how, config=config)
            for estimate in cell_estimates(sample, sign * row, method=f"{method} {how}", note=note):
                cell = Cell(source=source.statements.name, target=target.statements.name, estimate=estimate)
                yield cell
                if chance is not None and is_tested(cell):
                    yield from _beside_chance(
                        cell, source.view, probes["logistic"], design, chance, config=config, sign=sign
                    )


def _beside_chance(
    cell: Cell, view: View, probes: FoldProbes, design: Design, target: Target, *, config: ProbingConfig, sign: float
) -> Iterator[Cell]:
    """The null of one pair, from as many labellings of the source's rows as the target has random directions."""
    labellings = Labellings.of(design, draws=len(target.random))
    drawn = chance_probes(view, probes, design, labellings, config=config)
    is_self = cell.source == cell.target
    yield from told(
        cell, chance_of(cell.estimate.value, target, drawn, is_self=is_self, is_same_data=is_self, sign=sign)
    )


def _for_every_fold(probes: FoldProbes, folds: int) -> ProbeSet:
    """The probes of one view; a single one serves every fold of the target."""
    one = ProbeSet.of([probes])
    if one.weights.shape[1] == folds:
        return one
    return ProbeSet(
        weights=one.weights.expand(-1, folds, -1),
        intercepts=one.intercepts.expand(-1, folds),
        shift=one.shift.expand(-1, folds, -1),
        scale=one.scale.expand(-1, folds, -1),
    )


def _sign(source: Statements, target: Statements) -> float:
    return 1.0 if source.meaning.desired == target.meaning.desired else -1.0


def _note(source: Part, target: Part, learned: Lesson) -> str:
    found = [f"fitted on {int(learned.fold.train.sum())} rows"]
    if learned.left_out:
        found.append(f"{learned.left_out} rows left out that share a group or text with {target.statements.name}")
    if _sign(source.statements, target.statements) < 0:
        found.append("labels turned, since the desired labels differ")
    return "; ".join(found)


def _is_fit(fold: Fold, labels: Int[np.ndarray, " statement"]) -> bool:
    """Whether every training set holds both labels, and every inner fold tests something."""
    both = all(0 < labels[one.train].mean() < 1 if one.train.any() else False for one in (fold, *fold.inner))
    return both and all(one.test.any() for one in fold.inner)


def _undefined(source: Part, target: Part, *, note: str) -> Iterator[Cell]:
    sample = target.design.sample
    for method in METHODS:
        for how in STANDARDISATIONS:
            for quantity in ("transfer accuracy", "transfer auroc", "transfer sign"):
                estimate = Estimate(
                    quantity=quantity,
                    method=f"{method} {how}",
                    value=np.nan,
                    n=len(sample),
                    n_groups=sample.n_groups,
                    note=note,
                )
                yield Cell(source=source.statements.name, target=target.statements.name, estimate=estimate)


def _require_one_place(parts: Sequence[Part]) -> None:
    places = sorted({f"{part.view.site} of {part.view.checkpoint.key}" for part in parts})
    if len(places) > 1:
        raise AlignmentError(
            f"a probe is asked about other datasets at its own checkpoint and site, not at {', '.join(places)}"
        )
