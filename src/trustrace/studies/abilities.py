"""What a model can be asked to do, by name: tasks of trust, of general ability, and perplexities."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

from pydantic import Field, model_validator

from trustrace.core.config import Config
from trustrace.core.errors import ConfigError
from trustrace.core.measurements import Protocol
from trustrace.core.statements import Dimension, Statements
from trustrace.datasets import catalog, questions
from trustrace.datasets.grouping import normalise
from trustrace.evaluation.binary import BinaryTask
from trustrace.evaluation.divergence import Divergence
from trustrace.evaluation.harness.tasks import GeneralAbility
from trustrace.evaluation.judges.endpoint import Mode
from trustrace.evaluation.outcomes import Task
from trustrace.evaluation.perplexity import LambadaLastWord, LambadaText, TextPerplexity
from trustrace.evaluation.toxigen import ToxiGen
from trustrace.evaluation.truthfulqa import TruthfulQAChoice, TruthfulQAGeneration
from trustrace.evaluation.world import WorldReplies
from trustrace.evaluation.world_text import WorldText
from trustrace.studies.judging import EndpointOptions, open_judge
from trustrace.studies.settings import Settings
from trustrace.studies.toxicity import open_classifier

Half = questions.Half

AskedType = TypeVar("AskedType", questions.Question, questions.ToxicityPrompt)

TaskName = Literal[
    "truthfulqa",
    "truthfulqa_mc1",
    "truthfulqa_mc2",
    "truthfulqa_classification",
    "toxigen",
    "confaide",
    "stereoset",
    "sst2",
    "lambada",
    "lambada_text",
    "text",
    "divergence",
    "arc_easy",
    "arc_challenge",
    "mmlu",
    "mathqa",
    "race",
    "world_reliability",
    "world_toxicity",
    "world_privacy",
    "world_fairness",
    "world_text",
]
TASKS: tuple[str, ...] = get_args(TaskName)

_WORLD: dict[TaskName, Dimension] = {
    "world_reliability": "reliability",
    "world_toxicity": "toxicity",
    "world_privacy": "privacy",
    "world_fairness": "fairness",
}
_BINARY = {
    "truthfulqa_classification": "reliability",
    "confaide": "privacy",
    "stereoset": "fairness",
    "sst2": "robustness",
}
_TAKERS: dict[str, tuple[TaskName, ...]] = {
    "shots": ("truthfulqa", "truthfulqa_mc1", "truthfulqa_mc2"),
    "truth": ("truthfulqa",),
    "info": ("truthfulqa",),
    "mode": ("truthfulqa",),
    "classifier": ("toxigen",),
    "path": ("text",),
    "world": (*_WORLD, "world_text"),
}
_NEEDS: dict[str, tuple[str, str]] = {
    "toxigen": ("classifier", "who says what is toxic: a folder that 'trustrace toxicity train' wrote, or hf:NAME"),
    "text": ("path", "the file that is read: text:FILE on a command line"),
}


class TaskConfig(Config):
    """A task; a bare name in a study is this.

    Attributes:
        name: Which.
        limit: How many items at most, drawn by the seed, but of ``text`` tokens from the start of the half; all by default.
        shots: Worked examples before a question of TruthfulQA; fewer fit a short context.
        truth: Judges of truth, for ``truthfulqa``; see ``trustrace judge``.
        info: Judges of informativeness.
        classifier: Who says what is toxic, for ``toxigen``; see ``trustrace toxicity``.
        path: The text, for ``text``.
        mode: How judges behind an endpoint are asked.
        world: Which controlled world: the seed of the corpus that the model was trained on.
    """

    name: TaskName
    limit: int | None = Field(None, ge=1)
    shots: int = Field(6, ge=0, le=6)
    truth: tuple[str, ...] = ()
    info: tuple[str, ...] = ()
    classifier: str | None = None
    path: str | None = None
    mode: Mode = "chat"
    world: int = 0

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _what_it_needs_is_there(self) -> "TaskConfig":
        if lack := _lack(self.name, vars(self)):
            raise ValueError(lack)
        return self

    @model_validator(mode="after")
    def _it_takes_what_it_is_given(self) -> "TaskConfig":
        for option, tasks in _TAKERS.items():
            if self.name not in tasks and _is_given(option, getattr(self, option)):
                raise ValueError(f"{self.name} takes no `{option}`; it is for {', '.join(tasks)}")
        return self

    @property
    def title(self) -> str:
        """What its rows are called."""
        return f"text:{Path(self.path).name}" if self.path else self.name


def parse_tasks(given: Sequence[str], **options: object) -> tuple[TaskConfig, ...]:
    """The tasks that a command line names, one by one or separated by commas: names, or ``text:PATH``.

    Args:
        given: The names.
        options: Fields of :class:`TaskConfig`; each task takes those that it knows.

    Raises:
        ConfigError: none is named, one is named twice, there is no such task, it lacks an option, or an option is for none of them.
    """
    names = [name.strip() for part in given for name in part.split(",") if name.strip()]
    if not names:
        raise ConfigError("no tasks; name at least one with --task, such as --task lambada")
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(f"--task {repeated[0]} is given twice; give each task once")
    parsed = tuple(_parsed(name, options) for name in names)
    for option, value in options.items():
        takers = _TAKERS.get(option, TASKS)
        if _is_given(option, value) and not any(task.name in takers for task in parsed):
            raise ConfigError(
                f"--{option} says nothing to {', '.join(task.title for task in parsed)}: it is for {', '.join(takers)}; leave it out, or "
                "name such a task"
            )
    return parsed


def _is_given(option: str, value: object) -> bool:
    return bool(value != TaskConfig.model_fields[option].default)


def _lack(name: str, values: Mapping[str, object]) -> str:
    """What the task called `name` needs and `values` lacks, in words; empty where it has all."""
    needed, meaning = _NEEDS.get(name, ("", ""))
    return f"{name} needs `{needed}`, {meaning}" if needed and not values.get(needed) else ""


def _parsed(text: str, options: Mapping[str, object]) -> TaskConfig:
    name, _, path = text.partition(":")
    if name not in TASKS:
        nearest = difflib.get_close_matches(name, TASKS, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise ConfigError(f"no task {name!r}; {hint}there are: {', '.join(TASKS)}")
    values: dict[str, object] = {"name": name, **({"path": path} if path else {})}
    values |= {option: value for option, value in options.items() if name in _TAKERS.get(option, TASKS)}
    if lack := _lack(name, values):
        raise ConfigError(lack)
    return TaskConfig.read(values, where=f"task {text}")


def open_task(
    config: TaskConfig,
    *,
    half: Half,
    settings: Settings,
    seed: int,
    protocol: Protocol = "rigorous",
    options: EndpointOptions | None = None,
) -> Task:
    """The task that `config` describes, over the items of `half`.

    Raises:
        DataError: its items cannot be had.
        ConfigError: a judge, a classifier or a text cannot be used.
    """
    limit, data_dir = config.limit, settings.data_dir
    match config.name:
        case "truthfulqa" | "truthfulqa_mc1" | "truthfulqa_mc2":
            return _truthfulqa(config, half, settings, seed, protocol, options)
        case "toxigen":
            return _toxigen(config, half, settings, seed, protocol)
        case "truthfulqa_classification" | "confaide" | "stereoset" | "sst2":
            return _binary(config, half, settings, seed, protocol)
        case "lambada":
            return LambadaLastWord(limit=limit, seed=seed, data_dir=data_dir, half=half)
        case "lambada_text":
            return LambadaText(limit=limit, seed=seed, data_dir=data_dir, half=half)
        case "text":
            return TextPerplexity(path=Path(config.path or ""), limit=limit, half=half)
        case "world_text":
            return WorldText(limit=limit, world=config.world, half=half)
        case "world_reliability" | "world_toxicity" | "world_privacy" | "world_fairness":
            return WorldReplies(
                dimension=_WORLD[config.name],
                world=config.world,
                seed=seed,
                split="test" if half == "test" else "validation",
                limit=limit,
            )
        case "divergence":
            return Divergence(limit=limit, seed=seed, data_dir=data_dir, half=half)
    return GeneralAbility(name=config.name, limit=limit, seed=seed, data_dir=data_dir)


def _truthfulqa(
    config: TaskConfig,
    half: Half,
    settings: Settings,
    seed: int,
    protocol: Protocol,
    options: EndpointOptions | None,
) -> Task:
    """Under ``published`` the test half is the paper's own, and none of it is asked in development."""
    published = questions.published_questions(data_dir=settings.data_dir) if protocol == "published" else ()
    known = questions.truthfulqa_questions(seed=seed, data_dir=settings.data_dir)
    if published and half == "test":
        known = published
    asked = questions.in_half(_unlike(known, published, half), half, limit=config.limit, seed=seed)
    if config.name != "truthfulqa":
        form: Literal["mc1", "mc2"] = "mc1" if config.name == "truthfulqa_mc1" else "mc2"
        return TruthfulQAChoice(form=form, questions=asked, protocol=protocol, shots=config.shots)
    options = replace(options or EndpointOptions(), mode=config.mode)
    judges = [
        *(open_judge(name, aspect="truth", settings=settings, options=options) for name in config.truth),
        *(open_judge(name, aspect="info", settings=settings, options=options) for name in config.info),
    ]
    return TruthfulQAGeneration(questions=asked, judges=tuple(judges), protocol=protocol, shots=config.shots)


