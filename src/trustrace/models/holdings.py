"""What a stream has brought to the disk, or has asked room for: never more than its budget, and nothing that was there before it."""

import contextlib
import fcntl
import json
import re
import shutil
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trustrace.core.errors import CheckpointError, ConfigError
from trustrace.models.shelf import HubFile, Shelf

SPARE = 1 << 27
"""Bytes that are left free on the disk: results are written, too."""

JOURNALS = Path(".locks", "trustrace")
"""The folder in the hub's cache where streams write down what they bring, so that what is left of a killed one can go."""

ROOM = "trustrace-room.lock"
"""The file beside that folder which is held while room on the disk is taken."""

_OWN = "[0-9a-f]" * 12
"""What tells the journals of one repository and host apart, as a pattern."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What one checkpoint takes.

    Attributes:
        commit: The checkpoint's.
        files: Its files.
        links: Those of its places on the shelf that were empty before.
    """

    commit: str
    files: tuple[HubFile, ...]
    links: tuple[Path, ...]

    @property
    def contents(self) -> frozenset[str]:
        """The hashes of its files."""
        return frozenset(file.content for file in self.files)


class Holdings:
    """The claims of one stream on one shelf. Whoever calls sees to it that only one thread does at a time.

    Room is taken before anything is fetched: the footprint of a checkpoint's missing files, each content once. It is given back when
    the checkpoint goes, but for contents that another claim still has.
    """

    def __init__(self, shelf: Shelf, *, budget: int | None, keep: bool) -> None:
        """Take over what killed streams left on `shelf`.

        Args:
            shelf: The repository's place in the cache.
            budget: Bytes; None is what the disk has.
            keep: Whether what is brought stays when its claim ends.

        Raises:
            ConfigError: the file system of the cache has no locks.
        """
        self._shelf, self._budget, self._keep = shelf, budget, keep
        self._claims: dict[str, Claim] = {}
        self._journal = _Journal(shelf)
        self._sizes: dict[str, int] = dict(self._journal.inherited)

    @property
    def held(self) -> int:
        """Bytes that are taken."""
        return sum(self._sizes.values())

    def close(self) -> None:
        """Write no more; what is still held stays, and belongs to no stream any longer."""
        self._journal.close()

    def claim(self, commit: str, files: Sequence[HubFile], *, name: str) -> bool:
        """Take the room for a checkpoint; False where other claims have to go first, of this stream or of another one on this disk.

        Raises:
            ConfigError: the checkpoint is larger than the whole budget.
            CheckpointError: the disk has no room for it, and nobody here will give back any.
        """
        with self._journal.alone():
            return self._claim(commit, files, name=name)

    def _claim(self, commit: str, files: Sequence[HubFile], *, name: str) -> bool:
        if not self._claims:
            self._let_go_of_leftovers(commit, keeping={file.content for file in files})
        elsewhere = self._journal.elsewhere()
        missing = {file.content: file for file in files if self._is_to_be_brought(file, elsewhere)}
        wanted = sum(file.footprint for file in missing.values())
        alone = sum({file.content: file.footprint for file in files if self._is_ours(file, missing)}.values())
        if self._budget is not None and alone > self._budget:
            raise ConfigError(
                f"{name}: {_size(alone)} on the disk, more than the budget of {_size(self._budget)}; "
                f"raise the budget to {_size(alone)}, or to {_size(2 * alone)} for the next one to be fetched meanwhile"
            )
        if self._budget is not None and self.held + wanted > self._budget:
            return False
        if not self._fits_the_disk(missing):
            if self._claims or self._journal.others_hold():
                return False
            raise CheckpointError(
                f"{name}: {_size(wanted)} are to be fetched, but the disk of {self._shelf.cache} has no room for them "
                f"and {_size(SPARE)} beside; free some, or set HF_HOME to another disk"
            )
        self._take(commit, files, missing)
        return True

    def release(self, commit: str, *, is_complete: bool = True) -> None:
        """End a claim: the files leave the disk, but for what was there before, and what another claim or revision uses.

        Where files are kept, those of a checkpoint that is complete stay, and belong to no stream any longer.
        """
        claim = self._claims[commit]
        needed = {content for other in self._claims.values() if other is not claim for content in other.contents}
        ours = {content for content in claim.contents if content in self._sizes}
        if not (self._keep and is_complete):
            links = {self._shelf.link(commit, file.name) for file in claim.files if file.content in ours}
            links = set() if commit in self._journal.commits_elsewhere() else links | set(claim.links)
            contents = ours - needed - self._journal.elsewhere()
            self._shelf.remove(links=links, contents=contents)
        del self._claims[commit]
        self._forget(ours - needed)

    def discard(self, commit: str, file: HubFile) -> bool:
        """Remove one file that is not what the hub lists; False where it was there before, and is not ours to remove."""
        if file.content not in self._sizes:
            return False
        self._shelf.remove(links=[self._shelf.link(commit, file.name)], contents=[file.content])
        return True

    def _take(self, commit: str, files: Sequence[HubFile], missing: Mapping[str, HubFile]) -> None:
        links = [self._shelf.link(commit, file.name) for file in files]
        links.append(self._shelf.tree(commit))
        fresh = tuple(link for link in links if not link.exists())
        self._claims[commit] = Claim(commit=commit, files=tuple(files), links=fresh)
        self._sizes |= {content: file.footprint for content, file in missing.items()}
        self._write()

    def _is_to_be_brought(self, file: HubFile, elsewhere: frozenset[str]) -> bool:
        """What another stream brought counts for this one, too: it goes with the last of them."""
        is_there = self._shelf.blob(file.content).exists() and file.content not in elsewhere
        return file.content not in self._sizes and not is_there

    def _is_ours(self, file: HubFile, missing: Mapping[str, HubFile]) -> bool:
        return file.content in self._sizes or file.content in missing

    def _fits_the_disk(self, missing: Mapping[str, HubFile]) -> bool:
        """Room for what is `missing`, for what is promised and not fetched yet, here and by other streams, and to spare."""
        wanted = {self._shelf.blob(content): file.footprint for content, file in missing.items()}
        promised = {self._shelf.blob(content): size for content, size in self._sizes.items()}
        absent = {
            path: size for path, size in (self._journal.promised() | promised | wanted).items() if not path.exists()
        }
        free = shutil.disk_usage(_existing(self._shelf.cache)).free
        return not (wanted.keys() & absent.keys()) or sum(absent.values()) + SPARE <= free

    def _let_go_of_leftovers(self, commit: str, *, keeping: set[str]) -> None:
        """With no claim open, whatever is held was left by streams that were killed: it goes, but for what comes next."""
        if not self._sizes:
            return
        next_ones = self._shelf.link(commit, "")
        left = self._sizes.keys() - keeping
        # Another stream may have taken over what the killed one was to measure.
        unused = left - self._journal.elsewhere()
        links = {link for link, content in self._shelf.links() if content in self._sizes.keys() - (left - unused)}
        self._shelf.remove(links={link for link in links if next_ones not in link.parents}, contents=unused)
        self._forget(left)

    def _forget(self, contents: Iterable[str]) -> None:
        for content in contents:
            del self._sizes[content]
        self._write()

    def _write(self) -> None:
        self._journal.write(self._sizes, is_kept=self._keep, commits=tuple(self._claims))


