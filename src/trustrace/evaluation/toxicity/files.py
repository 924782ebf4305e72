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
from typing_extensions import TypedDict

from trustrace.core.documents import parsed, require_shape, shaped
from trustrace.core.errors import DataError, IntegrityError
from trustrace.core.measurements import Estimate
from trustrace.evaluation.toxicity.linear import BLOCKS, LinearClassifier, Terms

FORMAT = "trustrace-toxicity-1"
DESCRIPTION = "classifier.json"
NUMBERS = "classifier.safetensors"
CHECK = "check.json"
"""What a check found, beside the classifier: a list of estimates."""


class _Described(TypedDict):
    sha256: str
    bias: float
    slope: float
    intercept: float
    regulariser: float
    n: int
    dataset: str
    vocabularies: dict[str, list[str]]
    trained_on: list[str]


class _Checked(TypedDict):
    quantity: str
    role: str
    value: float | None
    n: int


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
        described = (folder / DESCRIPTION).read_bytes()
        numbers = (folder / NUMBERS).read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no classifier: {error.filename} is missing; make one with 'trustrace toxicity train'"
        ) from None
    again = "a damaged classifier: train it again"
    values = parsed(described, dict, where=folder / DESCRIPTION, error=IntegrityError, way_out=again)
    if (found := values.get("format")) != FORMAT:
        raise DataError(f"{folder / DESCRIPTION} has format {str(found)[:80]!r}, expected {FORMAT!r}; {again}")
    require_shape(values, _Described, where=folder / DESCRIPTION, error=IntegrityError, way_out=again)
    return _assembled(folder, values, numbers)


def _assembled(folder: Path, values: dict[str, Any], numbers: bytes) -> LinearClassifier:
    try:
        if hashlib.sha256(numbers).hexdigest() != values["sha256"]:
            raise IntegrityError(f"{folder / NUMBERS} is not the file that {DESCRIPTION} describes; train it again")
        tensors = load(numbers)
        if wrong := [name for name, array in tensors.items() if array.dtype != np.float64 or array.ndim != 1]:
            raise IntegrityError(
                f"{folder / NUMBERS}: {wrong[0]} is no row of numbers in double precision; train it again"
            )
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
    except (KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
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
    rows = shaped(
        (folder / CHECK).read_bytes(),
        list[_Checked],
        where=folder / CHECK,
        error=IntegrityError,
        way_out="it holds no check of a classifier: check it again",
    )
    found = {row["quantity"]: row for row in reversed(rows) if row["role"] == "measured"}
    try:
        accuracy, auroc = found["accuracy"], found["auroc"]
        return f"accuracy {accuracy['value']:.2f}, AUROC {auroc['value']:.2f} on {accuracy['n']} held-out statements"
    # Null is a number that is undefined.
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{folder / CHECK} holds no check of a classifier ({error!r}); check it again") from None
