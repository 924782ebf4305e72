"""The visits of a trace: each model comes into memory once, and everything that is open in it is measured then."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

from trustrace.core.measurements import Measurement
from trustrace.core.progress import count_unit, enter
from trustrace.core.statements import Statements
from trustrace.models.language_model import LanguageModel
from trustrace.models.sources import CheckpointSource
from trustrace.runs.identity import Unit
from trustrace.studies.planning import Plan, Subject
from trustrace.studies.screening import note_weights
from trustrace.studies.streaming import Visit, in_turn, ordered
from trustrace.studies.tracing import UNIT_ERRORS, Tracing, measure_statements


@runtime_checkable
class Itinerary(Protocol):
    """Which visits are made here, one after the other; whoever hands them out is told how each of them goes."""

    def __iter__(self) -> Iterator[Visit]:
        """The visits; the next one is asked for when its files may be fetched."""

    def begin(self, visit: Visit) -> None:
        """The visit's models are loaded from now on."""

    def inputs_noted(self) -> None:
        """What all others are compared with has been recorded."""

    def end(self, visit: Visit) -> None:
        """The visit's units are finished, or have failed."""

    def stop(self) -> None:
        """No visit can be made."""

    def close(self) -> None:
        """No more visits are made here."""


@dataclass(frozen=True)
class Listed:
    """Visits that nobody else makes."""

    visits: Iterable[Visit]

    def __iter__(self) -> Iterator[Visit]:
        return iter(self.visits)

    def begin(self, visit: Visit) -> None:
        """Nobody waits to hear of it; nor of the rest."""

    def inputs_noted(self) -> None:
        """Nobody waits for them."""

    def end(self, visit: Visit) -> None:
        """Nobody waits for it."""

    def stop(self) -> None:
        """Nobody waits."""

    def close(self) -> None:
        """Nothing is given back."""


def open_visits(trace: Tracing, plan: Plan) -> tuple[Visit, ...]:
    """What is to be visited here; the last checkpoint comes first where the inputs have to be read in it."""
    waiting = {subject.checkpoint.key for subject in plan.subjects if trace.open_units(subject)}
    last = plan.last if waiting and lacks_inputs(trace, plan) else None
    return ordered(plan.subjects, waiting=waiting, last=last, order=trace.settings.order)


def lacks_inputs(trace: Tracing, plan: Plan) -> bool:
    """Whether the last checkpoint has to be read before any other can be measured."""
    return bool(trace.inputs.missing(_wanted(trace, plan)))


def make_visits(trace: Tracing, plan: Plan, itinerary: Itinerary) -> None:
    """Measure what is open in the models of the `itinerary`."""
    enter(trace.progress, "waiting", checkpoint="")
    with in_turn(plan, itinerary, settings=trace.settings, progress=trace.progress) as turns, closing(itinerary):
        for visit, place in turns:
            itinerary.begin(visit)
            if not all(_can_go_on(trace, plan, subject, place, itinerary) for subject in visit.subjects):
                itinerary.stop()
                return
            itinerary.end(visit)
            enter(trace.progress, "waiting", checkpoint="")


def _can_go_on(trace: Tracing, plan: Plan, subject: Subject, place: CheckpointSource, itinerary: Itinerary) -> bool:
    """Measure one model, and whether the others can be: not without the inputs, which are read in the last one."""
    units = trace.open_units(subject)
    lacking = trace.inputs.missing(_wanted(trace, plan)) if subject is plan.last else []
    if not units and not lacking:
        return True
    try:
        enter(trace.progress, "loading", checkpoint=subject.checkpoint.key)
        model = subject.load(place)
        note_weights(trace.ledger, subject, model)
        if lacking:
            enter(trace.progress, "reading inputs")
        trace.inputs.note(model, lacking)
    except UNIT_ERRORS as error:
        if lacking:
            _fail(trace, [one for each in plan.subjects for one in trace.open_units(each)], _explained(subject, error))
            return False
        _fail(trace, units, error)
        return True
    if lacking:
        itinerary.inputs_noted()
    for unit, statements in units:
        trace.attempt(unit, partial(_measured, trace, subject, model, statements))
    return True


def _wanted(trace: Tracing, plan: Plan) -> list[Statements]:
    """The datasets that are still to be measured in some model."""
    open_ = [one for subject in plan.subjects for _, one in trace.open_units(subject)]
    return [one for one in plan.datasets if any(one is other for other in open_)]


def _fail(trace: Tracing, units: Sequence[tuple[Unit, Statements]], error: Exception) -> None:
    for unit, _ in units:
        trace.ledger.fail(unit, error)
        count_unit(trace.progress, is_finished=False)


def _explained(last: Subject, error: Exception) -> Exception:
    return type(error)(
        f"the inputs of every unit are read in the last checkpoint, {last.checkpoint.key}, which cannot be used: {error}; "
        "mend it, leave it out of `select`, or set `information: null`"
    )


def _measured(trace: Tracing, subject: Subject, model: LanguageModel, statements: Statements) -> list[Measurement]:
    rows = measure_statements(model, statements, trace=trace, inputs=trace.inputs.of(statements))
    return [replace(row, role="floor") if subject.role == "floor" and row.role == "measured" else row for row in rows]
