"""The JSON files of a run folder, which may come from anywhere: read and checked, or refused by name."""

import json
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from trustrace.core.documents import shaped
from trustrace.core.errors import RunError

ELSEWHERE = "elsewhere.json"
"""The file of a run folder that lists the units which are finished at the run's URL alone."""

_AGAIN = "the run is damaged: make it again"


class Record(TypedDict):
    """What is recorded of a finished unit."""

    step: str
    name: str
    inputs: dict[str, Any]
    seconds: float


class Planned(TypedDict):
    """A unit that was asked for; one that is still to come has no folder's name."""

    unit: str
    name: str


class Failure(TypedDict):
    """What is recorded of a unit that failed."""

    unit: str
    error: str
    message: str


def read_document(path: Path, shape: Any, *, is_finite: bool = True) -> Any:
    """The JSON document at `path`, every value that `shape` names being of its type.

    Args:
        path: Where it is.
        shape: What it must be; see :func:`trustrace.core.documents.shaped`.
        is_finite: Whether it must be without NaN and infinity, as what decides an identity is; a manifest need not.

    Raises:
        RunError: it is missing, no JSON, or of another shape.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path} is missing; {_AGAIN}") from None
    document = shaped(content, shape, where=path, error=RunError, way_out=_AGAIN)
    try:
        json.dumps(document, allow_nan=not is_finite)
    except ValueError:
        raise RunError(f"{path} holds NaN or infinity where only numbers belong; {_AGAIN}") from None
    return document
