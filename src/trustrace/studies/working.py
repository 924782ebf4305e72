"""A study at work on models: units that are tried one by one, and what they give, or why they failed, is kept."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from trustrace.core.errors import EndpointDownError
from trustrace.core.measurements import Measurement
from trustrace.core.measurements import Protocol as Conventional
from trustrace.core.progress import Progress
from trustrace.evaluation.outcomes import Outcome, Task
from trustrace.models.fingerprints import weights_fingerprint
from trustrace.models.language_model import LanguageModel
from trustrace.runs.identity import Unit
from trustrace.runs.ledger import Ledger
from trustrace.runs.manifest import environment
from trustrace.studies.abilities import Half, TaskConfig, open_task
from trustrace.studies.evaluating import FAILURES
from trustrace.studies.judging import EndpointOptions
from trustrace.studies.settings import Settings

Answer = tuple[list[Measurement], Mapping[str, bytes]]
"""What a unit gives: rows, and files that are kept beside them."""


WEIGHTS = "weights.json"
"""Beside a unit: the fingerprint of the weights that it was done with."""


@runtime_checkable
class Study(Protocol):
    """What every study says of itself."""

    @property
    def name(self) -> str:
        """What its report is titled."""

    @property
    def seed(self) -> int:
        """The seed of every draw."""

    @property
    def protocol(self) -> Conventional:
        """Conventions of tasks."""


@runtime_checkable
class Plan(Protocol):
    """What a study will do."""

    @property
    def study(self) -> Study:
        """What is asked for."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """All units, in the order of the table."""


@dataclass(kw_only=True)
class Work:
    """A study at work: where the results go, who is told, how endpoints are asked, and which of them are asked no more.

    Attributes:
        plan: What is to be done.
        ledger: What is finished.
        settings: Where it is done.
        judging: How endpoint judges are asked, and what they may cost.
        progress: Told of finished units.
        forgiven: Errors that end a unit, and not the study.
        fatal: Those among them that end the study all the same.
        down: Endpoints that are asked no more, and what their last answer was.
        finished: How many units are.
    """

    plan: Plan
    ledger: Ledger
    settings: Settings
    judging: EndpointOptions | None
    progress: Progress
    forgiven: tuple[type[Exception], ...] = FAILURES
    fatal: tuple[type[Exception], ...] = ()
    down: dict[str, str] = field(default_factory=dict)
    finished: int = field(init=False)
    _fingerprints: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.finished = sum(map(self.ledger.is_finished, self.plan.units))

    def is_open(self, unit: Unit) -> bool:
        """Whether `unit` is still to be done."""
        return not self.ledger.is_finished(unit)

    def attempt(self, unit: Unit, work: Callable[[], Answer]) -> None:
        """Record what `work` gives as the answer of `unit`, or why it failed."""
        started = time.perf_counter()
        try:
            rows, beside = work()
        except self.fatal:
            raise
        except self.forgiven as error:
            self.ledger.fail(unit, error)
            if isinstance(error, EndpointDownError):
                self.down[error.endpoint] = str(error)
        else:
            self.ledger.finish(unit, rows, seconds=time.perf_counter() - started, files=beside)
            self.finished += 1
        self.progress(self.finished, len(self.plan.units), "units")

    def loaded(self, load: Callable[[], LanguageModel], pending: Sequence[Unit]) -> LanguageModel | None:
        """The model that the units `pending` wait for; None where there are none, or it cannot be loaded, which they then say."""
        if not pending:
            return None
        try:
            return load()
        except FAILURES as error:
            for unit in pending:
                self.ledger.fail(unit, error)
            return None

    def opened(self, task: TaskConfig, *, half: Half = "test") -> Task:
        """A task of the study, by its conventions."""
        study = self.plan.study
        return open_task(
            task,
            half=half,
            settings=self.settings,
            seed=study.seed,
            protocol=study.protocol,
            options=replace(self.judging or EndpointOptions(), down=self.down),
        )

    def ask(self, model: LanguageModel, task: TaskConfig, *, half: Half = "test") -> tuple[Outcome, ...]:
        """What each version of `model` does on one half of `task`."""
        opened = self.opened(task, half=half)
        return tuple(opened.run(model, batch_tokens=self.settings.batch_tokens, progress=self.progress))

    def weights_of(self, model: LanguageModel) -> dict[str, bytes]:
        """The file that says which weights a unit was done with; they are read once for each checkpoint."""
        key = model.checkpoint.key
        if key not in self._fingerprints:
            self._fingerprints[key] = weights_fingerprint(model.module)
        return {WEIGHTS: json.dumps({"weights": self._fingerprints[key]}).encode()}

    def equal_weights(self, units: Mapping[str, Sequence[Unit]]) -> list[list[str]]:
        """Checkpoints that are one model under several names: a series that skips a step, or was published wrongly.

        Args:
            units: Of each checkpoint by its key, those that say which weights they were done with.
        """
        named: dict[str, list[str]] = {}
        for key, own in units.items():
            files = (self.ledger.file_of(unit, WEIGHTS) for unit in own if not self.is_open(unit))
            said = next((file for file in files if file.is_file()), None)
            if said:
                named.setdefault(json.loads(said.read_text("utf-8"))["weights"], []).append(key)
        return [keys for keys in named.values() if len(keys) > 1]

    def conclude(self, units: Sequence[Unit], facts: Mapping[str, Any]) -> None:
        """Write what can be said of the study as it stands, finished or not: the rows of `units`, and the manifest."""
        study, rows = self.plan.study, self.ledger.collect(units)
        common = {
            "study": study.name,
            "environment": environment() | {"device": self.settings.torch_device()},
            "seed": study.seed,
            "rows": rows,
            "units": {unit.folder: self.ledger.is_finished(unit) for unit in self.plan.units},
            "failures": self.ledger.failures(self.plan.units),
        }
        self.ledger.write("manifest.json", {**common, **facts})


@contextmanager
def claimed(out: Path, plan: Plan, *, study: Mapping[str, Any]) -> Iterator[Ledger]:
    """The run folder `out`, claimed for `study`, with the plan written into it; failures of units that are asked for no more are gone.

    Raises:
        RunError: `out` belongs to another study, or is no place for a run.
    """
    with Ledger.open(out, study=study) as ledger:
        ledger.forget_failures(plan.units)
        ledger.write("plan.json", [{"unit": unit.folder, "name": unit.name} for unit in plan.units])
        yield ledger
