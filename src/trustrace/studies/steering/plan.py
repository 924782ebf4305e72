"""What a steering study will do, known before any of it is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ConfigError, ModelError
from trustrace.core.sites import select_sites
from trustrace.core.statements import Statements
from trustrace.datasets.alignment import read_pairs
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load
from trustrace.models.selection import select
from trustrace.models.sources import CheckpointSource, open_source
from trustrace.models.weights import architecture, read_config
from trustrace.runs.identity import Unit, code_version
from trustrace.steering.fit import Mismatch
from trustrace.studies.abilities import Half, TaskConfig, open_task
from trustrace.studies.apart import asked_by, crosses_halves, without_asked
from trustrace.studies.evaluating import ROOMS
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_all
from trustrace.studies.steering.config import ContrastConfig, SteerConfig, TargetConfig
from trustrace.studies.task_facts import inputs_of
from trustrace.studies.vocabularies import vocabulary_of

_SHAPE = ("model_type", "hidden_size", "num_hidden_layers")

RANDOM = "random"
"""Stands for the source of directions that come from no checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model that is steered, and where it is loaded from."""

    source: CheckpointSource
    checkpoint: Checkpoint
    allow: tuple[Mismatch, ...] = ()


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
        asked: Every task with all that changes its answers.
    """

    study: SteerConfig
    settings: Settings = field(compare=False)
    series: CheckpointSource
    sources: tuple[Checkpoint, ...]
    targets: tuple[Target, ...]
    contrasts: tuple[Contrast, ...]
    asked: Mapping[TaskConfig, Mapping[str, Any]]

    @cached_property
    def origins(self) -> tuple[Checkpoint | None, ...]:
        """Where directions come from: each source, and nowhere for the random ones."""
        return (*self.sources, None) if self.study.random_controls else self.sources

    @cached_property
    def tested(self) -> tuple[TaskConfig, ...]:
        """What is asked of whatever was chosen: every dimension's task, each once, then perplexity and general abilities."""
        return tuple(dict.fromkeys(_tasks(self.study)))

    @cached_property
    def asked_plainly(self) -> tuple[tuple[TaskConfig, Half], ...]:
        """What each target is asked as it is: whatever its steered versions are asked anywhere."""
        chosen_by = dict.fromkeys([self.study.perplexity.task, *(one.config.task for one in self.contrasts)])
        return (*((task, "development") for task in chosen_by), *((task, "test") for task in self.tested))

    @cached_property
    def told(self) -> tuple[tuple[Contrast, TaskConfig], ...]:
        """What is asked of a target that is told what is wanted; a divergence is between versions that read the same."""
        told = [contrast for contrast in self.contrasts if contrast.config.instruction]
        return tuple((contrast, task) for contrast in told for task in self.tested if task.name != "divergence")

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units, in the order of the table."""
        vectors = [self.vectors_unit(source, contrast) for source in self.sources for contrast in self.contrasts]
        plain = [self.plain_unit(target, *asked) for target in self.targets for asked in self.asked_plainly]
        places = [
            (target, origin, contrast)
            for target in self.targets
            for contrast in self.contrasts
            for origin in self.origins
        ]
        searched = [self.search_unit(*place) for place in places]
        tested = [self.test_unit(*place, task) for place in places for task in self.tested]
        told = [self.instruction_unit(target, *one) for target in self.targets for one in self.told]
        return (*vectors, *plain, *searched, *tested, *told)

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

    def plain_unit(self, target: Target, task: TaskConfig, half: Half) -> Unit:
        """The unsteered model on one task."""
        inputs = {**self._target(target), "task": self.asked[task], "half": half}
        return Unit(step="plain", name=f"{target.checkpoint.key}/{task.name}/{half}", inputs=inputs)

    def search_unit(self, target: Target, origin: Checkpoint | None, contrast: Contrast) -> Unit:
        """Every strength at every site on the development half."""
        study = self.study
        inputs = {
            **self._target(target),
            "vectors": self._vectors(origin, contrast),
            "alphas": study.alphas,
            "random_controls": study.random_controls,
            "unit": study.unit,
            "task": self.asked[contrast.config.task],
            "quantity": [contrast.config.quantity, contrast.config.method],
            "perplexity": [self.asked[study.perplexity.task], study.perplexity.ratio, study.perplexity.bound],
        }
        return Unit(step="search", name=_named(target, origin, contrast), inputs=inputs)

    def test_unit(self, target: Target, origin: Checkpoint | None, contrast: Contrast, task: TaskConfig) -> Unit:
        """What was chosen, on one task of the test half."""
        search = self.search_unit(target, origin, contrast)
        inputs = {"search": search.identity, "task": self.asked[task]}
        return Unit(step="test", name=f"{_named(target, origin, contrast)}/{task.name}", inputs=inputs)

    def instruction_unit(self, target: Target, contrast: Contrast, task: TaskConfig) -> Unit:
        """The unsteered model that is told what is wanted, on one task of the test half."""
        inputs = {
            **self._target(target),
            "instruction": [contrast.name, contrast.config.instruction],
            "task": self.asked[task],
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
        ConfigError: a site is in no such model, two targets are one, or a task cannot be asked.
        DataError: a dataset cannot be used.
        ModelError: a source holds no such checkpoints, or a target is of another shape or vocabulary than the source.
    """
    settings.require_device(spreads=False)
    series = open_source(study.sources.source, keep_downloads=settings.keep_downloads)
    chosen = select(series.checkpoints(), study.sources.how())
    targets = tuple(_target(one, settings) for one in study.targets)
    _require_fit(study, (series, chosen[-1]), targets)
    return SteerPlan(
        study=study,
        settings=settings,
        series=series,
        sources=tuple(series.pin(checkpoint) for checkpoint in chosen),
        targets=targets,
        contrasts=_contrasts(study, settings),
        asked={task: inputs_of(task, settings=settings) for task in dict.fromkeys(_tasks(study))},
    )


