"""Alignment pairs: two answers to one prompt of which one is preferred; their contrast gives a universal vector.

Three formats are known by their columns:

* own: ``{"prompt": ..., "chosen": ..., "rejected": ...}``
* hh-rlhf: ``chosen`` and ``rejected`` alone, whole dialogues of ``Human:`` and ``Assistant:`` turns that differ in the last answer.
* PKU-SafeRLHF: ``prompt``, ``response_0``, ``response_1``, ``safer_response_id``, and, if present, whether each response is safe.

References:
    Bai et al. (2022), Training a helpful and harmless assistant with reinforcement learning from human feedback.
    Ji et al. (2023), BeaverTails: towards improved safety alignment of LLM via a human-preference dataset.
"""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trustrace.core.documents import parsed
from trustrace.core.errors import AlignmentError, DataError
from trustrace.core.parquet import parquet_table, rows_of
from trustrace.core.statements import LabelMeaning, Source, Statements
from trustrace.datasets.cleaning import distinct
from trustrace.datasets.files import MAXIMUM_ROWS
from trustrace.datasets.grouping import normalise
from trustrace.datasets.splits import assign_splits

MEANING = LabelMeaning(one="the chosen (safer) answer", zero="the rejected answer", desired=1)

MAXIMUM_BYTES = 4_000_000_000
"""Of a gzip file, unpacked."""

