"""All that one dataset's activations at every checkpoint say together: the entry to this package."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64

from trustrace.activations.store import Activations
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import AlignmentError, MeasurementError
from trustrace.core.measurements import Estimate, Measurement
from trustrace.core.progress import Progress, silent
from trustrace.core.statements import Statements
from trustrace.measures.config import ProbingConfig
from trustrace.measures.dynamics import Curve
from trustrace.measures.over_training.alone import Alone, Member, at_hand, digest
from trustrace.measures.over_training.axes import axes_of
from trustrace.measures.over_training.chance import chance_cells, with_discoveries
from trustrace.measures.over_training.config import OverTrainingConfig
from trustrace.measures.over_training.drift import Counted, direction_drift, subspace_drift
from trustrace.measures.over_training.emergence import emergence
from trustrace.measures.over_training.exchange_tests import paired_tests
from trustrace.measures.over_training.fragility import margins_and_spreads, tolerance_estimate
from trustrace.measures.over_training.halves import Halves
from trustrace.measures.over_training.influence import Blocks, Influence, blocks_of, influence
from trustrace.measures.over_training.linear import METHODS, FoldProbes, Method, fit
from trustrace.measures.over_training.trajectories import Trajectory, right, trajectories, trajectory_estimates
from trustrace.measures.over_training.transfer import STANDARDISATIONS, Cell, ProbeSet, transfer
from trustrace.measures.over_training.views import (
    Design,
    View,
    checkpoint_views,
    require_a_course,
    require_same_statements,
    site_views,
)
from trustrace.measures.scoring import correct

FROM = " from "
"""Parts the method of a number of two views from the name of the first one: ``logistic own from step1000``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteCourse:
    """What one site says over the checkpoints.

    Attributes:
        site: Where in the model.
        log_odds: Of label 1, of each checkpoint's own logistic probe, from the fold that tests the statement.
        estimates: Numbers of one checkpoint (``noise tolerance``) or of the whole course, which stand at its last checkpoint.
        cells: Numbers of two checkpoints: transfer, drift, paired tests.
        trajectories: What becomes of each statement.
        influence: What the predictions of the checkpoints that are compared pair by pair owe to each other's statements.
    """

    site: str
    log_odds: Float64[np.ndarray, "checkpoint tested"]
    estimates: tuple[tuple[Checkpoint, Estimate], ...]
    cells: tuple[Cell, ...]
    trajectories: tuple[Trajectory, ...]
    influence: Influence


@dataclass(frozen=True, kw_only=True, eq=False)
class OverTraining:
    """What a dataset's activations at every checkpoint say together.

    Attributes:
        checkpoints: In the order of training.
        sites: In order of depth.
        layers: Numbers of two sites of one checkpoint, the last of those that are compared pair by pair: transfer.
        layered: That checkpoint.
        duplicates: Pairs of checkpoints whose activations are equal bit for bit: one of them is not what its name says.
    """

    checkpoints: tuple[Checkpoint, ...]
    sites: tuple[SiteCourse, ...]
    layers: tuple[Cell, ...]
    layered: Checkpoint
    duplicates: tuple[tuple[str, str], ...]

    def measurements(self, *, dataset: str, position: str, seed: int) -> list[Measurement]:
        """Rows of the tidy table. A number of two views stands at the second one; its method names the first, after :data:`FROM`."""
        by_key = {checkpoint.key: checkpoint for checkpoint in self.checkpoints}
        placed = [
            *((course.site, at, one) for course in self.sites for at, one in course.estimates),
            *((course.site, by_key[cell.target], named(cell)) for course in self.sites for cell in course.cells),
            *((cell.target, self.layered, named(cell)) for cell in self.layers),
        ]
        return [
            Measurement.of(
                one, dataset=dataset, protocol="rigorous", seed=seed, checkpoint=at, site=site, position=position
            )
            for site, at, one in placed
        ]


def named(cell: Cell) -> Estimate:
    """The number of a cell, its method followed by the source's name."""
    return replace(cell.estimate, method=f"{cell.estimate.method}{FROM}{cell.source}") if cell.source else cell.estimate


