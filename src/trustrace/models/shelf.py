"""The hub's cache of one repository: what of a revision lies there, whether it is what the hub holds, and how some of it goes again."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import DeleteCacheStrategy, constants
from huggingface_hub.file_download import repo_folder_name

BLOCK = 4096
"""What a file system hands out; a file takes whole blocks, and another for its link."""

_CHUNK = 1 << 22
_SHA256_DIGITS = 64


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of a revision as the hub lists it.

    Attributes:
        name: Its name in the repository.
        size: Its bytes.
        content: The hash of its content: SHA-256 of a large file, git's own hash of a small one. The cache keeps it under this name.
    """

    name: str
    size: int
    content: str

    @property
    def footprint(self) -> int:
        """The most that it takes on the disk, its link included."""
        return -(-self.size // BLOCK) * BLOCK + BLOCK


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """What the hub's cache holds of one repository.

    Attributes:
        cache: The hub's cache.
        repository: ``owner/name``.
    """

    cache: Path
    repository: str

    @classmethod
    def of(cls, repository: str) -> "Shelf":
        """The place of `repository` in the cache that the hub's client uses."""
        return cls(cache=Path(constants.HF_HUB_CACHE).expanduser().resolve(), repository=repository)

    @property
    def root(self) -> Path:
        """The folder of the repository."""
        return self.cache / repo_folder_name(repo_id=self.repository, repo_type="model")

    def blob(self, content: str) -> Path:
        """Where the content of that hash lies."""
        return self.root / "blobs" / content

    def link(self, commit: str, name: str) -> Path:
        """Where the file `name` of a revision is found."""
        return self.root / "snapshots" / commit / name

    def tree(self, commit: str) -> Path:
        """Where the client keeps the listing of a revision."""
        return self.root / "trees" / f"{commit}.json"

    def used(self) -> frozenset[str]:
        """The hashes of all contents that are a file of some revision."""
        return frozenset(content for _, content in self.links())

    def links(self) -> Iterator[tuple[Path, str]]:
        """Every file of every revision with the hash of its content. Other streams may put files there and remove some meanwhile."""
        for folder, _, names in os.walk(self.root / "snapshots"):
            for name in names:
                link = Path(folder, name)
                try:
                    content = link.readlink().name
                except OSError:
                    continue
                yield link, content

    def remove(self, *, links: Iterable[Path], contents: Iterable[str]) -> None:
        """Remove files of revisions, and contents that no revision uses any more, with whatever a broken download left of them."""
        links = frozenset(links)
        self._delete(links=links, blobs=frozenset())
        gone = frozenset(self.blob(content) for content in frozenset(contents) - self.used())
        self._delete(links=frozenset(), blobs=frozenset(blob for blob in gone if blob.exists() or blob.is_symlink()))
        for blob in gone:
            for partial in blob.parent.glob(f"{blob.name}.*.incomplete"):
                partial.unlink(missing_ok=True)
        for folder in {link.parent for link in links}:
            _remove_if_empty(folder)

    def _delete(self, *, links: frozenset[Path], blobs: frozenset[Path]) -> None:
        """By the client's own hand, which knows of contents that several repositories share."""
        DeleteCacheStrategy(
            expected_freed_size=0,
            blobs=blobs,
            refs=frozenset(),
            repos=frozenset(),
            snapshots=frozenset(),
            files=links,
            cache_dir=self.cache,
        ).execute()


def differs(path: Path, file: HubFile, *, heed: Callable[[], None]) -> bool:
    """Whether the bytes at `path` are others than those of `file`; a missing file differs, too.

    Args:
        path: Where they are.
        file: What the hub lists.
        heed: Called between reads of a large file; what it raises ends the reading.
    """
    if not path.is_file() or path.stat().st_size != file.size:
        return True
    digest = hashlib.sha256() if len(file.content) == _SHA256_DIGITS else _git_digest(file.size)
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            heed()
            digest.update(chunk)
    return digest.hexdigest() != file.content


def _git_digest(size: int) -> "hashlib._Hash":
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def _remove_if_empty(folder: Path) -> None:
    # Only the removal itself can tell whether it is empty: another stream may fill or remove it at any time.
    with contextlib.suppress(OSError):
        folder.rmdir()
