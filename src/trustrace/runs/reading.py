"""The JSON files of a run folder, which may come from anywhere: read and checked, or refused by name."""

from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from trustrace.core.documents import shaped
from trustrace.core.errors import RunError

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


def read_document(path: Path, shape: Any) -> Any:
    """The JSON document at `path`, every value that `shape` names being of its type.

    Raises:
        RunError: it is missing, no JSON, or of another shape.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path} is missing; {_AGAIN}") from None
    return shaped(content, shape, where=path, error=RunError, way_out=_AGAIN)
