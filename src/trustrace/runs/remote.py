"""A run folder at a URL: the run works in a folder here, and what is finished is mirrored there.

The URL holds the same files as the folder. A unit is sent when it is finished, ``record.json`` last; one without its record is not there.
Processes on different machines that divide a run share it through the URL alone, where nothing can be locked: that no two of them do the
same share is up to whoever starts them. If it happens all the same, both send the same rows.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trustrace.core.errors import MissingExtraError, RunError
from trustrace.runs.files import publishing, replacing

RECORD = "record.json"
_SAFE = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*")
_SECRET = re.compile(r"(?<=://)[^/@]*@")
"""A user and a password in a URL."""


def is_url(place: str) -> bool:
    """Whether `place` is a URL and not a folder."""
    return "://" in place


def placed(out: str) -> tuple[Path, "Mirror | None"]:
    """The folder that a run to `out` works in, and where it is kept as well if `out` is a URL."""
    if not is_url(out):
        return Path(out), None
    import pooch

    mirror = Mirror(out)
    return mirror.folder_in(Path(pooch.os_cache("trustrace")) / "runs"), mirror


@dataclass(frozen=True)
class Mirror:
    """The place at `url` where a run folder is kept as well."""

    url: str

    @property
    def name(self) -> str:
        """What the URL is called in messages."""
        return _SECRET.sub("", self.url)

    def folder_in(self, cache: Path) -> Path:
        """The folder in `cache` that runs to this URL work in, always the same."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip("-.")[-60:]
        return cache / f"{readable}-{hashlib.sha256(self.url.rstrip('/').encode()).hexdigest()[:12]}"

    def meet(self, folder: Path, *, owner: str = "") -> None:
        """Make `folder` and the URL one run: units that one of them has not, it gets from the other.

        Raises:
            RunError: the URL holds another study, or something else, or cannot be reached.
        """
        self._require_the_same_study(folder)
        there = self.bring(folder, owner=owner)
        for unit in sorted(path.name for path in (folder / "units").glob("[!.]*") if path.name not in there):
            self.send_unit(folder / "units" / unit)

    def bring(self, folder: Path, *, owner: str = "") -> set[str]:
        """Fetch finished units that `folder` has not; the names of all that the URL has."""
        files = self._units()
        finished = set(files)
        for name in sorted(name for name in finished if not (folder / "units" / name).exists()):
            with publishing(folder / "units" / name, owner=owner) as scratch, self._explained("read"):
                for file in filter(_SAFE.fullmatch, files[name]):
                    self._system.get_file(self._at(f"units/{name}/{file}"), str(scratch / file))
        return finished

    def units(self) -> set[str]:
        """The names of the finished units that the URL has."""
        return set(self._units())

    def bring_failures(self, folder: Path, *, owner: str = "") -> None:
        """Fetch what is said at the URL of units that failed elsewhere."""
        with self._explained("read"):
            found = self._found("failures")
        for name in sorted(name for name in found if _SAFE.fullmatch(name) and name.endswith(".json")):
            unit, path = name.removesuffix(".json"), folder / "failures" / name
            if path.exists() or (folder / "units" / unit).exists():
                continue
            with replacing(path, owner=owner) as scratch, self._explained("read"):
                self._system.get_file(self._at(f"failures/{name}"), str(scratch))

    def send_unit(self, unit: Path) -> None:
        """Send the folder of a finished unit, its record last."""
        names = sorted((path.name for path in unit.iterdir()), key=lambda name: (name == RECORD, name))
        for name in names:
            self._put(unit / name, f"units/{unit.name}/{name}")

    def send(self, folder: Path, name: str) -> None:
        """Send the file `name` of the run in `folder`."""
        self._put(folder / name, name)

    def remove(self, name: str) -> None:
        """Remove the file `name` of the run, if it is there."""
        with self._explained("written"):
            if self._system.exists(self._at(name)):
                self._system.rm_file(self._at(name))

    def _require_the_same_study(self, folder: Path) -> None:
        with self._explained("read"):
            held = sorted(self._found(""))
            text = self._system.cat_file(self._at("study.json")) if "study.json" in held else None
        if text is None and held:
            raise RunError(
                f"{self.name} is not a run and holds other files ({', '.join(held[:3])}); choose an empty or new place with --out"
            )
        if text is None:
            self.send(folder, "study.json")
        elif _content(text) != _content((folder / "study.json").read_bytes()):
            raise RunError(f"{self.name} belongs to another study; choose another --out, or go back to its study")

    def _put(self, path: Path, name: str) -> None:
        with self._explained("written"):
            at = self._at(name)
            self._system.makedirs(at.rpartition("/")[0], exist_ok=True)
            self._system.put_file(str(path), at)

    def _found(self, name: str) -> list[str]:
        """Names in a folder of the run; none where it does not exist."""
        try:
            paths: Sequence[str] = self._system.ls(self._at(name), detail=False)
        except FileNotFoundError:
            return []
        return [path.rstrip("/").rpartition("/")[2] for path in paths if path.rstrip("/") != self._at(name)]

    def _units(self) -> Mapping[str, list[str]]:
        """The files of each finished unit, by one listing of all."""
        folders: dict[str, list[str]] = {}
        with self._explained("read"):
            for path in self._system.find(self._at("units")):
                *_, folder, file = path.split("/")
                folders.setdefault(folder, []).append(file)
        return {name: files for name, files in folders.items() if RECORD in files and _SAFE.fullmatch(name)}

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    @property
    def _system(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system of the URL, and the path in it. Listings are not remembered: others write there, too."""
        import fsspec

        scheme = self.url.partition("://")[0]
        try:
            system, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            if scheme in ("s3", "s3a"):
                raise MissingExtraError.of("s3fs", extra="s3", purpose=f"a run at {scheme}://") from None
            raise RunError(f"--out {self.name}: {error}") from None
        except ValueError as error:
            raise RunError(f"--out {self.name}: {error}; expected a folder, or a URL that fsspec knows") from None
        return system, root.rstrip("/")

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        """Turn whatever a file system says into one sentence; each of them has errors of its own."""
        try:
            yield
        except (RunError, MissingExtraError):
            raise
        except Exception as error:
            said = _SECRET.sub("", str(error)) or type(error).__name__
            raise RunError(
                f"{self.name} could not be {done}: {said}; what is finished is kept here, and the same command sends it"
            ) from error


def _content(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
