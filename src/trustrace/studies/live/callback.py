"""Tracing while training: the numbers that ``trustrace trace`` would give, of a model whose checkpoints need never be written.

>>> trace = TraceCallback({"datasets": ["reliability/published"]}, out=Path("runs/live"))
>>> trace.attach(trainer)
>>> trainer.train()

The folder is that of a trace, and ``trustrace status`` and ``trustrace report`` read it. What is measured at a step is known by the weights
in memory: a training that goes on from step k finds what it measured until there, and measures what comes after anew unless it meets the
very same weights again.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch

from trustrace.activations.encoding import encode
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MeasurementError,
    ModelError,
    RunError,
    TrustraceError,
)
from trustrace.core.measurements import Measurement
from trustrace.core.sites import select_sites
from trustrace.core.statements import Statements
from trustrace.models import selfcheck
from trustrace.models.fingerprints import weights_fingerprint
from trustrace.models.language_model import LanguageModel
from trustrace.models.undisturbed import undisturbed
from trustrace.runs.ledger import Ledger
from trustrace.studies.config import TraceConfig
from trustrace.studies.live.config import LiveConfig, read_live, steps_of
from trustrace.studies.live.history import HISTORY, History
from trustrace.studies.live.scalars import scalars_of
from trustrace.studies.planning import Subject, Units
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_all
from trustrace.studies.trace import conclude, record_floors, record_phases
from trustrace.studies.tracing import Tracing, measure_statements
from trustrace.training.trainer import WatchingCallback
from trustrace.training.watching import Moment


class LiveTraceWarning(UserWarning):
    """Something was not measured, and training went on."""


class TraceCallback(WatchingCallback):
    """Traces a model while transformers' Trainer trains it."""

    def __init__(
        self,
        trace: LiveConfig | TraceConfig | Mapping[str, Any] | str | Path,
        *,
        out: str | Path,
        settings: Settings | None = None,
        tokenizer: Any = None,
    ) -> None:
        """Read the datasets.

        Args:
            trace: What is measured and when; see :func:`trustrace.studies.live.config.read_live`.
            out: The run's folder.
            settings: Where data lies and how many tokens go through the model at once; the device is the model's.
            tokenizer: The model's tokenizer; the Trainer's ``processing_class`` where unset.

        Raises:
            ConfigError: `trace` says something that is unknown or wrong.
            DataError: a dataset cannot be used.
        """
        super().__init__(
            LiveTrace(read_live(trace, where="TraceCallback"), out=Path(out), settings=settings or Settings()),
            tokenizer=tokenizer,
        )


