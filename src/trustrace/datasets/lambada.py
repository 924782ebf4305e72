"""LAMBADA: passages of novels whose last word can be guessed from the whole passage, and not from the last sentence alone."""

import json
from pathlib import Path
from typing import Literal

from trustrace.core.errors import DataError
from trustrace.datasets import sources
from trustrace.datasets.sources import SourceFile

Variant = Literal["openai", "tokenised"]

_COMMIT = "161accd153943a502ec7e3983c448dda07f9d975"


def _file(name: str, sha256: str, title: str) -> SourceFile:
    return SourceFile(
        local=f"lambada/{name}",
        url=f"https://raw.githubusercontent.com/Victorwz/VaLM/{_COMMIT}/data/lambada/{name}",
        sha256=sha256,
        title=f"LAMBADA, test passages, {title} (Paperno et al. 2016), mirrored",
        licence="CC-BY-4.0",
        commit=_COMMIT,
    )


FILES: dict[Variant, SourceFile] = {
    "openai": _file(
        "lambada_test.jsonl",
        "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226",
        "as the authors of GPT-2 restored them",
    ),
    "tokenised": _file(
        "lambada_test_plain_text.txt",
        "4ab6062b68422bf2e83653d367c9765d42404f7ec21b8b59b6518b45606aaef2",
        "lower case, a space before every sign",
    ),
}


def passages(variant: Variant = "openai", *, data_dir: Path | None = None) -> tuple[str, ...]:
    """The 5,153 test passages.

    Args:
        variant: ``openai`` with case and spacing as in print, which is what lm-evaluation-harness calls ``lambada_openai``; or
            ``tokenised``, as first published.
        data_dir: The folder of data; that of ``TRUSTRACE_DATA`` if not given. What it lacks is downloaded.

    Raises:
        DataError: the file cannot be had or is of another format.
    """
    file = FILES[variant]
    # Only \n ends a line: splitlines would also break at the U+2028 that a passage may hold.
    lines = [line for line in sources.read_text(file, data_dir=data_dir).split("\n") if line.strip()]
    return tuple(_text(line, file) for line in lines) if variant == "openai" else tuple(line.strip() for line in lines)


def _text(line: str, file: SourceFile) -> str:
    try:
        return str(json.loads(line)["text"])
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{file.url} holds a line without a text: {line[:60]!r}; its format has changed: use the pinned mirror"
        ) from None


def last_word(passage: str) -> tuple[str, str]:
    """A passage as everything before its last space, and that space with the last word: what the task gives, and what it asks for."""
    before, _, word = passage.rpartition(" ")
    return before, f" {word}"
