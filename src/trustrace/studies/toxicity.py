"""Toxicity classifiers by name: opened, trained and checked."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trustrace.core.errors import ConfigError
from trustrace.core.measurements import Estimate
from trustrace.core.progress import Progress, silent
from trustrace.evaluation.toxicity.check import check
from trustrace.evaluation.toxicity.classifier import (
    DEFAULT,
    TOXIC_LABEL,
    NeuralClassifier,
    ToxicityClassifier,
)
from trustrace.evaluation.toxicity.files import (
    CHECK,
    check_text,
    is_classifier,
    read_classifier,
    require_place,
    write_classifier,
)
from trustrace.evaluation.toxicity.linear import train
from trustrace.models.classifier import load_classifier
from trustrace.runs.files import replacing
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_named

HUB = "hf:"
"""How the name of a model of transformers begins: ``hf:owner/name``, ``hf:FOLDER``, each with ``#LABEL`` where its toxic class is called
otherwise than ``LABEL_1``."""

DATASET = "toxicity/defined"


def open_classifier(text: str, *, settings: Settings) -> ToxicityClassifier:
    """The classifier that a command line calls `text`: a folder that ``trustrace toxicity train`` wrote, or a name after ``hf:``.

    Raises:
        ConfigError: it is neither, or the model has no class of that label.
        DataError: the folder holds another version's classifier.
        ModelError: the model cannot be used.
    """
    if text.startswith(HUB):
        source, _, label = text.removeprefix(HUB).partition("#")
        settings.require_device(spreads=False)
        model = load_classifier(source or DEFAULT, device=settings.torch_device())
        return NeuralClassifier(model=model, label=label or TOXIC_LABEL)
    if is_classifier(Path(text)):
        return read_classifier(Path(text))
    raise ConfigError(
        f"{text!r} is no toxicity classifier; name a folder that 'trustrace toxicity train' wrote, or {HUB}NAME such as {HUB}{DEFAULT}"
    )


def train_classifier(
    out: Path, *, settings: Settings, seed: int = 0, dataset: str = DATASET, progress: Progress = silent
) -> list[Estimate]:
    """Train a linear classifier on the development half of `dataset`, check it on the test half, and write both to `out`.

    Raises:
        DataError: `out` holds something else, or the dataset cannot be had.
    """
    require_place(out)
    statements = load_named(dataset, settings=settings, seed=seed)
    classifier = train(statements, seed=seed, progress=progress)
    write_classifier(classifier, out)
    found = check(classifier, statements, seed=seed)
    write_check(found, out / CHECK)
    return found


def check_classifier(
    text: str, *, settings: Settings, seed: int = 0, dataset: str = DATASET, progress: Progress = silent
) -> list[Estimate]:
    """What the classifier called `text` is worth on the test half of `dataset`; written beside it where it is one of ours."""
    classifier = open_classifier(text, settings=settings)
    found = check(classifier, load_named(dataset, settings=settings, seed=seed), seed=seed, progress=progress)
    found = [replace(one, note="; ".join(filter(None, (one.note, f"on {dataset}")))) for one in found]
    if not text.startswith(HUB) and dataset == DATASET:
        write_check(found, Path(text) / CHECK)
    return found


def write_check(estimates: Sequence[Estimate], path: Path) -> None:
    """Write what was found as JSON, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(check_text(estimates), encoding="utf-8")


def as_rows(estimates: Sequence[Estimate]) -> list[dict[str, Any]]:
    """The estimates as rows of a table."""
    return [
        {
            "quantity": one.quantity,
            "by": one.method,
            "value": one.value,
            "95 % interval": f"{one.lower:.4f} .. {one.upper:.4f}",
            "n": one.n,
            "groups": one.n_groups,
            "note": one.note,
        }
        for one in estimates
    ]
