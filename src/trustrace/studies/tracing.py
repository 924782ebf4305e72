"""A trace at work: what to do, what of it is open, and how one unit of it is measured and recorded."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from trustrace.activations.capture import capture
from trustrace.core.errors import DataError, MeasurementError, ModelError
from trustrace.core.measurements import Measurement
from trustrace.core.progress import Progress, count_unit, enter
from trustrace.core.statements import Statements
from trustrace.measures.information.inputs import FixedInputs
from trustrace.measures.measure import measure
from trustrace.models.language_model import LanguageModel
from trustrace.runs.identity import Unit
from trustrace.runs.ledger import Ledger
from trustrace.studies.inputs import StandingInputs
from trustrace.studies.planning import Subject, Units
from trustrace.studies.settings import Settings
from trustrace.studies.sharding import WHOLE, Shard, units_of

UNIT_ERRORS = (DataError, MeasurementError, ModelError)
"""What may go wrong in one unit while the others go on."""


@dataclass(frozen=True, kw_only=True)
class Tracing:
    """A trace at work: what to do, where the results go, who is told, and which part of it is done here.

    Attributes:
        plan: What is measured.
        ledger: Where the results go.
        settings: Where work is done.
        progress: Told of the units that are done here.
        shard: Which part is done here, where that is settled beforehand.
        only_failed: Leave what was not begun.
        is_divided: Others do units of it as well.
        workers: What is known of the machines that did, for the manifest.
    """

    plan: Units
    ledger: Ledger
    settings: Settings
    progress: Progress
    shard: Shard = WHOLE
    only_failed: bool = False
    is_divided: bool = False
    workers: list[Mapping[str, Any]] = field(default_factory=list)

    @cached_property
    def own(self) -> Mapping[str, Unit]:
        """The units that are done here, by their folders."""
        units = units_of(self.plan, self.shard)
        return {unit.folder: unit for unit in (self.ledger.failed(units) if self.only_failed else units)}

    @cached_property
    def inputs(self) -> StandingInputs:
        """What the representations are compared with."""
        patience = (1.0, 4.0, 15.0) if self.is_divided else ()
        return StandingInputs(plan=self.plan, ledger=self.ledger, settings=self.settings, patience=patience)

    @property
    def does_all(self) -> bool:
        """Whether nobody else does any unit of it, now or later."""
        return self.shard == WHOLE and not self.only_failed and not self.is_divided

    def open_units(self, subject: Subject) -> list[tuple[Unit, Statements]]:
        """What is still to be measured here in one model."""
        units = [(self.plan.trace_unit(subject, statements), statements) for statements in self.plan.datasets]
        return [
            (unit, statements)
            for unit, statements in units
            if unit.folder in self.own and not self.ledger.is_finished(unit)
        ]

    def attempt(self, unit: Unit, work: Callable[[], list[Measurement]]) -> None:
        """Record what `work` measures as the answer of `unit`, or why it failed."""
        started = time.perf_counter()
        try:
            rows = work()
        except UNIT_ERRORS as error:
            self.ledger.fail(unit, error)
            count_unit(self.progress, is_finished=False)
        else:
            self.ledger.finish(unit, rows, seconds=time.perf_counter() - started)
            count_unit(self.progress, is_finished=True)
        self.tell()

    def tell(self) -> None:
        """Tell how many units are finished of those that are done here."""
        units = self.own.values()
        done = self.ledger.count_finished(units)
        self.progress(done, len(units), "units" if done < len(units) else "units: nothing left to do")


def measure_statements(
    model: LanguageModel, statements: Statements, *, trace: Tracing, inputs: FixedInputs | None
) -> list[Measurement]:
    """Capture `statements` in `model` and measure them under every protocol; the activations are gone afterwards."""
    study = trace.plan.study
    with trace.ledger.scratch() as folder:
        enter(trace.progress, "capturing", dataset=statements.name)
        activations = capture(
            model,
            statements.texts,
            sites=study.sites,
            position=study.position,
            batch_tokens=trace.settings.batch_tokens,
            out=folder / "activations.safetensors",
            fingerprint=statements.texts_fingerprint,
            truncation=study.truncation,
            progress=trace.progress,
        )
        enter(trace.progress, "measuring", dataset=statements.name)
        device = trace.settings.torch_device()
        measured = [
            measure(
                activations,
                statements,
                config=study.probing,
                protocol=protocol,
                seed=study.seed,
                information=study.information,
                inputs=inputs,
                device=device,
            )
            for protocol in study.protocols
        ]
    return [row for rows in measured for row in rows]