_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
_OWN = ("prompt", "chosen", "rejected")
_DIALOGUES = ("chosen", "rejected")
_SAFETY = ("prompt", "response_0", "response_1", "safer_response_id")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two texts that answer one prompt.

    Attributes:
        prompt: What both answer; pairs that share it form a group.
        chosen: Prompt and preferred answer.
        rejected: Prompt and the other answer.
    """

    prompt: str
    chosen: str
    rejected: str


def read_pairs(path: Path, *, name: str | None = None, seed: int = 0) -> Statements:
    """The pairs of a file as statements: each answer with its prompt, 1 = chosen.

    A prompt and its answer become a dialogue, ``Human: <prompt>``, an empty line, ``Assistant: <answer>``; dialogues stay as they are.
    Pairs whose answers are equal, or of which none is preferred, are dropped; a text that occurs again counts once, and one that is chosen
    here and rejected there not at all. All of it is counted in the source's note. Pairs with one prompt form a group; of dialogues, the
    first question is the prompt, since the same conversation occurs at several lengths.

    Args:
        path: A ``.jsonl``, ``.jsonl.gz`` or ``.parquet`` file.
        name: The dataset's name; the file's stem if not given.
        seed: Of the split.

    Raises:
        DataError: the file cannot be read, a row cannot be used, or too little remains.
        AlignmentError: the columns are of no known format.
    """
    rows = list(rows_in(path))
    if not rows:
        raise DataError(
            f"{path} holds no pairs; write one JSON object a line: {{'prompt': ..., 'chosen': ..., 'rejected': ...}}"
        )
    pairs = [pair for place, row in rows if (pair := _pair(row, f"{path}: {place}")) is not None]
    texts = tuple(text for pair in pairs for text in (pair.chosen, pair.rejected))
    labels = (1, 0) * len(pairs)
    groups = tuple(normalise(pair.prompt) for pair in pairs for _ in range(2))
    found = distinct(texts, labels)
    if not found.kept:
        raise DataError(f"{path}: none of {len(rows)} pairs can be used: answers are equal, or none is preferred")
    kept_groups = tuple(groups[row] for row in found.kept)
    kept_labels = tuple(labels[row] for row in found.kept)
    return Statements(
        name=name or path.name.split(".")[0],
        dimension="custom",
        texts=tuple(texts[row] for row in found.kept),
        labels=kept_labels,
        groups=kept_groups,
        splits=assign_splits(groups=kept_groups, labels=kept_labels, seed=seed),
        meaning=MEANING,
        source=Source(
            title=path.name,
            licence="not stated",
            note=f"{len(rows)} pairs; dropped: {len(rows) - len(pairs)} ties, {found.duplicates} repeated answers, "
            f"{found.contradictions} rows both chosen and rejected",
        ),
    )


def rows_in(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row of a ``.jsonl``, ``.jsonl.gz`` or ``.parquet`` file, and where it stands.

    Raises:
        DataError: the file is of another format, cannot be read, or a line is no JSON object.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix == ".parquet":
        yield from ((f"row {number}", row) for number, row in enumerate(_parquet(path)))
        return
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(f"{path}: unknown format; pairs are read from .jsonl, .jsonl.gz or .parquet files")
    # Only \n ends a line of JSON Lines: splitlines would also break at the U+2028 that a text may hold.
    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _object(line, f"{path}: line {number}")


def _decoded(path: Path) -> str:
    try:
        return (_unpacked(path) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8-sig")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); download it again") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None


def _unpacked(path: Path) -> bytes:
    """The content of a gzip file, of which a thousandth of the size is enough for a promise that fills the memory."""
    with gzip.open(path) as packed:
        content = packed.read(MAXIMUM_BYTES + 1)
    if len(content) > MAXIMUM_BYTES:
        raise DataError(f"{path} unpacks to more than {MAXIMUM_BYTES:,} bytes; divide it, or unpack it yourself")
    return content


def _object(line: str, place: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = parsed(line, dict, where=place, error=DataError, way_out="write one object a line")
    return row


def _parquet(path: Path) -> list[dict[str, Any]]:
    again = "write it again"
    table = parquet_table(path.read_bytes(), where=path, error=DataError, way_out=again, most_rows=MAXIMUM_ROWS)
    return rows_of(table, where=path, error=DataError, way_out=again)


def _pair(row: Mapping[str, Any], place: str) -> Pair | None:
    """The pair in a row of any known format; None for a tie."""
    if all(column in row for column in _SAFETY):
        return _of_safety(row, place)
    if all(column in row for column in _OWN):
        prompt, chosen, rejected = (text_in(row, column, place) for column in _OWN)
        return _answered(prompt, chosen, rejected)
    if all(column in row for column in _DIALOGUES):
        return _of_dialogues(text_in(row, "chosen", place), text_in(row, "rejected", place), place)
    raise AlignmentError(
        f"{place} has the columns {sorted(row)}; expected {_OWN}, {_DIALOGUES} with whole dialogues, or {_SAFETY}"
    )


def _of_safety(row: Mapping[str, Any], place: str) -> Pair | None:
    """The safer response is chosen; a tie where none is said to be, or where what is said contradicts the judgement of each."""
    chosen = row["safer_response_id"]
    if chosen is None or chosen == -1:
        return None
    if chosen not in (0, 1):
        raise DataError(f"{place}: safer_response_id is {chosen!r}; expected 0, 1, or -1 where neither is safer")
    chosen = int(chosen)
    rejected = 1 - chosen
    if row.get(f"is_response_{chosen}_safe") is False and row.get(f"is_response_{rejected}_safe") is True:
        return None
    texts = [text_in(row, f"response_{number}", place) for number in (chosen, rejected)]
    return _answered(text_in(row, "prompt", place), *texts)


def _answered(prompt: str, chosen: str, rejected: str) -> Pair | None:
    if normalise(chosen) == normalise(rejected):
        return None
    asked = f"Human: {prompt.strip()}{_ASSISTANT}"
    return Pair(prompt=prompt, chosen=f"{asked} {chosen.strip()}", rejected=f"{asked} {rejected.strip()}")


def _of_dialogues(chosen: str, rejected: str, place: str) -> Pair | None:
    """Two dialogues that share their beginning, up to an answer."""
    if normalise(chosen) == normalise(rejected):
        return None
    opened = [f"\n\n{text.strip()}" for text in (chosen, rejected)]
    shared = _beginning(*opened)
    if not shared.startswith(_HUMAN) or _ASSISTANT not in shared:
        raise DataError(
            f"{place}: the dialogues share no question; both must begin with the same 'Human:' turn, followed by 'Assistant:'; "
            "or give the columns prompt, chosen, rejected"
        )
    first = shared.removeprefix(_HUMAN).split(_ASSISTANT)[0]
    return Pair(prompt=first, chosen=opened[0].strip(), rejected=opened[1].strip())


def _beginning(one: str, other: str) -> str:
    """What both texts begin with."""
    differing = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[: next(differing, min(len(one), len(other)))]


def text_in(row: Mapping[str, Any], column: str, place: str) -> str:
    """What `column` says.

    Raises:
        DataError: nothing, or no text.
    """
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: {column} is {value!r}; write text or remove the row")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f"{place}: {column} holds half of a surrogate pair, which is no character; remove it")
    return value
