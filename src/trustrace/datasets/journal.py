"""A journal of paid answers: one JSON object a line, only ever appended to, so that a kill loses at most the answers in flight."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from trustrace.core.documents import parsed
from trustrace.core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One answer.

    Attributes:
        key: The hash of the request that it answers.
        kind: What was asked for (``generation``, ``judgement``), for people who read the file.
        text: The answer, as it came.
        prompt_tokens: Tokens of the request, as the server counts them; 0 where it does not say.
        completion_tokens: Tokens of the answer, likewise.
    """

    key: str
    kind: str
    text: str
    prompt_tokens: int
    completion_tokens: int


_KINDS = {"key": str, "kind": str, "text": str, "prompt_tokens": int, "completion_tokens": int}


def read_journal(path: Path) -> Mapping[str, Entry]:
    """The answers in `path` by the key of their request, the first one where a request was answered twice; none if there is no such file.

    A last line without its end is what a kill leaves in the middle of writing; it is passed over, and its request asked again.

    Raises:
        DataError: a finished line is no entry.
    """
    entries: dict[str, Entry] = {}
    for number, line in enumerate(_finished_lines(path), start=1):
        entry = _parse(line, where=f"{path}: line {number}")
        entries.setdefault(entry.key, entry)
    return entries


@contextmanager
def appending(path: Path) -> Iterator[Callable[[Entry], None]]:
    """Yield a function that adds one entry to `path`, on disk when it returns. What a kill left of a last line is cut off first.

    Raises:
        DataError: the file cannot be written.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        finished = sum(len(line) + 1 for line in _finished_lines(path))
        file = path.open("ab")

    def append(entry: Entry) -> None:
        with _writing(path):
            file.write(json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    with file:
        file.truncate(finished)
        yield append


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}; free space or choose another place, then start again: "
            "every answer that is in it already will be used"
        ) from error


def _finished_lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _parse(line: bytes, *, where: str) -> Entry:
    way_out = "remove that line, or choose another file as journal"
    values = parsed(line, dict, where=where, error=DataError, way_out=way_out)
    if {name: type(value) for name, value in values.items()} != _KINDS:
        raise DataError(f"{where} is no entry of a journal; {way_out}")
    return Entry(**values)
