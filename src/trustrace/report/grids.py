"""What the pages and figures draw from: one grid of checkpoint x site for each thing that must not be mixed with another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Measurement
from trustrace.core.statements import DIMENSIONS

UNMEASURED = -1
"""The note code of a cell that has no row in the table."""

_PROTOCOLS = ("rigorous", "published")
_POSITIONS = ("last", "mean", "max", "first")


@dataclass(frozen=True, kw_only=True)
class View:
    """What a figure shows: numbers of two views never share a table or a line."""

    dataset: str
    model: str
    protocol: str
    position: str
    seed: int

    @property
    def preference(self) -> tuple[object, ...]:
        """Sorts views so that the first is the one to show unasked: rigorous, at the last token, of the first seed."""
        dimension = self.dataset.partition("/")[0]
        return (
            _place(dimension, DIMENSIONS),
            self.dataset,
            self.model,
            _place(self.protocol, _PROTOCOLS),
            _place(self.position, _POSITIONS),
            self.position,
            self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class Address:
    """The name of one grid."""

    view: View
    method: str
    role: str
    quantity: str


@dataclass(frozen=True, kw_only=True)
class Series:
    """One model's checkpoints in order, its untrained twins, and its sites from the input to the output."""

    model: str
    checkpoints: tuple[Checkpoint, ...]
    initialisations: tuple[Checkpoint, ...]
    sites: tuple[str, ...]

    @property
    def columns(self) -> tuple[Checkpoint, ...]:
        """The rows of this model's grids: trained checkpoints first, untrained twins after them."""
        return self.checkpoints + self.initialisations


@dataclass(frozen=True, kw_only=True)
class Grid:
    """One quantity over checkpoints and sites; NaN where undefined or not measured (`notes` tells which).

    Attributes:
        address: What the numbers are.
        value: The numbers.
        lower: Lower ends of their 95 % intervals.
        upper: Upper ends.
        n: Rows scored.
        n_groups: Groups among them.
        notes: Index into :attr:`Trace.notes`; 0 is no note, :data:`UNMEASURED` is no row at all.
    """

    address: Address
    value: Float[np.ndarray, "checkpoint site"]
    lower: Float[np.ndarray, "checkpoint site"]
    upper: Float[np.ndarray, "checkpoint site"]
    n: Int[np.ndarray, "checkpoint site"]
    n_groups: Int[np.ndarray, "checkpoint site"]
    notes: Int[np.ndarray, "checkpoint site"]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time in training, in tokens or steps, with its 95 % interval; NaN where there is none, and then `note` says why."""

    value: float
    lower: float
    upper: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """How one measure of dependence moves over the whole of training at one site.

    Attributes:
        view: Where it was looked.
        site: The site.
        quantity: The measure, without what is said of it (``I(T;X)``).
        is_calibrated: Whether it was judged between null and ceiling.
        method: The estimator.
        unit: What `peak` and `onset` count: ``tokens`` or ``steps``.
        shape: ``rises then falls``, ``rises``, ``falls``, ``falls then rises`` or ``flat``.
        q: The q-value that decides the shape.
        tests: ``rise p``, ``rise q``, ``fall p`` and ``fall q``, where they were measured.
        peak: Where it is highest.
        onset: Where the rise begins.
    """

    view: View
    site: str
    quantity: str
    is_calibrated: bool
    method: str
    unit: str
    shape: str
    q: float
    tests: Mapping[str, float]
    peak: Moment | None
    onset: Moment | None


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Everything the table holds, addressable.

    Attributes:
        series: One per model, by name.
        grids: The numbers of probes.
        text_floors: Rows that need no model.
        notes: Distinct notes; the first is empty.
        information: The numbers of the information plane and of the geometry beside it, in the order of the table's first mention.
        phases: What the table says of whole courses of training, in the information plane and beside it.
        courses: The same of probes.
    """

    series: Mapping[str, Series]
    grids: Mapping[Address, Grid]
    text_floors: tuple[Measurement, ...]
    notes: tuple[str, ...]
    information: Mapping[Address, Grid] = field(default_factory=dict)
    phases: tuple[Phase, ...] = ()
    courses: tuple[Phase, ...] = ()

    @cached_property
    def views(self) -> tuple[View, ...]:
        """All views, the one to show unasked first within its dataset."""
        return tuple(sorted({address.view for address in self.grids}, key=lambda view: view.preference))

    @cached_property
    def information_views(self) -> tuple[View, ...]:
        """The views of the information plane, the one to show unasked first within its dataset."""
        found = {address.view for address in self.information} | {phase.view for phase in self.phases}
        return tuple(sorted(found, key=lambda view: view.preference))

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """Measured datasets, in the order of the five dimensions; floors alone count too."""
        names = {view.dataset for view in (*self.views, *self.information_views)}
        names |= {floor.dataset for floor in self.text_floors}
        return tuple(sorted(names, key=lambda name: (_place(name.partition("/")[0], DIMENSIONS), name)))

    def grid(self, view: View, method: str, quantity: str, *, role: str = "measured") -> Grid | None:
        """The grid at an address; None where the table has none."""
        return self.grids.get(Address(view=view, method=method, role=role, quantity=quantity))

    def dependence(self, view: View, method: str, quantity: str, *, role: str = "measured") -> Grid | None:
        """The grid of the information plane at an address; None where the table has none."""
        return self.information.get(Address(view=view, method=method, role=role, quantity=quantity))

    def floors_of(self, view: View, quantity: str) -> tuple[Measurement, ...]:
        """The text floors that `view` is to be compared with."""
        return tuple(
            floor
            for floor in self.text_floors
            if (floor.dataset, floor.protocol, floor.seed, floor.quantity)
            == (view.dataset, view.protocol, view.seed, quantity)
        )


def _place(name: str, order: tuple[str, ...]) -> int:
    """Where `name` stands in `order`; after all of it when it is not there."""
    return order.index(name) if name in order else len(order)
