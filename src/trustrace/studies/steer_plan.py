"""What a steering study will do, known before any of it is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.statements import Statements
from trustrace.datasets.alignment import read_pairs
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load
from trustrace.models.selection import select
from trustrace.models.sources import CheckpointSource, open_source
from trustrace.runs.identity import Unit, code_version
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.evaluating import ROOMS
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_all
from trustrace.studies.steer_config import ContrastConfig, SteerConfig, TargetConfig

RANDOM = "random"
"""Stands for the source of directions that come from no checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model that is steered, and where it is loaded from."""

    source: CheckpointSource
    checkpoint: Checkpoint


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A dimension with its statements."""

    config: ContrastConfig
    statements: Statements

    @property
    def name(self) -> str:
        """What its vectors are called."""
        return self.config.name


@dataclass(frozen=True, kw_only=True)
class SteerPlan:
    """The units of a steering study.

    Attributes:
        study: What is asked for.
        settings: Where it is done.
        series: Where vectors come from.
        sources: The checkpoints of it.
        targets: The models.
        contrasts: The dimensions.
    """

    study: SteerConfig
    settings: Settings = field(compare=False)
    series: CheckpointSource
    sources: tuple[Checkpoint, ...]
    targets: tuple[Target, ...]
    contrasts: tuple[Contrast, ...]

    @cached_property
    def origins(self) -> tuple[Checkpoint | None, ...]:
        """Where directions come from: each source, and nowhere for the random ones."""
        return (*self.sources, None) if self.study.random_controls else self.sources

    @cached_property
    def tested(self) -> tuple[TaskConfig, ...]:
        """What is asked of whatever was chosen: every dimension's task, each once, then perplexity and general abilities."""
        wanted = [*(one.config.task for one in self.contrasts), self.study.perplexity.task, *self.study.general]
        return tuple({task.model_dump_json(): task for task in wanted}.values())

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units, in the order of the table."""
        vectors = [self.vectors_unit(source, contrast) for source in self.sources for contrast in self.contrasts]
        places = [
            (target, origin, contrast)
            for target in self.targets
            for contrast in self.contrasts
            for origin in self.origins
        ]
        searched = [self.search_unit(*place) for place in places]
        tested = [self.test_unit(*place, task) for place in places for task in self.tested]
        told = [
            self.instruction_unit(target, contrast, task)
            for target in self.targets
            for contrast in self.contrasts
            if contrast.config.instruction
            for task in self.tested
        ]
        return (*vectors, *searched, *tested, *told)

    def vectors_unit(self, source: Checkpoint, contrast: Contrast) -> Unit:
        """The vectors of one contrast in one checkpoint, at every site."""
        inputs = {
            "code": code_version(*ROOMS),
            "checkpoint": _pinned(source),
            "dataset": [contrast.name, contrast.statements.fingerprint],
            "kinds": self.study.kinds,
            "sites": self.study.sites,
            "position": self.study.position,
            "dtype": self.study.dtype,
            "seed": self.study.seed,
        }
        return Unit(step="vectors", name=f"{source.key}/{contrast.name}", inputs=inputs)

    def search_unit(self, target: Target, origin: Checkpoint | None, contrast: Contrast) -> Unit:
        """Every strength at every site on the development half."""
        study = self.study
        inputs = {
            **self._target(target),
            "vectors": self._vectors(origin, contrast),
            "alphas": study.alphas,
            "random_controls": study.random_controls,
            "unit": study.unit,
            "task": contrast.config.task.model_dump(mode="json"),
            "quantity": [contrast.config.quantity, contrast.config.method],
            "perplexity": study.perplexity.model_dump(mode="json"),
        }
        return Unit(step="search", name=_named(target, origin, contrast), inputs=inputs)

    def test_unit(self, target: Target, origin: Checkpoint | None, contrast: Contrast, task: TaskConfig) -> Unit:
        """What was chosen, on one task of the test half."""
        search = self.search_unit(target, origin, contrast)
        inputs = {"search": search.identity, "task": task.model_dump(mode="json")}
        return Unit(step="test", name=f"{_named(target, origin, contrast)}/{task.name}", inputs=inputs)

    def instruction_unit(self, target: Target, contrast: Contrast, task: TaskConfig) -> Unit:
        """The unsteered model that is told what is wanted, on one task of the test half."""
        inputs = {
            **self._target(target),
            "instruction": contrast.config.instruction,
            "task": task.model_dump(mode="json"),
        }
        name = f"{target.checkpoint.key}/{contrast.name}/{task.name}"
        return Unit(step="instruction", name=name, inputs=inputs)

    def relations_unit(self, finished: Sequence[Unit]) -> Unit:
        """What the numbers of all checkpoints say together."""
        inputs = {"units": [unit.identity for unit in finished], "code": code_version(*ROOMS), "seed": self.study.seed}
        return Unit(step="relations", name="over checkpoints", inputs=inputs)

    def load_source(self, source: Checkpoint) -> LanguageModel:
        """A checkpoint that vectors are taken from."""
        return self._load(self.series, source)

    def load_target(self, target: Target) -> LanguageModel:
        """A model that is steered."""
        return self._load(target.source, target.checkpoint)

    def _load(self, source: CheckpointSource, checkpoint: Checkpoint) -> LanguageModel:
        return load(
            source,
            checkpoint,
            device=self.settings.torch_device(),
            dtype=self.study.dtype,
            trust_remote_code=self.study.trust_remote_code,
        )

    def _target(self, target: Target) -> Mapping[str, Any]:
        study = self.study
        return {
            "code": code_version(*ROOMS),
            "target": _pinned(target.checkpoint),
            "positions": study.positions,
            "protocol": study.protocol,
            "dtype": study.dtype,
            "seed": study.seed,
        }

    def _vectors(self, origin: Checkpoint | None, contrast: Contrast) -> Any:
        """Random directions are measured out like the last checkpoint's vectors."""
        return [origin is None, self.vectors_unit(origin or self.sources[-1], contrast).identity]


def plan_steer(study: SteerConfig, *, settings: Settings) -> SteerPlan:
    """Read the datasets, list the checkpoints and pin them to their commits.

    Raises:
        DataError: a dataset cannot be used.
        ModelError: a source holds no such checkpoints.
    """
    settings.require_device()
    series = open_source(study.sources.source, keep_downloads=settings.keep_downloads)
    chosen = select(series.checkpoints(), study.sources.how())
    return SteerPlan(
        study=study,
        settings=settings,
        series=series,
        sources=tuple(series.pin(checkpoint) for checkpoint in chosen),
        targets=tuple(_target(one, settings) for one in study.targets),
        contrasts=tuple(_contrast(one, settings, study.seed) for one in study.contrasts),
    )


def _target(config: TargetConfig, settings: Settings) -> Target:
    source = open_source(config.source, keep_downloads=settings.keep_downloads)
    known = source.checkpoints()
    (checkpoint,) = select(known, [config.revision or known[-1].revision])
    return Target(source=source, checkpoint=source.pin(checkpoint))


def _contrast(config: ContrastConfig, settings: Settings, seed: int) -> Contrast:
    if config.dataset is None:
        return Contrast(config=config, statements=read_pairs(Path(str(config.pairs)), seed=seed))
    (statements,) = load_all([config.dataset], settings=settings, seed=seed)
    return Contrast(config=config, statements=statements)


def _pinned(checkpoint: Checkpoint) -> list[Any]:
    return [checkpoint.key, checkpoint.commit]


def _named(target: Target, origin: Checkpoint | None, contrast: Contrast) -> str:
    return f"{target.checkpoint.key}/{contrast.name}/{origin.revision if origin else RANDOM}"
