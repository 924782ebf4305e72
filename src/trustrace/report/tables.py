"""The tables of the page: rows of text, chosen from the tidy table and written at reading precision."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trustrace.report import glossary
from trustrace.report.axis import label
from trustrace.report.findings import Finding, Floor, Reading, finding, reading_at, strongest
from trustrace.report.grids import UNMEASURED, Trace, View
from trustrace.report.sentences import number, with_interval

ABSENT = "\u2013"
_SITE_FLOORS = ("input_embedding", "random_initialisation")
_PARTS = ("model", "protocol", "position", "seed")


@dataclass(frozen=True)
class Cell:
    """What a cell says, and what stands beside it in a quieter voice, such as an interval."""

    text: str
    beside: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: `view` and `method` say what it is about, so that a page can show those of one choice alone."""

    view: View
    method: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table as text; the first cell of each row names it."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[Row, ...]


def best_sites(trace: Trace) -> TextTable:
    """For each dataset and probe: the first best site above every floor, and the best site of the last checkpoint."""
    parts = _varying(trace)
    found = [
        at for view in trace.views for method in _methods(trace, view) if (at := finding(trace, view, method=method))
    ]
    return TextTable(
        caption=f"Best sites, chosen by the loss inside training rows; accuracy with 95 % intervals. {_constant(trace)}",
        headers=(
            "Dataset",
            *(part.capitalize() for part in parts),
            "Probe",
            "First above every floor",
            "Accuracy there",
            "Last checkpoint",
            "Accuracy there",
            "AUROC there",
            "Strongest floor",
            "n",
        ),
        rows=tuple(_best_row(trace, at, parts) for at in found),
    )


def floors(trace: Trace) -> TextTable:
    """For each dataset and probe: every floor of the best site of the last checkpoint."""
    parts = _varying(trace)
    names = _floor_names(trace)
    found = [
        at for view in trace.views for method in _methods(trace, view) if (at := finding(trace, view, method=method))
    ]
    return TextTable(
        caption="Floors at the last checkpoint: the accuracy that is reached without what training has built, with 95 % intervals. "
        f"{_constant(trace)}",
        headers=(
            "Dataset",
            *(part.capitalize() for part in parts),
            "Probe",
            *(glossary.floor(n).title.capitalize() for n in names),
        ),
        rows=tuple(_floor_row(at, parts, names, trace) for at in found),
    )


def notes(trace: Trace) -> tuple[tuple[str, int], ...]:
    """Every note that a number of the table carries, and how many carry it; the most frequent first."""
    counts = np.zeros(len(trace.notes), dtype=np.int64)
    for grid in (*trace.grids.values(), *trace.information.values()):
        counts += np.bincount(grid.notes[grid.notes > 0], minlength=len(counts))
    tally = {note: int(count) for note, count in zip(trace.notes, counts, strict=True) if count}
    for floor in trace.text_floors:
        if floor.note:
            tally[floor.note] = tally.get(floor.note, 0) + 1
    return tuple(sorted(tally.items(), key=lambda item: (-item[1], item[0])))


def unmeasured(trace: Trace, view: View, *, method: str) -> tuple[int, int]:
    """How many trained checkpoint x site places have no accuracy row, and how many there are."""
    grid = trace.grid(view, method, "accuracy")
    if grid is None:
        return (0, 0)
    places = grid.notes[: len(trace.series[view.model].checkpoints)]
    return int((places == UNMEASURED).sum()), int(places.size)


def _varying(trace: Trace) -> tuple[str, ...]:
    return tuple(part for part in _PARTS if len({getattr(view, part) for view in trace.views}) > 1)


def _constant(trace: Trace) -> str:
    """What holds for every row, as a sentence."""
    if not trace.views:
        return ""
    parts = [part for part in _PARTS if part not in _varying(trace)]
    said = ", ".join(f"{part} {getattr(trace.views[0], part)}" for part in parts)
    return (
        f"{said.capitalize()}."
        if said and not said.startswith("model")
        else f"Model{said.removeprefix('model')}."
        if said
        else ""
    )


def _methods(trace: Trace, view: View) -> list[str]:
    """The probes of `view`, the glossary's first."""
    present = {address.method for address in trace.grids if address.view == view}
    return [name for name in glossary.METHODS if name in present] + sorted(present - set(glossary.METHODS))


def _best_row(trace: Trace, found: Finding, parts: Sequence[str]) -> Row:
    first, final, highest = found.first, found.final, strongest(found.final_floors)
    cells = (
        *_naming(found, parts),
        Cell(label(first.checkpoint), first.site) if first else Cell(_no_onset(found)),
        _number(first),
        Cell(label(final.checkpoint), final.site) if final else Cell("no site chosen"),
        _number(final),
        _number(_auroc(trace, found)),
        Cell(number(highest.value, 3), glossary.floor(highest.name).title) if highest else Cell(ABSENT),
        _counted(final or (found.final_range[0] if found.final_range else None)),
    )
    return Row(view=found.view, method=found.method, cells=cells)


def _no_onset(found: Finding) -> str:
    """Never above the floors, or nothing that could be compared with them."""
    return "at no checkpoint" if found.final and math.isfinite(found.final.lower) and found.final_floors else ABSENT


def _number(at: Reading | Floor | None) -> Cell:
    if at is None:
        return Cell(ABSENT)
    text, _, interval = with_interval(at.value, at.lower, at.upper, 3).partition(" ")
    return Cell(text, interval)


def _auroc(trace: Trace, found: Finding) -> Reading | None:
    grid = trace.grid(found.view, found.method, "auroc")
    if grid is None or found.final is None:
        return None
    return reading_at(trace, grid, found.final.column, found.final.row)


def _counted(reading: Reading | None) -> Cell:
    return Cell(f"{reading.n:,}", f"{reading.n_groups:,} groups") if reading else Cell(ABSENT)


def _naming(found: Finding, parts: Sequence[str]) -> Iterator[Cell]:
    yield Cell(glossary.dataset_title(found.view.dataset))
    yield from (Cell(str(getattr(found.view, part))) for part in parts)
    yield Cell(glossary.method(found.method).title)


def _floor_names(trace: Trace) -> list[str]:
    """The floors of the glossary, measured or not: one that is missing must be seen to be missing."""
    return [*glossary.FLOORS, *sorted({row.method for row in trace.text_floors} - set(glossary.FLOORS))]


def _floor_row(found: Finding, parts: Sequence[str], names: Sequence[str], trace: Trace) -> Row:
    text = [
        Floor(name=row.method, value=row.value, lower=row.lower, upper=row.upper, n=row.n)
        for row in trace.floors_of(found.view, "accuracy")
    ]
    present = {floor.name: floor for floor in (*text, *found.final_floors)}
    absent = dict.fromkeys(_SITE_FLOORS, "no site chosen") if found.final is None else {}
    cells = (_number(present[name]) if name in present else Cell(absent.get(name, "not measured")) for name in names)
    return Row(view=found.view, method=found.method, cells=(*_naming(found, parts), *cells))
