"""Everything a trace will do, known before any of it is done."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.core.measurements import Role
from trustrace.core.statements import Statements
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load, random_init
from trustrace.models.selection import select
from trustrace.models.sources import CheckpointSource, open_source
from trustrace.runs.identity import Unit, code_version
from trustrace.studies.config import TraceConfig
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_all

MEASURING = ("core", "datasets", "models", "activations", "measures")
"""Rooms whose code can change an answer: after a change in one of them, units are computed again."""


@runtime_checkable
class Loading(Protocol):
    """How a model comes into memory."""

    def __call__(self, source: CheckpointSource | None = None, /) -> LanguageModel:
        """The model; its files are taken from `source`, or from the series itself where none is given."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is measured: a checkpoint of the series, or its architecture with fresh weights, which is a floor."""

    checkpoint: Checkpoint
    role: Role
    load: Loading


@dataclass(frozen=True, kw_only=True)
class Units:
    """What is measured under one study: every dataset in every subject."""

    study: TraceConfig
    datasets: tuple[Statements, ...]
    subjects: tuple[Subject, ...]

    @property
    def last(self) -> Subject:
        """The last checkpoint of the series: where the inputs' embedding is taken from."""
        return self.subjects[-1]

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units, in the order of the table."""
        floors = [self.floors_unit(statements) for statements in self.datasets]
        traces = [self.trace_unit(subject, statements) for subject in self.subjects for statements in self.datasets]
        return (*floors, *traces)

    def floors_unit(self, statements: Statements) -> Unit:
        """What is reached on one dataset without a model."""
        return Unit(
            step="floors", name=statements.name, inputs=self._shared(statements) | {"code": code_version(*MEASURING)}
        )

    def trace_unit(self, subject: Subject, statements: Statements) -> Unit:
        """One dataset in one model, at every site."""
        asked = subject.checkpoint, statements.name
        if asked not in self._made:
            self._made[asked] = self._trace_unit(subject, statements)
        return self._made[asked]

    @cached_property
    def _made(self) -> dict[tuple[Checkpoint, str], Unit]:
        """Units that were asked for: each is described and hashed once, however many there are."""
        return {}

    def _trace_unit(self, subject: Subject, statements: Statements) -> Unit:
        checkpoint, study = subject.checkpoint, self.study
        inputs = self._shared(statements) | {
            "code": code_version(*MEASURING),
            "checkpoint": [checkpoint.key, checkpoint.commit, checkpoint.step, checkpoint.tokens_seen],
            "role": subject.role,
            "sites": study.sites,
            "position": study.position,
            "dtype": study.dtype,
            "truncation": study.truncation,
        }
        if study.information:
            last = self.last.checkpoint
            inputs["last"] = [last.key, last.commit]
        return Unit(step="trace", name=f"{checkpoint.key}/{statements.name}", inputs=inputs)

    def _shared(self, statements: Statements) -> dict[str, Any]:
        return {
            "dataset": [statements.name, statements.fingerprint],
            "protocols": self.study.protocols,
            "probing": self.study.probing.model_dump(mode="json"),
            "information": self.study.information and self.study.information.model_dump(mode="json"),
            "seed": self.study.seed,
        }


@dataclass(frozen=True, kw_only=True)
class Plan(Units):
    """The units of a trace of checkpoints that exist, and where these come from."""

    source: CheckpointSource


def plan_trace(study: TraceConfig, *, settings: Settings) -> Plan:
    """Read the datasets, list the checkpoints and pin them to their commits.

    Raises:
        DataError: a dataset cannot be used.
        ModelError: the source holds no such checkpoints.
    """
    datasets = load_all(study.datasets, settings=settings, seed=study.seed)
    source = open_source(study.checkpoints.source, keep_downloads=not settings.lets_go)
    chosen = [pinned(source, checkpoint) for checkpoint in select(source.checkpoints(), study.checkpoints.how())]
    fresh = [_fresh(source, chosen[0], study, settings, seed=seed) for seed in study.random_init_seeds]
    trained = [_trained(source, checkpoint, study, settings) for checkpoint in chosen]
    return Plan(study=study, source=source, datasets=datasets, subjects=(*fresh, *trained))


def pinned(source: CheckpointSource, checkpoint: Checkpoint) -> Checkpoint:
    """`checkpoint` with its commit; without one where its files do not allow it, which its own units will say when they load it."""
    try:
        return source.pin(checkpoint)
    except CheckpointError:
        return checkpoint


def _trained(source: CheckpointSource, checkpoint: Checkpoint, study: TraceConfig, settings: Settings) -> Subject:
    def bring(place: CheckpointSource | None = None) -> LanguageModel:
        return load(
            place or source,
            checkpoint,
            device=settings.model_device,
            dtype=study.dtype,
            trust_remote_code=study.trust_remote_code,
        )

    return Subject(checkpoint=checkpoint, role="measured", load=bring)


def _fresh(source: CheckpointSource, like: Checkpoint, study: TraceConfig, settings: Settings, *, seed: int) -> Subject:
    """The commit of the imitated checkpoint stays in, since it pins the architecture."""

    def bring(place: CheckpointSource | None = None) -> LanguageModel:
        return random_init(
            place or source,
            like,
            seed=seed,
            device=settings.model_device,
            dtype=study.dtype,
            trust_remote_code=study.trust_remote_code,
        )

    checkpoint = replace(like, revision=f"random_init_{seed}", step=0, tokens_seen=0)
    return Subject(checkpoint=checkpoint, role="floor", load=bring)