def _toxigen(config: TaskConfig, half: Half, settings: Settings, seed: int, protocol: Protocol) -> Task:
    classifier = open_classifier(config.classifier or "", settings=settings)
    published = questions.published_toxigen_prompts(data_dir=settings.data_dir) if protocol == "published" else ()
    prompts = questions.toxigen_prompts(seed=seed, data_dir=settings.data_dir)
    if published and half == "test":
        prompts = published
    asked = questions.in_half(_unlike(prompts, published, half), half, limit=config.limit, seed=seed)
    return ToxiGen(prompts=asked, classifier=classifier, protocol=protocol)


def _binary(config: TaskConfig, half: Half, settings: Settings, seed: int, protocol: Protocol) -> Task:
    dimension = _BINARY[config.name]
    if protocol == "published":
        statements = catalog.load(f"{dimension}/published", seed=seed, data_dir=settings.data_dir)
        return _published_binary(statements, config, half)
    statements = catalog.load(f"{dimension}/defined", seed=seed, data_dir=settings.data_dir)
    rated = questions.rated_scenarios(seed=seed, data_dir=settings.data_dir) if config.name == "confaide" else ()
    return BinaryTask.of(statements, name=config.name, half=half, limit=config.limit, seed=seed, rated=rated)


def _published_binary(statements: Statements, config: TaskConfig, half: Half) -> Task:
    """The second half of the paper's file; in development the first, less whatever shares a group with the second."""
    if half == "test":
        return BinaryTask.published(statements, name=config.name, limit=config.limit)
    middle = len(statements) // 2
    tested = set(statements.groups[middle:])
    rows = [row for row in range(middle) if statements.groups[row] not in tested]
    first = statements.take(rows[: config.limit])
    asked = BinaryTask.published(statements, name=config.name)
    return replace(asked, texts=first.texts, labels=first.labels, groups=first.groups)


def _unlike(items: Sequence[AskedType], tested: Sequence[AskedType], half: Half) -> tuple[AskedType, ...]:
    """In development, the items that are not among those `tested` and in no group with one that is."""
    texts = {normalise(item.text) for item in tested} if half == "development" else set()
    groups = {item.group for item in items if normalise(item.text) in texts}
    return tuple(item for item in items if item.group not in groups)
