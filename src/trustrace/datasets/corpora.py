"""Pre-training corpora: one document after another, from a folder of text files or a dataset of the Hugging Face hub."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from trustrace.core.errors import AlignmentError, ConfigError, DataError, MissingExtraError


def documents(
    source: Path | str,
    *,
    split: str = "train",
    column: str = "text",
    subset: str | None = None,
    revision: str | None = None,
) -> Iterator[str]:
    """The documents of a corpus, always in the same order, read one at a time.

    Args:
        source: A folder, whose ``.txt`` files (also in folders below) are documents in the order of their paths; one ``.txt`` file; or the
            name of a hub dataset such as ``roneneldan/TinyStories``, which is streamed.
        split: The split of a hub dataset.
        column: The column of a hub dataset that holds the text.
        subset: The configuration of a hub dataset that has several.
        revision: The commit of a hub dataset; without one, the order is only as stable as the dataset.

    Yields:
        Documents with text in them; those without any are left out.

    Raises:
        DataError: there is no such folder or dataset, it holds no document, or a file is not UTF-8.
        AlignmentError: a hub dataset has no such column.
        MissingExtraError: `source` is on the hub and the extra ``hub`` is not installed.
    """
    if is_local(source):
        return _of_files(_files(Path(source)), Path(source))
    return _of_hub(str(source), split=split, column=column, subset=subset, revision=revision)


def is_local(source: Path | str) -> bool:
    """Whether `source` names something on disk rather than on the hub; a hub name is ``name`` or ``owner/name`` and not a path."""
    if isinstance(source, Path) or Path(source).exists():
        return True
    return source.startswith(("/", ".", "~")) or source.count("/") > 1 or source.endswith((".txt", "/"))


def is_held_out(document: str, *, fraction: float) -> bool:
    """Whether `document` belongs to the part that is never trained on.

    The answer is a function of the text alone: the first eight bytes of its SHA-256, as a number in [0, 1), lie below `fraction`. So it
    depends neither on order, nor on a seed, nor on what else is in the corpus, and equal documents are on one side.

    Raises:
        ConfigError: `fraction` is not between 0 and 1.
    """
    if not 0 <= fraction < 1:
        raise ConfigError(
            f"a held-out fraction of {fraction} leaves nothing to train on or makes no sense; choose one from 0 up to below 1"
        )
    digest = hashlib.sha256(document.encode("utf-8", errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(
            f"{source}: no such folder; a corpus is a folder of .txt files, or the name of a hub dataset such as owner/name"
        )
    # By parts, not by string: "a/b" stands before "a.txt" on every file system.
    found = sorted(
        (path for path in source.rglob("*.txt") if path.is_file()), key=lambda path: path.relative_to(source).parts
    )
    if not found:
        raise DataError(
            f"{source}: no .txt file in this folder or below; a corpus is one document a file, as UTF-8 text"
        )
    return found


def _of_files(paths: list[Path], source: Path) -> Iterator[str]:
    empty = True
    for path in paths:
        text = _decoded(path)
        if text.strip():
            empty = False
            yield text
    if empty:
        raise DataError(f"{source}: every .txt file is empty; a corpus needs text")


def _decoded(path: Path) -> str:
    try:
        # Line ends are made one kind, so that a corpus checked out on Windows is the same corpus.
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 at byte {error.start} (0x{error.object[error.start]:02x}); save the file as UTF-8"
        ) from None


def _of_hub(name: str, *, split: str, column: str, subset: str | None, revision: str | None) -> Iterator[str]:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError.of("datasets", extra="hub", purpose=f"reading {name!r} from the hub") from error
    try:
        rows = datasets.load_dataset(name, subset, split=split, streaming=True, revision=revision)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name}: neither a folder here nor a hub dataset that can be read (split {split!r}, subset {subset!r}): {error}"
        ) from error
    return _of_rows(rows, name, column)


def _of_rows(rows: Iterator[dict[str, object]], name: str, column: str) -> Iterator[str]:
    for row in rows:
        text = row.get(column)
        if not isinstance(text, str):
            raise AlignmentError(
                f"{name}: no text in column {column!r}; the columns are {sorted(row)}: name the one that holds the text"
            )
        if text.strip():
            yield text
