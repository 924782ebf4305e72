"""Linear classifiers on disk: numbers as safetensors, everything else as JSON, nothing that could run code."""

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from trustrace.core.errors import DataError, IntegrityError
from trustrace.core.measurements import Estimate
from trustrace.evaluation.toxicity.linear import BLOCKS, LinearClassifier, Terms

FORMAT = "trustrace-toxicity-1"
DESCRIPTION = "classifier.json"
NUMBERS = "classifier.safetensors"
CHECK = "check.json"
"""What a check found, beside the classifier: a list of estimates."""

_SCALARS = ("bias", "slope", "intercept", "regulariser", "n", "dataset")


def write_classifier(classifier: LinearClassifier, folder: Path) -> Path:
    """Write `classifier` into `folder`, which comes into being whole or not at all; one that is there is replaced.

    Raises:
        DataError: `folder` holds something else.
    """
    require_place(folder)
    numbers = save(
        {
            "weights": classifier.weights,
            **{f"idf_{one.block}": np.ascontiguousarray(one.idf) for one in classifier.terms},
        }
    )
    description = {
        "format": FORMAT,
        "sha256": hashlib.sha256(numbers).hexdigest(),
        **{name: getattr(classifier, name) for name in _SCALARS},
        "vocabularies": {one.block: one.vocabulary for one in classifier.terms},
        "trained_on": sorted(classifier.trained_on),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".scratch-", dir=folder.parent))
    try:
        (scratch / NUMBERS).write_bytes(numbers)
        (scratch / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")
        scratch.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def require_place(folder: Path) -> None:
    """Do nothing where a classifier may be written to `folder`.

    Raises:
        DataError: `folder` holds something else.
    """
    if folder.exists() and not is_classifier(folder):
        raise DataError(f"{folder} exists and holds no classifier; choose another folder")


def is_classifier(folder: Path) -> bool:
    """Whether `folder` holds a linear classifier."""
    return (folder / DESCRIPTION).is_file()


def read_classifier(folder: Path) -> LinearClassifier:
    """The classifier in `folder`.

    Raises:
        DataError: there is none, or it is of another format.
        IntegrityError: its files are damaged, or do not belong together.
    """
    try:
        values = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        numbers = (folder / NUMBERS).read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no classifier: {error.filename} is missing; make one with 'trustrace toxicity train'"
        ) from None
    except ValueError as error:
        raise IntegrityError(f"{folder / DESCRIPTION} is no JSON ({error}); train the classifier again") from None
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise DataError(f"{folder / DESCRIPTION} has format {found!r}, expected {FORMAT!r}; train the classifier again")
    return _assembled(folder, values, numbers)


def _assembled(folder: Path, values: dict[str, Any], numbers: bytes) -> LinearClassifier:
    try:
        if hashlib.sha256(numbers).hexdigest() != values["sha256"]:
            raise IntegrityError(f"{folder / NUMBERS} is not the file that {DESCRIPTION} describes; train it again")
        tensors = load(numbers)
        terms = tuple(
            Terms(block=block, vocabulary=tuple(values["vocabularies"][block]), idf=tensors[f"idf_{block}"])
            for block in BLOCKS
        )
        lengths = [len(one.vocabulary) for one in terms]
        if [len(one.idf) for one in terms] != lengths or len(tensors["weights"]) != sum(lengths):
            raise IntegrityError(
                f"{folder}: {lengths} terms, but as many numbers do not stand beside them; train it again"
            )
        return LinearClassifier(
            terms=terms,
            weights=tensors["weights"],
            trained_on=frozenset(values["trained_on"]),
            quality=_quality(folder),
            **{name: values[name] for name in _SCALARS},
        )
    except (KeyError, TypeError, SafetensorError) as error:
        raise IntegrityError(f"{folder}: a damaged classifier ({error!r}); train it again") from None


def check_text(estimates: Sequence[Estimate]) -> str:
    """The content of :data:`CHECK`."""
    names = [one.name for one in fields(Estimate) if one.name != "replicates"]
    # JSON has no NaN: what is undefined is null.
    rows = [{name: _plain(getattr(one, name)) for name in names} for one in estimates]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _quality(folder: Path) -> str:
    """What the check beside a classifier found, in words; empty where there is none."""
    if not (folder / CHECK).is_file():
        return ""
    try:
        rows = json.loads((folder / CHECK).read_text(encoding="utf-8"))
        found = {row["quantity"]: row for row in reversed(rows) if row["role"] == "measured"}
        accuracy, auroc = found["accuracy"], found["auroc"]
        return f"accuracy {accuracy['value']:.2f}, AUROC {auroc['value']:.2f} on {accuracy['n']} held-out statements"
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{folder / CHECK} holds no check of a classifier ({error!r}); check it again") from None
