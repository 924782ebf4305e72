"""What the page carries of the information plane: the main estimator and the geometry whole, other estimators as values where they fit.

A plane that holds one number everywhere travels as that number. Planes that differ stand one after the other as in the block of the probes'
numbers, in a block of their own that is unpacked when the section comes into sight.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trustrace.report import information_glossary as terms
from trustrace.report.axis import checkpoint_axis
from trustrace.report.grids import Grid, Phase, Series, Trace, View
from trustrace.report.information import (
    CALIBRATED,
    DEPENDENCES,
    GEOMETRY,
    P_VALUE,
    Y_QUANTITY,
    in_order,
    main_method,
    methods_of,
    x_quantities,
)
from trustrace.report.packing import packed, plane
from trustrace.report.phase_sentences import moment_text
from trustrace.report.phases import peak_place

MOST_CELLS = 2_000_000
"""How many numbers the information plane may hold before estimators beside the main one are left out."""

_WHOLE = ("value", "lower", "upper", "n", "notes")
_BAND = ("value", "lower", "upper")
_VALUE = ("value",)


@dataclass(frozen=True, kw_only=True)
class _Carried:
    """A grid, its planes that differ from cell to cell, and the number of each plane that does not."""

    grid: Grid
    planes: tuple[str, ...]
    constants: dict[str, float | None]

    @property
    def cells(self) -> int:
        return len(self.planes) * self.grid.value.size


def information_payload(trace: Trace) -> dict[str, Any] | None:
    """Everything that the section on the information plane draws from, as plain values; None where nothing of it was measured."""
    if not trace.information_views:
        return None
    carried, left_out = _chosen(trace)
    return {
        "views": [_view(trace, view) for view in trace.information_views],
        "grids": [_grid(trace, one) for one in carried],
        "left_out": left_out,
        "terms": _terms(trace),
        "numbers": packed([plane(one.grid, name) for one in carried for name in one.planes]),
    }


def left_out(trace: Trace) -> list[str]:
    """The estimators that were measured and that the page has no room for."""
    return _chosen(trace)[1]


def _chosen(trace: Trace) -> tuple[list[_Carried], list[str]]:
    """The main estimators and the geometry; then, while there is room, the calibrated values of others, and all their values."""
    main = {view: main_method(trace, view) for view in trace.information_views}
    groups: dict[int, list[_Carried]] = {0: [], 1: [], 2: []}
    for grid in sorted(trace.information.values(), key=lambda grid: grid.address.view.preference):
        rank, planes = _rank(grid, main[grid.address.view])
        if planes:
            groups[rank].append(_carried(grid, planes))
    chosen, room = list(groups[0]), MOST_CELLS - sum(one.cells for one in groups[0])
    absent: dict[str, None] = {}
    for rank in (1, 2):
        room -= sum(one.cells for one in groups[rank])
        if room >= 0:
            chosen += groups[rank]
        else:
            absent |= {one.grid.address.method: None for one in groups[rank]}
    return chosen, list(absent)


def _rank(grid: Grid, main: str) -> tuple[int, tuple[str, ...]]:
    """When a grid is dropped (0: never), and which of its planes are carried at all."""
    address = grid.address
    if address.quantity in GEOMETRY:
        return 0, _WHOLE if address.role == "measured" else ()
    if address.method == main:
        planes = {"measured": _WHOLE, "null": _BAND, "ceiling": _VALUE, "control": _VALUE}.get(address.role, ())
        return 0, _VALUE if address.quantity.endswith(P_VALUE) and planes else planes
    if address.role != "measured" or address.quantity.endswith(P_VALUE):
        return 2, ()
    return (1 if address.quantity.endswith(CALIBRATED) else 2), _VALUE


def _carried(grid: Grid, names: Iterable[str]) -> _Carried:
    constants: dict[str, float | None] = {}
    planes = []
    for name in names:
        numbers = getattr(grid, name)
        first = numbers.flat[0] if numbers.size else np.nan
        if np.all((numbers == first) | (np.isnan(numbers) & np.isnan(first))):
            constants[name] = float(first) if math.isfinite(first) else None
        else:
            planes.append(name)
    return _Carried(grid=grid, planes=tuple(planes), constants=constants)


def _grid(trace: Trace, one: _Carried) -> dict[str, Any]:
    address = one.grid.address
    return {
        "view": trace.information_views.index(address.view),
        "quantity": address.quantity,
        "method": address.method,
        "role": address.role,
        "planes": one.planes,
        "constants": one.constants,
    }


def _view(trace: Trace, view: View) -> dict[str, Any]:
    series = trace.series.get(view.model)
    judged = [phase for phase in trace.phases if phase.view == view]
    return {
        **asdict(view),
        "main": main_method(trace, view),
        "methods": list(methods_of(trace, view)),
        "x": x_quantities(trace, view),
        "phases": [_phase(phase, series) for phase in judged if series and phase.site in series.sites],
    }


def _phase(phase: Phase, series: Series) -> dict[str, Any]:
    axis = checkpoint_axis(series.checkpoints)
    return {
        "site": series.sites.index(phase.site),
        "quantity": phase.quantity + (CALIBRATED if phase.is_calibrated else ""),
        "method": phase.method,
        "shape": phase.shape,
        "q": phase.q if math.isfinite(phase.q) else None,
        "peak": [place if math.isfinite(place) else None for place in peak_place(phase, axis) or ()],
        "text": moment_text(phase.peak, phase.unit) if phase.peak else "",
    }


def _terms(trace: Trace) -> dict[str, Any]:
    quantities = {address.quantity.removesuffix(P_VALUE).removesuffix(CALIBRATED) for address in trace.information}
    methods = dict.fromkeys(method for view in trace.information_views for method in methods_of(trace, view))
    return {
        "quantities": dict(_described(in_order(sorted(quantities), (*DEPENDENCES, *GEOMETRY)), terms.dependence)),
        "methods": dict(_described(methods, terms.estimator)),
        "y": Y_QUANTITY,
        "geometry": [name for name in GEOMETRY if name in quantities],
    }


def _described(names: Iterable[str], describe: Any) -> Iterator[tuple[str, dict[str, str]]]:
    for name in names:
        term = describe(name)
        yield name, {"title": term.title, "axis": term.axis_title, "sentence": term.sentence}
