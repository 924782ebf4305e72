"""What chance makes of a transfer: how well directions that have nothing to do with the labels tell them apart in another view.

Where activations differ along one axis above all, and labels lie along it, every direction reads them, one way or the other: an AUROC of a
probe in another view means something only beyond what such directions reach there. Three nulls are drawn:

* ``random directions``: isotropic, on the readings that the target standardises by its own training rows.
* ``permuted labels``: probes of the source at their regularisers, fitted to permuted labels and scored on the real ones: the source knows
  nothing, whatever the target knows.
* ``permuted everywhere``: the same probes, scored on the labels that they were fitted to: neither knows anything. Predictions of folds that
  train each other's probes are right and wrong together, and only this null has that (see :mod:`.influence`).

The p-value of a cell is the largest of the three, each (1 + draws at least as far from 1/2) / (1 + draws) or, where no draw is as far, the
tail of :mod:`.tails`, a power law; its band reaches from the lowest 2.5 % point to the highest 97.5 % point. On the diagonal, the ordinary
measurement, only the third is a null. The tail is not asked where two of the drawn labellings are equal, since so few of them have none.

False discoveries are controlled in two families: the diagonal (does a probe read its own view), and all pairs of different views (does it
read another).

What is exchanged are whole groups, with groups of the same size that the same fold tests, and labels inside a group: folds keep their
number of each label, and rows of one group stay together.

References:
    Ojala and Garriga (2010), Permutation tests for studying classifier performance.
    Phipson and Smyth (2010), Permutation p-values should never be zero.
    Winkler, Webster, Vidaurre, Nichols and Smith (2015), Multi-level block permutation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int
from scipy.stats import false_discovery_control, rankdata
from torch import Tensor

from trustrace.core.draws import generator
from trustrace.core.intervals import percentile_interval
from trustrace.measures.config import ProbingConfig
from trustrace.measures.information.exchange import block_permutations
from trustrace.measures.over_training.linear import FoldProbes, Standard, spaces_of, standard_of
from trustrace.measures.over_training.tails import upper_p
from trustrace.measures.over_training.transfer import Cell
from trustrace.measures.over_training.views import Design, View
from trustrace.measures.probing import SELECTION_TOLERANCE, solve_masks
from trustrace.measures.spaces import readings

METHOD = "logistic own"
"""The transfer that has a null: of the logistic probe, on readings that the target standardises itself."""

FEWEST_LABELLINGS = 39
"""Fewer different labellings leave no p-value of 0.05 on two sides."""

Labels = Int[np.ndarray, " tested"]
Areas = Float64[np.ndarray, " draw"]
Scores = Float64[np.ndarray, "draw tested"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Labellings:
    """Permuted labels, a column each; none where groups leave too few.

    Attributes:
        columns: 0 or 1 each; every training set holds both under each of them.
        are_many: No two are equal.
    """

    columns: Int[np.ndarray, "statement draw"]
    are_many: bool

    @classmethod
    def of(cls, design: Design, *, draws: int) -> "Labellings":
        """Exchange labels of groups of one size, among the rows that one fold tests and among those that none does."""
        drawn = np.repeat(design.labels[:, None], draws, axis=1)
        tests = [pair.test for pair in design.pairs]
        for place, rows in enumerate([*tests, ~np.any(tests, axis=0)]):
            groups = tuple(np.asarray(design.groups)[rows].tolist())
            if groups:
                rng = generator(design.seed, "chance", "labels", place)
                drawn[rows] = block_permutations(design.labels[rows], groups, draws=draws, rng=rng)
        shares = np.stack([drawn[pair.train].mean(axis=0) for pair in design.pairs])
        usable = drawn[:, ((shares > 0) & (shares < 1)).all(axis=0)]
        different = len(np.unique(usable, axis=1).T)
        return cls(
            columns=usable if different >= FEWEST_LABELLINGS else usable[:, :0], are_many=different == usable.shape[1]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ChanceProbes:
    """The probes of one view for each of its permuted labellings, in single precision, since there are many.

    Attributes:
        weights: On standardised readings.
        intercepts: Log-odds at the mean of the training rows.
        labels: What they were fitted to, at the tested rows.
        are_many: No two of them were fitted to the same labels, so that there are many more labellings than were drawn.
    """

    weights: Float32[Tensor, "fold draw d_model"]
    intercepts: Float32[Tensor, "fold draw"]
    labels: Int[np.ndarray, "draw tested"]
    are_many: bool


@dataclass(frozen=True, kw_only=True)
class Chance:
    """Where the AUROC of a cell stands in its nulls.

    Attributes:
        middle: The median of the widest null.
        low: The lower end of the central 95 %.
        high: Its upper end.
        p: How often chance is as far from 1/2, on either side (:func:`.tails.upper_p`).
    """

    middle: float
    low: float
    high: float
    p: float


def chance_probes(
    view: View, probes: FoldProbes, design: Design, labellings: Labellings, *, config: ProbingConfig
) -> ChanceProbes:
    """Fit the logistic probe of `view` to every labelling at the regularisers of `probes`, all in one solution of the shared space."""
    read = readings(view.read(), features=config.features)
    standard = standard_of(read, [pair.train for pair in design.pairs], features=config.features)
    columns = torch.from_numpy(labellings.columns).double().to(read.device)
    draws = columns.shape[1]
    parts: list[tuple[Tensor, Tensor]] = []
    chosen = iter(probes.regularisers)
    for part, scale, pairs in spaces_of(read, standard, design.pairs, features=config.features) if draws else ():
        solution = solve_masks(
            part.space,
            columns.repeat(1, len(pairs)),
            [pair.train for pair in pairs for _ in range(draws)],
            [c for _, c in zip(pairs, chosen, strict=False) for _ in range(draws)],
            tolerance=SELECTION_TOLERANCE,
        )
        weights = (part.basis @ solution.coefficients).T.reshape(len(pairs), draws, -1) / scale[:, None]
        intercepts = solution.responses.mean(0).reshape(len(pairs), draws) - weights @ read.mean(0)
        parts.append((weights, intercepts))
    return _standardised(parts, standard, labellings, design)


def _standardised(
    parts: Sequence[tuple[Tensor, Tensor]], standard: Standard, labellings: Labellings, design: Design
) -> ChanceProbes:
    """Weights on plain readings as weights on those of each fold's training rows."""
    folds, d_model = standard.shift.shape
    weights = torch.cat([one for one, _ in parts]) if parts else standard.shift.new_zeros(folds, 0, d_model)
    intercepts = torch.cat([one for _, one in parts]) if parts else standard.shift.new_zeros(folds, 0)
    scaled = torch.where(standard.scale.isfinite(), standard.scale, 0.0)
    return ChanceProbes(
        weights=(weights * scaled[:, None]).float(),
        intercepts=(intercepts + (weights * standard.shift[:, None]).sum(2)).float(),
        labels=np.ascontiguousarray(labellings.columns[design.tested].T),
        are_many=labellings.are_many,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A view as probes of chance see it: its standardised readings, and what random directions reach.

    Attributes:
        folds: The tested rows of each fold, standardised by its training rows.
        places: Where the rows of `folds`, one after another, stand among the tested rows.
        labels: Of the tested rows.
        random: AUROC of random directions.
    """

    folds: tuple[Float64[Tensor, "_ d_model"], ...]
    places: Int[np.ndarray, " tested"]
    labels: Labels
    random: Areas

    @classmethod
    def of(cls, view: View, design: Design, *, config: ProbingConfig, draws: int) -> "Target":
        """Read `view`; the random directions are the same in every view of one width."""
        read = readings(view.read(), features=config.features)
        standard = standard_of(read, [pair.train for pair in design.pairs], features=config.features)
        folds = tuple(
            (read[torch.from_numpy(pair.test).to(read.device)] - standard.shift[fold]) / standard.scale[fold]
            for fold, pair in enumerate(design.pairs)
        )
        order = np.concatenate([np.flatnonzero(pair.test) for pair in design.pairs])
        bare = cls(
            folds=folds,
            places=np.argsort(order),
            labels=design.sample.labels,
            random=np.empty(0),
        )
        rng = generator(design.seed, "chance", "directions")
        directions = torch.from_numpy(rng.normal(size=(draws, read.shape[1]))).to(read.device)
        return replace(bare, random=areas(bare.labels[None], bare.scores([directions] * len(folds))))

    def scores(self, weights: Sequence[Float[Tensor, "draw d_model"]]) -> Scores:
        """What directions make of the tested rows, each row by the directions of the fold that tests it."""
        said = [own.double() @ rows.T for own, rows in zip(weights, self.folds, strict=True)]
        return np.asarray(torch.cat(said, dim=1).cpu().numpy()[:, self.places])

    def said(self, probes: ChanceProbes) -> Scores:
        """Log-odds of the probes of another view; those of a single fold serve every fold."""
        folds = len(self.folds)
        weights, intercepts = probes.weights.expand(folds, -1, -1), probes.intercepts.expand(folds, -1)
        shifts = [one[:, None].expand(-1, len(rows)) for one, rows in zip(intercepts, self.folds, strict=True)]
        offsets = torch.cat(shifts, dim=1).double().cpu().numpy()
        return np.asarray(self.scores(list(weights)) + offsets[:, self.places])


def chance_of(
    area: float, target: Target, probes: ChanceProbes, *, is_self: bool, is_same_data: bool = True, sign: float = 1.0
) -> Chance:
    """Where `area`, the AUROC of the view behind `probes` in `target`, stands in what chance gives.

    Args:
        area: The AUROC of the real probe.
        target: The view that it was scored on.
        probes: Probes of the same source, of permuted labels.
        is_self: The source is the target: the ordinary measurement.
        is_same_data: Both views are of one dataset, so that their rows may train each other's probes.
        sign: -1 where labels of the source mean the opposite in the target.
    """
    ranks = ascending_ranks(sign * target.said(probes))
    nulls = [] if is_self else [target.random, ranked_areas(target.labels[None], ranks)]
    if is_same_data:
        nulls.append(ranked_areas(probes.labels, ranks))
    if np.isnan(area) or any(len(one) == 0 for one in nulls):
        return Chance(middle=np.nan, low=np.nan, high=np.nan, p=np.nan)
    ends = [percentile_interval(one) for one in nulls]
    widest = nulls[int(np.argmax([high - low for low, high in ends]))]
    ones = int(target.labels.sum())
    pairs = ones * (len(target.labels) - ones)
    return Chance(
        middle=float(np.median(widest)),
        low=min(low for low, _ in ends),
        high=max(high for _, high in ends),
        p=max(upper_p(one, area, pairs=pairs, extends=probes.are_many) for one in nulls),
    )


def areas(labels: Int[np.ndarray, "#draw tested"], scores: Scores) -> Areas:
    """AUROC of every row of `scores`, ties counting half; NaN where there is one label."""
    return ranked_areas(labels, ascending_ranks(scores))


def ascending_ranks(scores: Scores) -> Scores:
    """The place of every score in its row, from 1; ties share the mean of theirs."""
    order = np.argsort(scores, axis=1)
    ascending = np.take_along_axis(scores, order, axis=1)
    if (ascending[:, 1:] == ascending[:, :-1]).any():
        return np.asarray(rankdata(scores, axis=1))
    ranks = np.empty_like(scores)
    np.put_along_axis(ranks, order, np.arange(1.0, scores.shape[1] + 1)[None], axis=1)
    return ranks


def ranked_areas(labels: Int[np.ndarray, "#draw tested"], ranks: Scores) -> Areas:
    """AUROC by the ranks of label 1 (Mann and Whitney)."""
    ones = labels.sum(axis=1).astype(np.float64)
    pairs = ones * (labels.shape[1] - ones)
    above = (ranks * labels).sum(axis=1) - ones * (ones + 1) / 2
    return np.asarray(np.where(pairs > 0, above / np.maximum(pairs, 1.0), np.nan))


def chance_cells(
    views: Sequence[View],
    fitted: Sequence[FoldProbes],
    design: Design,
    found: Sequence[Cell],
    *,
    config: ProbingConfig,
    draws: int,
) -> Iterator[Cell]:
    """The null and the p-value of every AUROC of :data:`METHOD` among the transfers `found` of `views`."""
    labellings = Labellings.of(design, draws=draws)
    probes = {
        view.name: chance_probes(view, one, design, labellings, config=config)
        for view, one in zip(views, fitted, strict=True)
    }
    wanted = [cell for cell in found if is_tested(cell)]
    for view in views:
        target = Target.of(view, design, config=config, draws=draws)
        for cell in (cell for cell in wanted if cell.target == view.name):
            is_self = cell.source == view.name
            chance = chance_of(cell.estimate.value, target, probes[cell.source], is_self=is_self)
            yield from told(cell, chance)


def is_tested(cell: Cell) -> bool:
    """Whether a cell is an AUROC that has a null."""
    return (cell.estimate.quantity, cell.estimate.method) == ("transfer auroc", METHOD)


def told(cell: Cell, chance: Chance) -> Iterator[Cell]:
    """``transfer auroc null``, whose interval is the band, and ``transfer auroc p``."""
    own = cell.estimate
    note = "undefined: groups of too many different sizes leave too few labellings" if np.isnan(chance.p) else ""
    band = replace(
        own,
        quantity="transfer auroc null",
        value=chance.middle,
        lower=chance.low,
        upper=chance.high,
        role="null",
        note=own.note if np.isnan(own.value) else note,
    )
    yield replace(cell, estimate=band)
    p = replace(band, quantity="transfer auroc p", value=chance.p, lower=np.nan, upper=np.nan, role="measured")
    yield replace(cell, estimate=p)


def with_discoveries(families: Sequence[Sequence[Cell]]) -> list[tuple[Cell, ...]]:
    """Each of `families`, with ``transfer auroc q`` for every p-value.

    False discoveries are controlled over all of them together, but views in themselves apart from pairs of different views: what reads
    its own view is another question, and would lend its certainty to pairs.

    References:
        Benjamini and Yekutieli (2001), The control of the false discovery rate in multiple testing under dependency.
    """
    p_values = [[cell for cell in cells if cell.estimate.quantity == "transfer auroc p"] for cells in families]
    found = [cell for cells in p_values for cell in cells]
    p = np.array([cell.estimate.value for cell in found])
    q = np.full(len(found), np.nan)
    on_diagonal = np.array([cell.source == cell.target for cell in found], dtype=bool)
    for family in (on_diagonal & np.isfinite(p), ~on_diagonal & np.isfinite(p)):
        if family.any():
            q[family] = false_discovery_control(p[family])
    ordered = iter(q.tolist())
    return [
        (*cells, *(_discovery(cell, next(ordered)) for cell in tested))
        for cells, tested in zip(families, p_values, strict=True)
    ]


def _discovery(cell: Cell, q: float) -> Cell:
    return replace(cell, estimate=replace(cell.estimate, quantity="transfer auroc q", value=q))
