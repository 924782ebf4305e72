"""What the numbers say: which site is best, and when its interval first lies above every floor. Chosen and compared, never computed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int

from trustrace.core.checkpoints import Checkpoint
from trustrace.report.grids import Grid, Series, Trace, View

DEFAULT_METHOD = "logistic"
UNCHOSEN = -1

CHOSEN = "chosen"
"""Stands for a site in rows where each fold was scored at the site that its own training rows prefer."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One number at one place; `column` and `row` are its checkpoint's and its site's places in the series."""

    column: int
    row: int
    checkpoint: Checkpoint
    site: str
    value: float
    lower: float
    upper: float
    n: int
    n_groups: int
    note: str


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What is reached without what training has built; `name` is a key of the glossary's floors."""

    name: str
    value: float
    lower: float
    upper: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one probe says about one dataset.

    Attributes:
        view: Where it was looked.
        method: The probe.
        n_checkpoints: How many checkpoints have a number at all.
        best: The number at the best site of each checkpoint that has one, in order.
        floors: The floors of each of `best`.
        final_range: The lowest and the highest site of the last checkpoint, whichever site is best.
    """

    view: View
    method: str
    n_checkpoints: int
    best: tuple[Reading, ...]
    floors: tuple[tuple[Floor, ...], ...]
    final_range: tuple[Reading, ...]

    @cached_property
    def above(self) -> tuple[bool, ...]:
        """Which of `best` lie above every floor."""
        return tuple(lies_above(reading, floors) for reading, floors in zip(self.best, self.floors, strict=True))

    @property
    def onset(self) -> int | None:
        """The place in `best` of the first that lies above every floor; None where none does."""
        return self.above.index(True) if any(self.above) else None

    @property
    def first(self) -> Reading | None:
        """The best site of the first checkpoint whose interval lies above every floor."""
        return None if self.onset is None else self.best[self.onset]

    @property
    def final(self) -> Reading | None:
        """The best site of the last checkpoint."""
        return self.best[-1] if self.best else None

    @property
    def final_floors(self) -> tuple[Floor, ...]:
        """The floors of `final`."""
        return self.floors[-1] if self.floors else ()

    @property
    def later(self) -> tuple[bool, ...]:
        """Whether each checkpoint after the first above every floor is above them as well."""
        return () if self.onset is None else self.above[self.onset + 1 :]


def finding(trace: Trace, view: View, *, method: str = DEFAULT_METHOD, quantity: str = "accuracy") -> Finding | None:
    """What `method` finds in `view`; None where it measured nothing there."""
    grid = trace.grid(view, method, quantity)
    if grid is None:
        return None
    best = tuple(_best_readings(trace, grid, chosen_sites(trace, view, method=method)))
    measured = _measured_columns(grid, trace.series[view.model])
    return Finding(
        view=view,
        method=method,
        n_checkpoints=len(measured),
        best=best,
        floors=tuple(floors_at(trace, grid, reading) for reading in best),
        final_range=_range(trace, grid, measured[-1]) if measured else (),
    )


def chosen_sites(trace: Trace, view: View, *, method: str = DEFAULT_METHOD) -> Int[np.ndarray, " checkpoint"]:
    """The best site of each trained checkpoint, by the loss inside training rows; a tie goes to the shallower site.

    Averaged over folds, that loss has seen every row of a set without a test split of its own: it names a site, and the number beside the
    name is that of the rows ``chosen``, where there are any. A probe without such a loss of its own borrows the logistic probe's choice;
    where that is missing too (the published protocol has none), no site is chosen.
    """
    n_checkpoints = len(trace.series[view.model].checkpoints)
    inner = trace.grid(view, method, "selection_log_loss") or trace.grid(view, DEFAULT_METHOD, "selection_log_loss")
    if inner is None:
        return np.full(n_checkpoints, UNCHOSEN)
    loss = np.where(np.isfinite(inner.value), inner.value, np.inf)[:n_checkpoints]
    return np.where(np.isfinite(loss).any(axis=1), loss.argmin(axis=1), UNCHOSEN)


def focus_site(trace: Trace, view: View) -> int:
    """The site chosen at the last checkpoint that has one."""
    chosen = chosen_sites(trace, view)
    made = chosen[chosen != UNCHOSEN]
    return int(made[-1]) if len(made) else UNCHOSEN


def floors_at(trace: Trace, grid: Grid, reading: Reading) -> tuple[Floor, ...]:
    """Every floor that `reading` has to lie above: text alone, the input embedding, the untrained twin at the same site."""
    address = grid.address
    text = (
        Floor(name=row.method, value=row.value, lower=row.lower, upper=row.upper, n=row.n)
        for row in trace.floors_of(address.view, address.quantity)
    )
    return tuple(floor for floor in (*text, *model_floors(trace, grid, reading)) if math.isfinite(floor.value))


def model_floors(trace: Trace, grid: Grid, reading: Reading) -> Iterator[Floor]:
    """The floors that a model sets: its own input embedding, and the strongest untrained twin at the same site."""
    series = trace.series[grid.address.view.model]
    if "embed" in series.sites:
        yield _floor("input_embedding", grid, reading.column, series.sites.index("embed"))
    twins = [
        _floor("random_initialisation", grid, column, reading.row)
        for column in range(len(series.checkpoints), len(series.columns))
    ]
    yield from sorted((twin for twin in twins if math.isfinite(twin.value)), key=lambda twin: -twin.value)[:1]


def strongest(floors: tuple[Floor, ...]) -> Floor | None:
    """The highest of `floors`; None where there are none."""
    return max(floors, key=lambda floor: floor.value, default=None)


def lies_above(reading: Reading, floors: tuple[Floor, ...]) -> bool:
    """Whether the whole interval of `reading` is above every floor; never true without an interval or without a floor."""
    highest = strongest(floors)
    return highest is not None and reading.lower > highest.value


def _floor(name: str, grid: Grid, column: int, site: int) -> Floor:
    return Floor(
        name=name,
        value=float(grid.value[column, site]),
        lower=float(grid.lower[column, site]),
        upper=float(grid.upper[column, site]),
        n=int(grid.n[column, site]),
    )


def _best_readings(trace: Trace, grid: Grid, chosen: Int[np.ndarray, " checkpoint"]) -> Iterator[Reading]:
    """The number of each checkpoint: where each fold chose its own site, that number, under the name of the site chosen over all."""
    sites = trace.series[grid.address.view.model].sites
    own = sites.index(CHOSEN) if CHOSEN in sites else UNCHOSEN
    for column, site in enumerate(chosen):
        if site != UNCHOSEN and math.isfinite(grid.value[column, site]):
            fold_wise = own != UNCHOSEN and math.isfinite(grid.value[column, own])
            reading = reading_at(trace, grid, column, own if fold_wise else int(site))
            yield replace(reading, site=sites[site])


def reading_at(trace: Trace, grid: Grid, column: int, site: int) -> Reading:
    """The number in one cell of `grid`."""
    series = trace.series[grid.address.view.model]
    return Reading(
        column=column,
        row=site,
        checkpoint=series.columns[column],
        site=series.sites[site],
        value=float(grid.value[column, site]),
        lower=float(grid.lower[column, site]),
        upper=float(grid.upper[column, site]),
        n=int(grid.n[column, site]),
        n_groups=int(grid.n_groups[column, site]),
        note=trace.notes[max(int(grid.notes[column, site]), 0)],
    )


def _measured_columns(grid: Grid, series: Series) -> list[int]:
    trained = np.isfinite(grid.value[: len(series.checkpoints)])
    return [int(column) for column in np.flatnonzero(trained.any(axis=1))]


def _range(trace: Trace, grid: Grid, column: int) -> tuple[Reading, ...]:
    ends = (int(np.nanargmin(grid.value[column])), int(np.nanargmax(grid.value[column])))
    return tuple(reading_at(trace, grid, column, site) for site in ends)