class LiveTrace:
    """Measures a model in training, as a :class:`trustrace.training.watching.Watcher`."""

    def __init__(self, config: LiveConfig, *, out: Path, settings: Settings) -> None:
        self.config = config
        self.out = out
        self._settings = settings
        self._datasets = load_all(config.datasets, settings=settings, seed=config.seed)
        self._history = History.read(out, share=config.budget)
        self._formerly: Mapping[int, Checkpoint] = {}
        self._since = (0.0, 0)

    def steps(self, total: int) -> frozenset[int]:
        """The scheduled steps of a training of `total` steps.

        Raises:
            ConfigError: none of them lies inside it.
        """
        return steps_of(self.config.schedule, total=total)

    def begin(self, moment: Moment) -> None:
        """Try whether everything can be measured, claim the folder, and measure what needs no model.

        Raises:
            ConfigError: the model has no such site, or is of another dtype than is asked for.
            DataError: a dataset does not fit the model's context.
            ModelError: the architecture cannot be read.
            MeasurementError: a dataset allows no probes.
            RunError: the folder belongs to another training or study, or holds something else.
        """
        started = time.perf_counter()
        with undisturbed(moment.module, device=moment.module.device):
            self._require_readable(moment)
            with self._opened(moment) as ledger:
                self._history = self._found(moment)
                tracing = self._tracing(ledger, moment)
                for statements in self._datasets:
                    record_floors(tracing, statements)
                _require_floors(tracing)
                conclude(tracing, started=time.monotonic())
                self._spend(started, is_preparation=True)
                self._write(ledger, moment)
        self._go_on(moment)

    def observe(self, moment: Moment) -> Mapping[str, float]:
        """Measure the model, unless the budget or an error forbids it; either is said, and training goes on.

        Returns:
            Numbers to be plotted over training: see :func:`trustrace.studies.live.scalars.scalars_of`.
        """
        self._pause(moment)
        started = time.perf_counter()
        try:
            with undisturbed(moment.module, device=moment.module.device), self._opened(moment) as ledger:
                return self._observed(ledger, moment, started)
        except Exception as error:  # noqa: BLE001 - days of training do not end because a number could not be had
            warnings.warn(f"step {moment.step} is not traced: {_told(error)}", LiveTraceWarning, stacklevel=2)
            return {}
        finally:
            self._go_on(moment)

    def end(self, moment: Moment) -> None:
        """Judge the courses over training, and write what can be said of the run."""
        try:
            with undisturbed(moment.module, device=moment.module.device), self._opened(moment) as ledger:
                tracing = self._tracing(ledger, moment)
                record_phases(tracing)
                conclude(tracing, started=time.monotonic())
        except Exception as error:  # noqa: BLE001 - as above
            warnings.warn(f"the trace was not concluded: {_told(error)}", LiveTraceWarning, stacklevel=2)

    def _observed(self, ledger: Ledger, moment: Moment, started: float) -> Mapping[str, float]:
        # What was measured before a crash costs nothing if the weights are the same, and only then is that worth finding out first.
        is_new = moment.step not in self._formerly
        if is_new and not self._allowed(ledger, moment):
            return {}
        checkpoint = replace(moment.checkpoint, commit=weights_fingerprint(moment.module))
        history = self._history.having_measured(moment.step, checkpoint)
        tracing = self._tracing(ledger, moment, history)
        pending = [
            one for one in self._datasets if not ledger.is_finished(tracing.plan.trace_unit(_subject(checkpoint), one))
        ]
        if pending and not is_new and not self._allowed(ledger, moment):
            return {}
        self._measure(tracing, moment, checkpoint, pending)
        self._history = history
        ledger.collect(tracing.plan.units)
        if pending:
            self._spend(started)
        self._write(ledger, moment)
        rows = _rows_of(tracing, checkpoint)
        return scalars_of(rows) | self._costs(moment) if rows else {}

    def _measure(self, tracing: Tracing, moment: Moment, checkpoint: Checkpoint, pending: Sequence[Statements]) -> None:
        model = self._model(moment, checkpoint)
        units = [tracing.plan.trace_unit(_subject(checkpoint), statements) for statements in pending]
        for unit, statements in zip(units, pending, strict=True):
            work = partial(measure_statements, model, statements, trace=tracing, inputs=None)
            tracing.attempt(unit, partial(_within_memory, work))
        for failure in tracing.ledger.failures(units):
            warnings.warn(f"{failure['unit']} is not traced: {failure['message']}", LiveTraceWarning, stacklevel=4)

    def _allowed(self, ledger: Ledger, moment: Moment) -> bool:
        """Whether there is time for one more measurement; if not, that is said and written down."""
        total = moment.total
        waiting = sum(step >= moment.step for step in self.steps(total))
        allowance, allowed = self._history.allowance.asked(total=total, waiting=waiting)
        self._history = replace(self._history, allowance=allowance)
        if not allowed:
            reason = (
                f"measuring took {allowance.measured:.1f} s so far and would take {allowance.cost or 0:.1f} s more, "
                f"with {waiting} scheduled steps to go and {allowance.share:.1%} of {allowance.whole(total):.0f} s to spend"
            )
            self._history = self._history.having_skipped(moment.step, reason)
            self._write(ledger, moment)
            warnings.warn(f"step {moment.step} is skipped: {reason}; see `budget`", LiveTraceWarning, stacklevel=4)
        return allowed

    def _require_readable(self, moment: Moment) -> None:
        """Refuse before training what could not be measured during it."""
        model = self._model(moment, moment.checkpoint)
        have, wanted = str(model.dtype).removeprefix("torch."), self.config.dtype
        if wanted not in ("auto", have):
            raise ConfigError(
                f"dtype: the model is trained in {have}, and read as it is; set dtype to auto, not to {wanted}"
            )
        select_sites(self.config.sites, n_blocks=model.n_blocks)
        for statements in self._datasets:
            try:
                encode(model, statements.texts, truncation=self.config.truncation)
            except DataError as error:
                raise type(error)(f"{statements.name}: {error}") from error
        selfcheck.prove(model)

    def _found(self, moment: Moment) -> History:
        """What the folder knows of this training until now.

        Raises:
            RunError: it was measured at this step with other weights.
        """
        history = History.read(self.out, share=self.config.budget)
        there = history.measured.get(moment.step)
        if there is not None and there.commit != weights_fingerprint(moment.module):
            raise RunError(
                f"{self.out} belongs to another training: its weights at step {moment.step} are not these; choose another folder"
            )
        self._formerly = history.measured
        return history.until(moment.step)

    def _opened(self, moment: Moment) -> Any:
        """The run's folder, claimed for as long as it is worked in: a training that dies holds nothing."""
        study = self._study(moment).model_dump(mode="json") | {"training": dict(moment.training)}
        return Ledger.open(self.out, study=study)

    def _study(self, moment: Moment) -> TraceConfig:
        return self.config.as_trace(source=moment.checkpoint.model)

    def _tracing(self, ledger: Ledger, moment: Moment, history: History | None = None) -> Tracing:
        """The units of what has been measured."""
        measured = (history or self._history).measured
        subjects = tuple(_subject(measured[step]) for step in sorted(measured))
        return Tracing(
            plan=Units(study=self._study(moment), datasets=self._datasets, subjects=subjects),
            ledger=ledger,
            settings=replace(self._settings, device=str(moment.module.device)),
            progress=_unheard,
        )

    def _model(self, moment: Moment, checkpoint: Checkpoint) -> LanguageModel:
        return LanguageModel.of(moment.module, moment.tokenizer, checkpoint=checkpoint)

    def _write(self, ledger: Ledger, moment: Moment) -> None:
        """What is done and what is to come, for whoever asks from another shell."""
        units = self._tracing(ledger, moment).plan.units
        done = self._history.measured.keys() | self._history.skipped.keys()
        coming = sorted(step for step in self.steps(moment.total) - done if step >= moment.step)
        names = [f"{moment.checkpoint.model}@step {step}/{one.name}" for step in coming for one in self._datasets]
        opened = [{"unit": f"to come, {name}", "name": name} for name in names]
        ledger.write("plan.json", [{"unit": unit.folder, "name": unit.name} for unit in units] + opened)
        ledger.write(HISTORY, self._history.as_json())

    def _costs(self, moment: Moment) -> dict[str, float]:
        allowance = self._history.allowance
        share = allowance.measured / allowance.whole(moment.total) if allowance.steps else None
        seconds = {} if allowance.cost is None else {"trustrace/seconds": allowance.cost}
        return seconds if share is None else seconds | {"trustrace/share_of_training": share}

    def _spend(self, started: float, *, is_preparation: bool = False) -> None:
        spent = time.perf_counter() - started
        allowance = self._history.allowance.having_measured(spent, is_preparation=is_preparation)
        self._history = replace(self._history, allowance=allowance)

    def _pause(self, moment: Moment) -> None:
        """Training has come to `moment`; what a GPU still does of it is training's."""
        if moment.module.device.type == "cuda":
            torch.cuda.synchronize(moment.module.device)
        since, step = self._since
        allowance = self._history.allowance.having_trained(
            seconds=time.perf_counter() - since, steps=moment.step - step
        )
        if moment.step > step:
            self._history = replace(self._history, allowance=allowance)

    def _go_on(self, moment: Moment) -> None:
        self._since = (time.perf_counter(), moment.step)


