"""What a trace will cost, from its plan and a short calibration on the same architecture with fresh weights: nothing is downloaded."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from trustrace.activations.capture import capture
from trustrace.activations.store import Activations
from trustrace.core.sites import select_sites
from trustrace.core.statements import Statements
from trustrace.measures.floors import text_floors
from trustrace.measures.information.course import bytes_needed
from trustrace.measures.measure import measure
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import random_init
from trustrace.runs.ledger import Ledger
from trustrace.studies.config import TraceConfig
from trustrace.studies.planning import Plan, Subject, plan_trace
from trustrace.studies.settings import Settings

SAMPLE = 400
"""Statements of each dataset that the calibration captures and measures."""

BYTES_PER_VALUE = 4

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a trace will cost.

    Attributes:
        units: Units in all.
        open_units: Units that are not finished yet.
        models: Models that must still be loaded.
        download_bytes: What must be fetched for them and is not on this machine yet.
        disk_bytes: The largest unit's activations, which are kept while it is measured.
        memory_bytes: The model's weights, and what probing and information hold of one site in float64.
        seconds: Estimated time of the open units on this machine, downloads left out.
    """

    units: int
    open_units: int
    models: int
    download_bytes: int
    disk_bytes: int
    memory_bytes: int
    seconds: float

    def as_rows(self) -> list[dict[str, Any]]:
        """A row for each figure, with its unit in words."""
        figures = {
            "units": f"{self.units}, of which {self.open_units} are open",
            "models to load": str(self.models),
            "download": _size(self.download_bytes),
            "scratch disk": _size(self.disk_bytes),
            "memory": _size(self.memory_bytes),
            "estimated time": f"{self.seconds / 60:.1f} minutes on this machine, downloads not counted",
        }
        return [{"what": what, "value": value} for what, value in figures.items()]


def forecast(study: TraceConfig, *, run: Path | None, settings: Settings) -> Forecast:
    """What `study` will cost; `run` is a run folder that may hold some of it.

    Raises:
        TrustraceError: whatever would stop the trace at its start stops its forecast.
    """
    settings.require_device()
    plan = plan_trace(study, settings=settings)
    finished = {unit.identity for unit in plan.units if run is not None and Ledger(run).is_finished(unit)}
    waiting = {
        subject.checkpoint.key: [one for one in plan.datasets if plan.trace_unit(subject, one).identity not in finished]
        for subject in plan.subjects
    }
    models = [subject for subject in plan.subjects if waiting[subject.checkpoint.key]]
    model, load_seconds = _timed(lambda: _calibration_model(plan, settings))
    n_sites = len(select_sites(study.sites, n_blocks=model.n_blocks))
    costs = {
        one.name: _unit_seconds(model, one, study=study, settings=settings, n_sites=n_sites) for one in plan.datasets
    }
    floors = [one for one in plan.datasets if plan.floors_unit(one).identity not in finished]
    rows = max(len(statements) for statements in plan.datasets)
    return Forecast(
        units=len(plan.units),
        open_units=len(plan.units) - len(finished),
        models=len(models),
        download_bytes=sum(plan.source.download_bytes(subject.checkpoint) for subject in _trained(models)),
        disk_bytes=rows * n_sites * model.d_model * BYTES_PER_VALUE,
        memory_bytes=_weight_bytes(model) + _site_bytes(rows, model.d_model, study=study),
        seconds=sum(costs[one.name] for subject in models for one in waiting[subject.checkpoint.key])
        + load_seconds * len(models)
        + sum(_floor_seconds(one, study=study) for one in floors),
    )


def _trained(subjects: Sequence[Subject]) -> list[Subject]:
    return [subject for subject in subjects if subject.role == "measured"]


def _calibration_model(plan: Plan, settings: Settings) -> LanguageModel:
    like = _trained(plan.subjects)[0].checkpoint
    return random_init(
        plan.source,
        like,
        seed=0,
        device=settings.torch_device(),
        dtype=plan.study.dtype,
        trust_remote_code=plan.study.trust_remote_code,
    )


def _unit_seconds(
    model: LanguageModel, statements: Statements, *, study: TraceConfig, settings: Settings, n_sites: int
) -> float:
    """The cost of one unit, extrapolated from a sample of its rows at one site."""
    sample = _sample(statements)
    with TemporaryDirectory() as folder:
        activations, captured = _timed(
            lambda: capture(
                model,
                sample.texts,
                sites="all",
                position=study.position,
                batch_tokens=settings.batch_tokens,
                truncation=study.truncation,
                out=Path(folder) / "sample.safetensors",
            )
        )
        probed = _measuring_seconds(activations, sample, study=study, informed=False)
        informed = (
            _measuring_seconds(activations, sample, study=study, informed=True) - probed if study.information else 0.0
        )
    share = len(statements) / len(sample)
    # A wide space iterates on a Gram matrix, a tall one on its coordinates; smoothers take the cube of their statements.
    probed *= share ** (2 if len(statements) <= 2 * model.d_model else 1)
    informed *= (_informed_rows(len(statements), study=study) / len(sample)) ** 3
    return captured * share + (probed + max(0.0, informed)) * n_sites


def _measuring_seconds(activations: Activations, sample: Statements, *, study: TraceConfig, informed: bool) -> float:
    """The time of one site under every protocol."""
    _, seconds = _timed(
        lambda: [
            measure(
                activations,
                sample,
                config=study.probing,
                protocol=protocol,
                seed=study.seed,
                information=study.information if informed else None,
                sites=activations.sites[-1:],
            )
            for protocol in study.protocols
        ]
    )
    return seconds


def _site_bytes(rows: int, d_model: int, *, study: TraceConfig) -> int:
    """Activations, a Gram matrix with its copies in both precisions where rows are few, and what information holds."""
    values = 2 * BYTES_PER_VALUE
    gram = int(2.5 * rows**2) * values if rows <= 2 * d_model else rows * d_model * values
    informed = bytes_needed(_informed_rows(rows, study=study), config=study.information) if study.information else 0
    return rows * d_model * values + gram + informed


def _informed_rows(rows: int, *, study: TraceConfig) -> int:
    most = study.information.max_statements if study.information else None
    # The published protocol takes all of its rows, whatever the study says of the rigorous one.
    return rows if most is None or "published" in study.protocols else min(rows, most)


def _floor_seconds(statements: Statements, *, study: TraceConfig) -> float:
    sample = _sample(statements)
    _, seconds = _timed(lambda: text_floors(sample, config=study.probing, protocol="rigorous", seed=study.seed))
    return seconds * len(statements) / len(sample) * len(study.protocols)


def _sample(statements: Statements) -> Statements:
    """Evenly spaced groups, whole, until there are enough rows."""
    names = list(dict.fromkeys(statements.groups))
    stride = max(1, len(statements) // SAMPLE)
    kept = set(names[::stride])
    return statements.take([row for row, group in enumerate(statements.groups) if group in kept])


def _weight_bytes(model: LanguageModel) -> int:
    return sum(weight.numel() * weight.element_size() for weight in model.module.parameters())


def _timed(work: Callable[[], Value]) -> tuple[Value, float]:
    started = time.perf_counter()
    value = work()
    return value, time.perf_counter() - started


def _size(count: int) -> str:
    units = ["B", "kB", "MB", "GB", "TB"]
    power = min(len(units) - 1, max(0, (len(str(count)) - 1) // 3))
    return f"{count / 1000**power:.3g} {units[power]}"