def compare(
    series: Sequence[Member],
    statements: Statements,
    *,
    config: ProbingConfig,
    over: OverTrainingConfig,
    seed: int,
    sites: Sequence[str] | None = None,
    floor: float | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> OverTraining:
    """Compare the checkpoints of one run with each other.

    Args:
        series: The activations of `statements` at every checkpoint, in the order of training. In place of those that are not to be compared
            pair by pair, what they say alone is enough.
        statements: Texts, labels, groups and splits.
        config: How probes are fitted: as in :func:`trustrace.measures.measure.measure`, whose folds and draws are used.
        over: How checkpoints are compared.
        seed: Of folds, bootstrap, halves and exchanges.
        sites: Which sites; by default those that every checkpoint has.
        floor: The accuracy above which a concept emerges; the share of the commoner label by default.
        device: Where the linear algebra runs.
        progress: Told of finished sites.

    Raises:
        AlignmentError: checkpoints are given twice, out of order, of another width, or of other statements.
        MeasurementError: fewer than two checkpoints with activations, no site, a value that is not finite, or labels and groups that do not
            allow the folds.
    """
    kept = [one for one in series if isinstance(one, Activations)]
    if len(kept) < 2:
        raise MeasurementError(
            f"{statements.name}: {len(kept)} checkpoints with activations; at least two can be compared"
        )
    require_same_statements(kept, statements)
    wanted = _sites(series, sites)
    design = Design.of(statements, config=config, seed=seed)
    _require_same_rows(series, design)
    require_a_course([one.checkpoint for one in series], widths={one.d_model for one in series})
    halves = Halves.of(design, halvings=over.halvings, blocks=over.blocks)
    blocks = blocks_of(design, most=over.influence_blocks)
    courses = []
    for site in wanted:
        views = checkpoint_views(kept, site, device=device)
        courses.append(_at_site(series, views, design, halves, blocks, config=config, over=over))
        progress(len(courses), len(wanted), "sites compared")
    layers = tuple(_transfers(site_views(kept[-1], wanted, device=device), design, config=config, over=over))
    return OverTraining(
        checkpoints=tuple(one.checkpoint for one in series),
        sites=tuple(_with_tests(courses, series, design, floor=floor, over=over)),
        layers=with_discoveries([layers])[0],
        layered=kept[-1].checkpoint,
        duplicates=_duplicates(series, wanted[-1]),
    )


def _at_site(
    series: Sequence[Member],
    views: Sequence[View],
    design: Design,
    halves: Halves,
    blocks: Blocks,
    *,
    config: ProbingConfig,
    over: OverTrainingConfig,
) -> SiteCourse:
    fitted = [fit(view, design, config=config) for view in views]
    read = zip(views, fitted, strict=True)
    log_odds, tolerances = [], []
    for one in series:
        said, spread = _said_alone(one, views[0].site) if isinstance(one, Alone) else _said(*next(read), design, config)
        log_odds.append(said)
        tolerances.append((one.checkpoint, tolerance_estimate(said, spread, design.sample, method="logistic")))
    few = spread_out(len(views), most=over.matrix_checkpoints)
    some, probes_of_some = [views[place] for place in few], [fitted[place] for place in few]
    course = np.stack(log_odds)
    shares = trajectory_estimates(right(course, design.sample.labels), design.sample)
    return SiteCourse(
        site=views[0].site,
        log_odds=course,
        estimates=(*tolerances, *((series[-1].checkpoint, one) for one in shares)),
        cells=(
            *_transfers_of(probes_of_some, some, design, config=config, over=over),
            *_drift(probes_of_some, some, design, halves, config=config, over=over),
        ),
        trajectories=trajectories(course, design.sample.labels, np.flatnonzero(design.tested)),
        influence=_influence(some, probes_of_some, design, blocks, config=config),
    )


def _said(
    view: View, probes: Mapping[Method, FoldProbes], design: Design, config: ProbingConfig
) -> tuple[Float64[np.ndarray, " tested"], Float64[np.ndarray, " tested"]]:
    """The log-odds of the tested rows, and what noise does to each."""
    return margins_and_spreads(view, probes["logistic"], design, config=config)


def _said_alone(one: Alone, site: str) -> tuple[Float64[np.ndarray, " tested"], Float64[np.ndarray, " tested"]]:
    """The same, as it was noted."""
    row = one.sites.index(site)
    return one.log_odds[row], one.spread[row]


def _influence(
    views: Sequence[View],
    fitted: Sequence[Mapping[Method, FoldProbes]],
    design: Design,
    blocks: Blocks,
    *,
    config: ProbingConfig,
) -> Influence:
    lost = [
        influence(view, probes["logistic"], design, blocks, config=config)
        for view, probes in zip(views, fitted, strict=True)
    ]
    return Influence(blocks=blocks[design.tested], lost=np.stack(lost))


def spread_out(n: int, *, most: int) -> list[int]:
    """At most `most` of `n` places, evenly spread, the first and the last among them."""
    return sorted({int(place) for place in np.linspace(0, n - 1, min(n, most)).round()})


def _transfers(
    views: Sequence[View], design: Design, *, config: ProbingConfig, over: OverTrainingConfig
) -> Iterator[Cell]:
    """Site by site; one site has nothing to transfer to."""
    if len(views) > 1:
        yield from _transfers_of(
            [fit(view, design, config=config) for view in views], views, design, config=config, over=over
        )


def _transfers_of(
    fitted: Sequence[Mapping[Method, FoldProbes]],
    views: Sequence[View],
    design: Design,
    *,
    config: ProbingConfig,
    over: OverTrainingConfig,
) -> Iterator[Cell]:
    """Every transfer, and what chance makes of the AUROC under ``logistic own``."""
    found: list[Cell] = []
    for method in METHODS:
        probes = ProbeSet.of([one[method] for one in fitted])
        for how in STANDARDISATIONS:
            found += transfer(
                probes, views, design, method=method, standardisation=how, config=config, draws=over.matrix_draws
            )
    yield from found
    logistic = [one["logistic"] for one in fitted]
    yield from chance_cells(views, logistic, design, found, config=config, draws=over.null_draws)


def _drift(
    fitted: Sequence[Mapping[Method, FoldProbes]],
    views: Sequence[View],
    design: Design,
    halves: Halves,
    *,
    config: ProbingConfig,
    over: OverTrainingConfig,
) -> Iterator[Cell]:
    axes = [
        axes_of(view, design, halves, config=config, regulariser=_typical(probes["logistic"]), rank=over.rank)
        for view, probes in zip(views, fitted, strict=True)
    ]
    counted = Counted(
        names=tuple(view.name for view in views),
        n=int(halves.whole.sum()),
        n_groups=len(set(np.asarray(design.groups)[halves.whole].tolist())),
    )
    for method in METHODS:
        yield from direction_drift(
            torch.stack([one.directions[method] for one in axes]), halves, counted, method=method
        )
    yield from subspace_drift(torch.stack([one.subspaces for one in axes]), halves, counted)


def _typical(probes: FoldProbes) -> float:
    """The middle one of the folds' choices."""
    return sorted(probes.regularisers)[len(probes.regularisers) // 2]


def _with_tests(
    courses: Sequence[SiteCourse],
    series: Sequence[Member],
    design: Design,
    *,
    floor: float | None,
    over: OverTrainingConfig,
) -> Iterator[SiteCourse]:
    """Add what is judged over all sites together: emergence, transfer beyond chance, and paired tests of the compared checkpoints."""
    places = at_hand(series)
    few = [places[place] for place in spread_out(len(places), most=over.matrix_checkpoints)]
    cells = paired_tests(
        {course.site: right(course.log_odds, design.sample.labels)[few] for course in courses},
        [series[place].checkpoint.key for place in few],
        design.tested_groups,
        design.sample,
        exchanges=over.exchanges,
        seed=design.seed,
        influences={course.site: course.influence for course in courses},
    )
    transferred = with_discoveries([course.cells for course in courses])
    share = float(design.sample.labels.mean())
    level = max(share, 1 - share) if floor is None else floor
    training = _training(series)
    curves = [_curve(course, training, design) for course in courses] if training is not None else []
    found = emergence(curves, [level] * len(curves), margin=over.margin, seed=design.seed)
    for place, course in enumerate(courses):
        emerged = found[place] if found else []
        yield replace(
            course,
            estimates=(*course.estimates, *((series[-1].checkpoint, one) for one in emerged)),
            cells=(*transferred[place], *cells[course.site]),
        )


def _training(series: Sequence[Member]) -> Float64[np.ndarray, " checkpoint"] | None:
    """Tokens seen, or steps where they are not known; None where neither ascends."""
    for name in ("tokens_seen", "step"):
        counts = [getattr(one.checkpoint, name) for one in series]
        if None not in counts and (np.diff(counts) > 0).all():
            return np.array(counts, dtype=np.float64)
    return None


def _curve(course: SiteCourse, training: Float64[np.ndarray, " checkpoint"], design: Design) -> Curve:
    sample = design.sample
    hits = np.stack([correct(sample.labels, one) for one in course.log_odds])
    draws = sample.draws.astype(np.float64)
    return Curve(
        dataset=design.dataset,
        site=course.site,
        quantity="accuracy",
        method="logistic",
        training=training,
        values=hits.mean(axis=1),
        replicates=(hits @ draws / draws.sum(axis=0)).T,
        n=len(sample),
        n_groups=sample.n_groups,
    )


def _require_same_rows(series: Sequence[Member], design: Design) -> None:
    """Raise unless whatever stands alone was scored on the rows of `design`.

    Raises:
        AlignmentError: naming the first that was not.
    """
    for one in series:
        if isinstance(one, Alone) and one.log_odds.shape[1] != len(design.sample):
            raise AlignmentError(
                f"{one.checkpoint.key} was scored on {one.log_odds.shape[1]} rows, and {design.dataset} has {len(design.sample)} that are "
                "tested; capture it again"
            )


def _sites(series: Sequence[Member], sites: Sequence[str] | None) -> list[str]:
    shared = [site for site in series[0].sites if all(site in one.sites for one in series)]
    unknown = [site for site in sites or () if site not in shared]
    if unknown or not shared:
        raise MeasurementError(
            f"sites {unknown or '(none)'} are not in every checkpoint's file; shared are {', '.join(shared) or 'none'}"
        )
    return [site for site in shared if sites is None or site in sites]


def _duplicates(series: Sequence[Member], site: str) -> tuple[tuple[str, str], ...]:
    """Checkpoints that equal an earlier one bit for bit at `site`."""
    seen: dict[str, str] = {}
    found = []
    for one in series:
        known = digest(one, site)
        if known in seen:
            found.append((seen[known], one.checkpoint.key))
        seen.setdefault(known, one.checkpoint.key)
    return tuple(found)
