"""Documents become one memory-mapped row of tokens, split by document, and each step knows which of its sequences it reads."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from jaxtyping import Int, UInt
from pydantic import ConfigDict
from transformers import PreTrainedTokenizerBase
from typing_extensions import TypedDict

from trustrace.core.documents import shaped
from trustrace.core.draws import generator
from trustrace.core.errors import CheckpointError, ConfigError, DataError
from trustrace.datasets import corpora
from trustrace.datasets.world import writing
from trustrace.training.config import Corpus, FolderCorpus, HubCorpus, WorldCorpus
from trustrace.training.folder import finish_folder, start_folder
from trustrace.training.tokenizer import encode

_CHARACTERS_AT_ONCE = 1_000_000


def documents(corpus: Corpus) -> Iterator[str]:
    """The documents that `corpus` describes, in a fixed order."""
    return islice(_source(corpus), corpus.max_documents)


def _source(corpus: Corpus) -> Iterator[str]:
    match corpus:
        case WorldCorpus():
            return writing.corpus(seed=corpus.seed, n_tokens=corpus.words, n_documents=corpus.max_documents)
        case HubCorpus():
            return corpora.documents(
                corpus.name,
                split=corpus.split,
                column=corpus.column,
                subset=corpus.subset,
                revision=corpus.revision,
            )
        case FolderCorpus():
            return corpora.documents(filled_in(corpus.path))


def filled_in(path: str) -> Path:
    """`path` with its environment variables filled in.

    Raises:
        ConfigError: one of them is not set.
    """
    filled = os.path.expandvars(path)
    if "$" in filled:
        raise ConfigError(
            f"{path}: an environment variable in this path is not set; set it, or write the folder itself"
        )
    return Path(filled).expanduser()


def split_documents(texts: Iterable[str], *, held_out: float) -> Iterator[tuple[str, bool]]:
    """Each document and whether it is held out, which its text alone decides, so that equal documents stay on one side."""
    for text in texts:
        yield text, corpora.is_held_out(text, fraction=held_out)


class _Packed(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    dtype: Literal["uint16", "uint32"]
    train_tokens: int
    held_out_tokens: int
    train_documents: int
    held_out_documents: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PackedCorpus:
    """A corpus as tokens on disk, document after document.

    Attributes:
        folder: Holds ``train.bin``, ``held_out.bin`` and, written last, ``corpus.json``.
        dtype: ``uint16`` or ``uint32``, whichever the vocabulary needs.
        train_tokens: Tokens in ``train.bin``.
        held_out_tokens: Tokens in ``held_out.bin``.
        train_documents: Documents in ``train.bin``.
        held_out_documents: Documents in ``held_out.bin``.
        sha256: Of the documents' text in order, each followed by a zero byte.
    """

    folder: Path
    dtype: str
    train_tokens: int
    held_out_tokens: int
    train_documents: int
    held_out_documents: int
    sha256: str

    @cached_property
    def train(self) -> UInt[np.ndarray, " place"]:
        """The training tokens, memory-mapped."""
        return self._mapped("train.bin", self.train_tokens)

    @cached_property
    def held_out(self) -> UInt[np.ndarray, " place"]:
        """The held-out tokens, memory-mapped."""
        return self._mapped("held_out.bin", self.held_out_tokens)

    def _mapped(self, name: str, count: int) -> UInt[np.ndarray, " place"]:
        path = self.folder / name
        expected = count * np.dtype(self.dtype).itemsize
        if not path.is_file() or path.stat().st_size != expected:
            raise CheckpointError(
                f"{path}: expected {expected:,} bytes of packed tokens; remove {self.folder} to pack anew"
            )
        return np.memmap(path, dtype=self.dtype, mode="r", shape=(count,))


def pack(
    texts: Iterable[tuple[str, bool]], *, tokenizer: PreTrainedTokenizerBase, folder: Path, min_tokens: int
) -> PackedCorpus:
    """Write documents as tokens to `folder`, which appears once it is whole.

    Args:
        texts: Documents and whether they are held out.
        tokenizer: Writes the tokens; an end-of-text token follows each document.
        folder: Where; must not exist yet.
        min_tokens: What each of the two parts needs to hold one sequence.

    Raises:
        DataError: the training or the held-out part is shorter than that.
    """
    partial = start_folder(folder)
    dtype = np.dtype("uint16" if len(tokenizer) <= 1 << 16 else "uint32")
    digest = hashlib.sha256()
    tokens, counts = [0, 0], [0, 0]
    with (partial / "train.bin").open("wb") as train, (partial / "held_out.bin").open("wb") as held_out:
        for chunk in _chunks(texts):
            for (text, held), row in zip(chunk, encode(tokenizer, [text for text, _ in chunk]), strict=True):
                digest.update(text.encode() + b"\0")
                _append(row, held_out if held else train, dtype)
                tokens[held] += len(row)
                counts[held] += 1
    _require_tokens(tokens, counts, min_tokens)
    packed = PackedCorpus(
        folder=folder,
        dtype=dtype.name,
        train_tokens=tokens[0],
        held_out_tokens=tokens[1],
        train_documents=counts[0],
        held_out_documents=counts[1],
        sha256=digest.hexdigest(),
    )
    record = {key: value for key, value in asdict(packed).items() if key != "folder"}
    (partial / "corpus.json").write_text(json.dumps(record, indent=1))
    finish_folder(folder)
    return packed


def open_packed(folder: Path) -> PackedCorpus:
    """The packed corpus in `folder`.

    Raises:
        DataError: it holds none.
    """
    path = folder / "corpus.json"
    way_out = f"remove {folder}, and the corpus is packed again"
    return PackedCorpus(
        folder=folder, **shaped(path.read_bytes(), _Packed, where=path, error=DataError, way_out=way_out)
    )


def _append(row: list[int], file: BinaryIO, dtype: np.dtype[np.generic]) -> None:
    file.write(np.asarray(row, dtype=dtype).tobytes())


def _chunks(texts: Iterable[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    """About a million characters at a time: enough for the tokenizer to be fast, little enough to be held."""
    chunk: list[tuple[str, bool]] = []
    size = 0
    for text, held in texts:
        chunk.append((text, held))
        size += len(text)
        if size >= _CHARACTERS_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _require_tokens(tokens: list[int], counts: list[int], min_tokens: int) -> None:
    if tokens[0] < min_tokens:
        raise DataError(
            f"the corpus has {tokens[0]} training tokens in {counts[0]} documents; one sequence needs {min_tokens}: "
            "add text or shorten the sequences"
        )
    if tokens[1] < min_tokens:
        raise DataError(
            f"{counts[1]} of {sum(counts)} documents are held out, with {tokens[1]} tokens; one sequence needs {min_tokens}: "
            "raise held_out, add documents, or cut large ones into several"
        )


def windows(
    tokens: UInt[np.ndarray, " place"], rows: Int[np.ndarray, " sequence"], *, length: int
) -> Int[np.ndarray, "sequence {length}+1"]:
    """The sequences `rows`: sequence i reads tokens ``i * length`` .. ``(i + 1) * length``, one more than it predicts."""
    return np.stack([tokens[row * length : (row + 1) * length + 1] for row in rows]).astype(np.int64)


def n_windows(n_tokens: int, *, length: int) -> int:
    """Whole sequences of `length` predicted tokens in a row of `n_tokens`."""
    return (n_tokens - 1) // length


def rows_of_step(step: int, *, batch: int, n_sequences: int, seed: int) -> Int[np.ndarray, " sequence"]:
    """Which sequences step 0, 1, 2, ... reads: all of them in a drawn order, then all of them in another.

    A function of its arguments alone, so that a run resumes at any step without having kept a place.
    """
    places = np.arange(step * batch, (step + 1) * batch)
    epochs, offsets = np.divmod(places, n_sequences)
    return np.array(
        [_order(int(epoch), n_sequences, seed)[offset] for epoch, offset in zip(epochs, offsets, strict=True)]
    )


@lru_cache(maxsize=2)
def _order(epoch: int, n_sequences: int, seed: int) -> Int[np.ndarray, " sequence"]:
    return generator(seed, "order", epoch).permutation(n_sequences)