def _subject(checkpoint: Checkpoint) -> Subject:
    return Subject(checkpoint=checkpoint, role="measured", load=partial(_refuse_loading, checkpoint))


def _refuse_loading(checkpoint: Checkpoint) -> NoReturn:
    raise CheckpointError(
        f"{checkpoint.key} was measured while it was trained and never written; it cannot be loaded again"
    )


def _rows_of(tracing: Tracing, checkpoint: Checkpoint) -> list[Measurement]:
    units = [tracing.plan.trace_unit(_subject(checkpoint), statements) for statements in tracing.plan.datasets]
    return [row for unit in units if tracing.ledger.is_finished(unit) for row in tracing.ledger.measurements_of(unit)]


def _require_floors(tracing: Tracing) -> None:
    """Refuse a dataset on which not even the text can be probed: no model will help it."""
    failures = tracing.ledger.failures([tracing.plan.floors_unit(statements) for statements in tracing.plan.datasets])
    if failures:
        raise MeasurementError("; ".join(f"{failure['unit']}: {failure['message']}" for failure in failures))


def _within_memory(work: Callable[[], list[Measurement]]) -> list[Measurement]:
    """What `work` measures; training holds most of the memory, and goes on without the numbers where they do not fit."""
    try:
        return work()
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"measuring does not fit the memory that training leaves: {error}; lower batch_tokens"
        ) from error


def _told(error: Exception) -> str:
    """Our own errors say what and where; of others the type is said as well."""
    return str(error) if isinstance(error, TrustraceError) else f"{type(error).__name__}: {error}"


def _unheard(done: int, total: int, what: str) -> None:
    """Training tells of its own progress."""
