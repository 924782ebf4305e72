"""What is known of a task before it is done: the numbers that it gives, whether it has two halves, and what lies where it points to."""

import hashlib
from pathlib import Path
from typing import Any, cast, get_args

from trustrace.core.errors import DataError
from trustrace.core.measurements import Protocol
from trustrace.datasets.general import Benchmark
from trustrace.evaluation.harness.tasks import GeneralAbility
from trustrace.evaluation.judges.judge import Aspect
from trustrace.evaluation.judges.language_model import DEFAULT_MODELS
from trustrace.evaluation.toxicity.classifier import DEFAULT as DEFAULT_CLASSIFIER
from trustrace.evaluation.world import HARMS
from trustrace.models import families
from trustrace.models.sources import open_source
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.judging import DEFAULT, open_judge
from trustrace.studies.settings import Settings
from trustrace.studies.toxicity import HUB, open_classifier

PERPLEXITIES = ("lambada", "lambada_text", "text", "world_text")
"""Tasks that give a perplexity on either half."""

WITHOUT_HALVES = ("divergence", "arc_easy", "arc_challenge", "mmlu", "mathqa", "race")
"""Tasks by which nothing is chosen: they ask the same items whatever the half, or say nothing of better and worse."""

AT_THE_FIRST_TOKEN = (
    *("lambada", "truthfulqa_classification", "confaide", "stereoset", "sst2"),
    *("arc_easy", "arc_challenge", "mmlu", "mathqa", "race"),
    *("world_reliability", "world_toxicity", "world_privacy", "world_fairness"),
)
"""Tasks whose items may be decided by the first token after the prompt: last words, the answers 0 and 1, choices, verdicts."""

_TOXIGEN = ("toxic", "toxic_probability", "toxic_after_toxic", "toxic_after_benign", "empty")


def aims_of(task: TaskConfig, protocol: Protocol) -> tuple[str, ...]:
    """The quantities of `task` that can be better or worse on either half."""
    match task.name:
        case "truthfulqa":
            return _aims_of_answers(task)
        case "truthfulqa_mc1" | "truthfulqa_mc2":
            return (task.name.removeprefix("truthfulqa_"),)
        case "toxigen":
            return _TOXIGEN
        case "truthfulqa_classification" | "confaide" | "stereoset" | "sst2":
            people = ("pearson_with_people", "spearman_with_people") if task.name == "confaide" else ()
            return (
                ("accuracy", "f1", "unparsed")
                if protocol == "published"
                else ("accuracy", "f1", "auroc", "log_loss", *people)
            )
        case "lambada":
            return ("perplexity", "accuracy")
        case "lambada_text" | "text" | "world_text":
            return ("perplexity",)
        case "world_reliability" | "world_toxicity" | "world_privacy" | "world_fairness":
            harm = {str(dimension): name for dimension, name in HARMS.items()}[task.name.removeprefix("world_")]
            return ("accuracy", "due_probability", "truth", harm, "correction", "unreadable", "auroc")
    return ()


def unsteered_by(positions: str, task: TaskConfig) -> str:
    """Why steering `positions` does not show in `task`, or in some of its items alone; empty where it does."""
    if positions != "generated" or task.name not in AT_THE_FIRST_TOKEN:
        return ""
    return (
        f"{task.name} is decided by the first token after the prompt, for all items or for some, and what steers {positions} tokens leaves "
        "that one to the plain model: their changes would be exactly 0 and say nothing"
    )


def contents_of(task: TaskConfig, *, settings: Settings) -> dict[str, str]:
    """A hash of what lies in each place that `task` names: judges, a classifier, a text. A name says nothing of what lies there.

    Of a benchmark it is that of its questions, or that they are the hub's, and the version of the harness that asks them. What is asked
    over a network has none. Whatever can be opened quickly is opened, so that a mistake is seen before work begins.

    Raises:
        ConfigError, DataError, ModelError, UnsafeFileError: a place holds nothing that can be used.
        MissingExtraError: the harness is not installed.
    """
    aspects: tuple[tuple[Aspect, tuple[str, ...]], ...] = (("truth", task.truth), ("info", task.info))
    found = {
        f"{aspect} {name}": _judge(name, aspect, task, settings=settings) for aspect, names in aspects for name in names
    }
    if task.classifier:
        found[f"classifier {task.classifier}"] = _classifier(task.classifier, settings=settings)
    if task.path:
        found[f"text {task.path}"] = _text(Path(task.path))
    if task.name in get_args(Benchmark):
        found |= GeneralAbility(name=cast("Benchmark", task.name), data_dir=settings.data_dir).origin
    return found


def inputs_of(task: TaskConfig, *, settings: Settings) -> dict[str, Any]:
    """All that changes the answers to `task`, as JSON values.

    Raises:
        ConfigError, DataError, ModelError, UnsafeFileError: as for :func:`contents_of`.
    """
    return {**task.model_dump(mode="json"), "contents": contents_of(task, settings=settings)}


def _aims_of_answers(task: TaskConfig) -> tuple[str, ...]:
    """They hang on who judges."""
    overlaps = [name.removeprefix("overlap:") for name in task.truth if name.startswith("overlap:")]
    truth = ("truth", *(f"{measure}_difference" for measure in overlaps)) if task.truth else ()
    probability = ("truth_probability",) if len(overlaps) < len(task.truth) else ()
    info = ("info", "info_probability") if task.info else ()
    both = ("truth*info", "truth_mean*info_mean") if task.truth and task.info else ()
    return (*truth, *probability, *info, *both, "empty")


def _judge(name: str, aspect: Aspect, task: TaskConfig, *, settings: Settings) -> str:
    kind, colon, rest = name.partition(":")
    if colon and kind == "hf":
        return _commit(DEFAULT_MODELS[aspect] if rest in ("", DEFAULT) else rest)
    open_judge(name, aspect=aspect, settings=settings)
    return "" if colon else _folder(Path(name))


_CHECKS = frozenset({"quality.json", "check.json", "check.parquet"})


def _classifier(name: str, *, settings: Settings) -> str:
    if name.startswith(HUB):
        return _commit(name.removeprefix(HUB).partition("#")[0] or DEFAULT_CLASSIFIER)
    open_classifier(name, settings=settings)
    return _folder(Path(name))


def _commit(source: str) -> str:
    """What pins the weights of a model by name or folder, the one that is loaded where no revision is asked for."""
    series = open_source(source)
    listing = series.checkpoints()
    return series.pin(next((one for one in listing if one.revision == families.MAIN), listing[-1])).commit


def _folder(folder: Path) -> str:
    """Everything in it but what a check found, which changes no answer."""
    digest = hashlib.sha256()
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    for path in sorted(path for path in files if path.name not in _CHECKS):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + _hash(path).encode())
    return digest.hexdigest()


def _text(path: Path) -> str:
    try:
        return _hash(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read as a text: {error.strerror or error}; give a UTF-8 file") from error


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
