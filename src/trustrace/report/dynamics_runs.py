"""A comparison of checkpoints as the report reads it: by dataset and site, who was compared with whom, and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Measurement
from trustrace.report.canvas import spaced
from trustrace.report.dynamics_folder import DynamicsFolder, SiteStatements
from trustrace.report.run_folder import COLUMNS

FROM = " from "
"""Parts the method of a number of two views from the name of the first one: ``logistic own from step1000``."""

MOST_SITES = 4
"""Of more sites than these, evenly spaced ones are drawn."""

DISCOVERIES = 0.05
"""The false discovery rate at which two checkpoints count as different."""

KINDS = ("always right", "learned", "lost", "never right")
PLACES = ("level", "half", "step", "logistic")
"""The four answers to when something emerges."""

TRANSFER = "logistic own"
"""The transfer that is shown: whether the direction still separates, once a shift that all statements share is taken away."""

DIRECTIONS = ("logistic", "mass_mean")
"""Whose directions' drift is shown."""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A number of every pair of views: rows are sources, columns are what was tested.

    Attributes:
        names: The views, in order.
        cells: The row of the table of each pair, source first.
        chance: What chance makes of a pair: the rows of its null, its p- and its q-value, by the last word of their quantity; empty where
            a comparison is older than that.
    """

    names: tuple[str, ...]
    cells: Mapping[tuple[str, str], Measurement]
    chance: Mapping[tuple[str, str], Mapping[str, Measurement]]

    @property
    def pairs(self) -> list[Measurement]:
        """The numbers of two different views of which neither is idle."""
        idle = self.idle
        return [row for pair, row in self.cells.items() if pair[0] != pair[1] and idle.isdisjoint(pair)]

    @property
    def idle(self) -> frozenset[str]:
        """Views whose probe does not read even themselves: where such a probe points is chance, and so is what it makes of others."""
        return frozenset(name for name in self.names if (name, name) in self.cells and way(self.cells[name, name]) < 1)

    def is_reached_by_chance(self, pair: tuple[str, str]) -> bool:
        """Whether the AUROC of `pair` lies in the band of its null."""
        band, row = self.chance.get(pair, {}).get("null"), self.cells.get(pair)
        return band is not None and row is not None and band.lower <= row.value <= band.upper


Drift = Mapping[str, Mapping[str, Measurement]]
"""Rows of one method's directions against the last checkpoint, by quantity and checkpoint."""


@dataclass(frozen=True, kw_only=True)
class SiteCourse:
    """One site of one dataset over the checkpoints.

    Attributes:
        site: Where in the model.
        emergence: The rows of ``accuracy emergence ...``, by the last word.
        transfer: AUROC of the probe of one checkpoint in another.
        drift: By method, quantity and checkpoint, against the last checkpoint: cosine, ceiling, corrected cosine.
        tolerance: The noise that a checkpoint's readings stand, by checkpoint.
        shares: Of the statements, by what became of them, and forgettings; keyed by quantity and method.
        changes: By the earlier and the later checkpoint: the change, its p- and its q-value, by quantity.
        statements: What became of each statement; None where it was not kept.
    """

    site: str
    emergence: Mapping[str, Measurement]
    transfer: Matrix
    drift: Mapping[str, Drift]
    tolerance: Mapping[str, Measurement]
    shares: Mapping[tuple[str, str], Measurement]
    changes: Mapping[tuple[str, str], Mapping[str, Measurement]]
    statements: SiteStatements | None


@dataclass(frozen=True, kw_only=True)
class DatasetCourse:
    """One dataset: its sites in order of depth, the few that are drawn, and the transfer between sites of the last checkpoint."""

    dataset: str
    sites: tuple[SiteCourse, ...]
    drawn: tuple[SiteCourse, ...]
    layers: Matrix


@dataclass(frozen=True, kw_only=True)
class DynamicsRun:
    """Everything the table of a comparison holds.

    Attributes:
        checkpoints: By key, in order.
        datasets: Those with a course over checkpoints.
        between: Transfer between datasets, by site.
        rows: The table.
    """

    checkpoints: Mapping[str, Checkpoint]
    datasets: tuple[DatasetCourse, ...]
    between: Mapping[str, Matrix]
    rows: tuple[Measurement, ...]


def dynamics_run(folder: DynamicsFolder) -> DynamicsRun:
    """Arrange the table of a comparison."""
    rows = tuple(Measurement(**row) for row in folder.run.table.select(list(COLUMNS)).to_pylist())
    checkpoints = {one.key: one for one in sorted({_checkpoint(row) for row in rows})}
    datasets = tuple(dict.fromkeys(row.dataset for row in rows))
    of_one = {
        name: [row for row in rows if row.dataset == name and source_of(row) not in datasets] for name in datasets
    }
    return DynamicsRun(
        checkpoints=checkpoints,
        datasets=tuple(
            _dataset(name, own, tuple(checkpoints), folder.trajectories) for name, own in of_one.items() if own
        ),
        between=_between([row for row in rows if source_of(row) in datasets], datasets),
        rows=rows,
    )


def source_of(row: Measurement) -> str:
    """The first of the two views of a number; empty where it is of one."""
    return row.method.partition(FROM)[2]