def _target(config: TargetConfig, settings: Settings) -> Target:
    source = open_source(config.source, keep_downloads=settings.keep_downloads)
    known = source.checkpoints()
    (checkpoint,) = select(known, [config.revision or known[-1].revision])
    return Target(source=source, checkpoint=source.pin(checkpoint), allow=config.allow)


def _tasks(study: SteerConfig) -> list[TaskConfig]:
    return [*(one.task for one in study.contrasts), study.perplexity.task, *study.general]


def _require_fit(study: SteerConfig, source: tuple[CheckpointSource, Checkpoint], targets: Sequence[Target]) -> None:
    """Do nothing where vectors of the source can act in every target, as far as configurations tell: no weights are read."""
    keys = [target.checkpoint.key for target in targets]
    if repeated := [key for key in keys if keys.count(key) > 1]:
        raise ConfigError(
            f"two targets are called {repeated[0]}; their rows would have one name, so name each folder apart"
        )
    ours, words = _shape(*source), vocabulary_of(*source)
    for target in targets:
        _require_vocabulary(source[1], words, target)
        theirs = _shape(target.source, target.checkpoint)
        different = [f"{name} {ours[name]} is not {theirs[name]}" for name in _SHAPE if ours[name] != theirs[name]]
        if different:
            raise ModelError(
                f"vectors of {source[1].key} do not fit {target.checkpoint.key}: {', '.join(different)}; "
                "a vector acts in models of its own shape"
            )
    try:
        if ours["num_hidden_layers"]:
            select_sites(study.sites, n_blocks=int(ours["num_hidden_layers"]))
    except ConfigError as error:
        raise ConfigError(f"{source[1].key}: {error}") from None


def _require_vocabulary(source: Checkpoint, words: dict[str, int] | None, target: Target) -> None:
    """Do nothing where both vocabularies are equal, one is unknown before it is loaded, or the difference is known to be harmless."""
    theirs = None if "tokenizer" in target.allow else vocabulary_of(target.source, target.checkpoint)
    if words is None or theirs is None or words == theirs:
        return
    different = len(words.items() ^ theirs.items())
    raise ModelError(
        f"vectors of {source.key} do not fit {target.checkpoint.key}: they are made with another vocabulary ({different} tokens or ids "
        "differ); if only added tokens do, give that target `allow: [tokenizer]`"
    )


def _shape(source: CheckpointSource, checkpoint: Checkpoint) -> dict[str, Any]:
    with source.path(checkpoint, with_weights=False) as folder:
        return architecture(read_config(folder))


def _contrasts(study: SteerConfig, settings: Settings) -> tuple[Contrast, ...]:
    """The dimensions, without development rows that a test half asks about where sets and tasks are halved otherwise."""
    found = tuple(_contrast(one, settings, study.seed) for one in study.contrasts)
    shipped = [one.dataset.shipped or one.dataset.name for one in study.contrasts if one.dataset]
    if not any(crosses_halves(dataset, study.protocol) for dataset in (*shipped, "")):
        return found
    tasks = (
        open_task(one.task, half="test", settings=settings, seed=study.seed, protocol=study.protocol)
        for one in study.contrasts
    )
    asked = [text for task in tasks for text in asked_by(task)]
    return tuple(replace(one, statements=without_asked(one.statements, asked)) for one in found)


def _contrast(config: ContrastConfig, settings: Settings, seed: int) -> Contrast:
    if config.dataset is None:
        return Contrast(config=config, statements=read_pairs(Path(str(config.pairs)), name=config.name, seed=seed))
    (statements,) = load_all([config.dataset], settings=settings, seed=seed)
    return Contrast(config=config, statements=replace(statements, name=config.name))


def _pinned(checkpoint: Checkpoint) -> list[Any]:
    return [checkpoint.key, checkpoint.commit]


def _named(target: Target, origin: Checkpoint | None, contrast: Contrast) -> str:
    return f"{target.checkpoint.key}/{contrast.name}/{origin.revision if origin else RANDOM}"