class _Journal:
    """A file that says what its stream has brought or will bring, locked while the stream lives; those of dead streams are taken over.

    What is to be kept stands apart: it is nobody's to take over, but has its room.
    """

    def __init__(self, shelf: Shelf) -> None:
        folder = shelf.cache / JOURNALS
        folder.mkdir(parents=True, exist_ok=True)
        self.inherited = dict(_inherited(folder, shelf.root.name))
        self._repository = shelf.root.name
        self._path = folder / f"{self._repository}.{_host()}.{uuid.uuid4().hex[:12]}.json"
        self._lock = _locked(self._path.with_suffix(".lock"))
        self.write(self.inherited)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While the body runs, no other stream takes room on this disk."""
        with (self._path.parent.parent / ROOM).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def write(self, sizes: Mapping[str, int], *, is_kept: bool = False, commits: Sequence[str] = ()) -> None:
        """Say that these contents are brought, or will be, and which revisions are used."""
        scratch = self._path.with_suffix(".part")
        said = {"repository": self._repository, "commits": commits, "brought": {}, "kept": {}}
        scratch.write_text(json.dumps(said | {"kept" if is_kept else "brought": dict(sizes)}), encoding="utf-8")
        scratch.replace(self._path)

    def promised(self) -> dict[Path, int]:
        """What the other streams of this host hold, fetched or not, and where it lies."""
        cache = self._path.parents[len(JOURNALS.parts)]
        return {
            cache / said["repository"] / "blobs" / content: size
            for said in self._others()
            for content, size in (said["brought"] | said["kept"]).items()
        }

    def others_hold(self) -> bool:
        """Whether another stream of this host holds something, and will give it back."""
        return any(said["brought"] or said["kept"] for said in self._others())

    def _others(self) -> Iterator[dict[str, Any]]:
        """What the other streams of this host say that live."""
        for path in self._path.parent.glob(f"*.{_host()}.{_OWN}.json"):
            if path != self._path and _is_locked(path.with_suffix(".lock")):
                yield _read(path)

    def elsewhere(self) -> frozenset[str]:
        """The contents that other streams of the repository wrote down."""
        return frozenset(content for said in self._others_of_the_repository() for content in said["brought"])

    def commits_elsewhere(self) -> frozenset[str]:
        """The revisions that other streams of the repository use."""
        return frozenset(commit for said in self._others_of_the_repository() for commit in said["commits"])

    def _others_of_the_repository(self) -> Iterator[dict[str, Any]]:
        return (_read(path) for path in self._path.parent.glob(f"{self._repository}.*.json") if path != self._path)

    def close(self) -> None:
        """Nothing is left behind where nothing is held."""
        if self._path.is_file() and not _read(self._path)["brought"]:
            self._path.unlink()
            self._path.with_suffix(".lock").unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()


def _inherited(folder: Path, repository: str) -> Iterator[tuple[str, int]]:
    """What streams of the same repository and host wrote down that live no more; their journals are gone afterwards.

    Where machines share a cache, a lock may hold on the one alone that took it: who lives on another one cannot be told.
    """
    for path in sorted(folder.glob(f"{repository}.{_host()}.{_OWN}.json")):
        lock = _locked(path.with_suffix(".lock"))
        if lock is None:
            continue
        with lock:
            # A stream that ends removes its own journal, perhaps just now.
            yield from _read(path)["brought"].items()
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """What a journal says; nothing where its stream has just removed it."""
    try:
        said: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {"repository": "", "commits": [], "brought": {}, "kept": {}}
    return said


def _locked(path: Path) -> IO[str] | None:
    """The file at `path`, locked until it is closed or the process ends; None where another process has it.

    Raises:
        ConfigError: its file system has no locks.
    """
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    except OSError as error:
        lock.close()
        path.unlink(missing_ok=True)
        raise ConfigError(
            f"{path.parent}: its file system locks no files ({error.strerror}), so that processes could remove what others use; "
            "set HF_HOME to a folder on a disk of this machine"
        ) from error
    return lock


def _is_locked(path: Path) -> bool:
    """Whether a process has the file at `path`, if there is one."""
    if not path.exists():
        return False
    lock = _locked(path)
    if lock is not None:
        lock.close()
    return lock is None


def _host() -> str:
    """The name of this machine, as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:60]


def _existing(folder: Path) -> Path:
    """The nearest folder above that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _size(count: int) -> str:
    units = ["B", "kB", "MB", "GB", "TB"]
    power = min(len(units) - 1, max(0, (len(str(count)) - 1) // 3))
    return f"{count / 1000**power:.3g} {units[power]}"