def method_of(row: Measurement) -> str:
    """The method of a number, without the view that it comes from."""
    return row.method.partition(FROM)[0]


def _checkpoint(row: Measurement) -> Checkpoint:
    model, _, revision = row.checkpoint.rpartition("@")
    return Checkpoint(family="", model=model, revision=revision, step=row.step, tokens_seen=row.tokens_seen)


def _dataset(
    name: str,
    rows: Sequence[Measurement],
    keys: Sequence[str],
    trajectories: Mapping[tuple[str, str], SiteStatements],
) -> DatasetCourse:
    sites = tuple(dict.fromkeys(row.site for row in rows))
    courses = tuple(
        _site(site, [row for row in rows if row.site == site], keys, trajectories.get((name, site))) for site in sites
    )
    return DatasetCourse(
        dataset=name,
        sites=courses,
        drawn=tuple(courses[place] for place in spaced(len(courses), MOST_SITES)),
        layers=_matrix([row for row in rows if source_of(row) in sites], sites, lambda row: row.site),
    )


def _site(site: str, rows: Sequence[Measurement], keys: Sequence[str], statements: SiteStatements | None) -> SiteCourse:
    of_pairs = [row for row in rows if source_of(row) in keys]
    named = {(row.quantity, row.method): row for row in rows if not source_of(row)}
    return SiteCourse(
        site=site,
        emergence={
            quantity.rpartition(" ")[2]: row for (quantity, _), row in named.items() if " emergence " in quantity
        },
        transfer=_matrix(of_pairs, keys, lambda row: row.checkpoint),
        drift={method: found for method in DIRECTIONS if (found := _drift(of_pairs, keys, method))},
        tolerance={row.checkpoint: row for row in rows if row.quantity == "noise tolerance"},
        shares={
            (row.quantity, _kind_of(row)): row
            for row in rows
            if row.quantity in KINDS or row.quantity.startswith("forgettings")
        },
        changes=_changes(of_pairs),
        statements=statements,
    )


def _kind_of(row: Measurement) -> str:
    """``""`` for what was measured, else the chance that stands beside it: ``strangers`` or ``shuffled``."""
    if row.role == "measured":
        return ""
    return row.method.rpartition(" ")[2] if " " in row.method else "strangers"


def _matrix(rows: Sequence[Measurement], names: Sequence[str], target: Callable[[Measurement], str]) -> Matrix:
    of_pairs: dict[str, dict[tuple[str, str], Measurement]] = {}
    for row in rows:
        if row.quantity.startswith("transfer auroc") and method_of(row) == TRANSFER:
            of_pairs.setdefault(row.quantity, {})[source_of(row), target(row)] = row
    cells = of_pairs.pop("transfer auroc", {})
    present = {name for pair in cells for name in pair}
    return Matrix(
        names=tuple(name for name in names if name in present),
        cells=cells,
        chance={
            pair: {quantity.rpartition(" ")[2]: found[pair] for quantity, found in of_pairs.items() if pair in found}
            for pair in cells
        },
    )


def _drift(rows: Sequence[Measurement], keys: Sequence[str], method: str) -> Drift:
    """Rows against the last checkpoint that was compared, in the order of training."""
    own = [row for row in rows if row.quantity.startswith("direction cosine") and method_of(row) == method]
    compared = {row.checkpoint for row in own}
    last = next((key for key in reversed(keys) if key in compared), "")
    against = {(row.quantity, source_of(row)): row for row in own if row.checkpoint == last}
    quantities = dict.fromkeys(quantity for quantity, _ in against)
    return {
        quantity: {key: against[quantity, key] for key in keys if (quantity, key) in against} for quantity in quantities
    }


def _changes(rows: Sequence[Measurement]) -> dict[tuple[str, str], dict[str, Measurement]]:
    found: dict[tuple[str, str], dict[str, Measurement]] = {}
    for row in rows:
        if row.quantity.startswith("accuracy change"):
            found.setdefault((source_of(row), row.checkpoint), {})[row.quantity] = row
    return found


def _between(rows: Sequence[Measurement], datasets: Sequence[str]) -> dict[str, Matrix]:
    sites = dict.fromkeys(row.site for row in rows)
    chosen = [list(sites)[place] for place in spaced(len(sites), MOST_SITES)]
    return {
        site: _matrix([row for row in rows if row.site == site], datasets, lambda row: row.dataset) for site in chosen
    }


def way(row: Measurement) -> int:
    """1 where the interval of an AUROC lies above 1/2, -1 where it lies below, 0 where it holds 1/2 or is missing."""
    return int(row.lower > 0.5) - int(row.upper < 0.5)


def is_beyond_chance(matrix: Matrix, pair: tuple[str, str]) -> bool:
    """Whether chance does not explain a pair, once false discoveries are controlled."""
    q = matrix.chance.get(pair, {}).get("q")
    return q is not None and q.value < DISCOVERIES


def differs(change: Mapping[str, Measurement]) -> bool:
    """Whether two checkpoints differ once false discoveries are controlled."""
    return "accuracy change q" in change and change["accuracy change q"].value < DISCOVERIES
