"""A run folder at a URL: the run works in a folder here, and what is finished is mirrored there.

The URL holds the same files as the folder. A unit is sent when it is finished, ``record.json`` last; one without its record is not there.
Of what is finished at the URL a process needs the names alone, until it reads a unit, or puts together what all have finished.
Processes on different machines that divide a run share it through the URL alone, where nothing can be locked: that no two of them do the
same share is up to whoever starts them. If it happens all the same, both send the same rows.

Who only wants to look fetches what that takes: :func:`glimpsed` says how far a run is, :func:`at_hand` has what a report is drawn from.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from trustrace.core.errors import MissingExtraError, RunError
from trustrace.runs.files import publishing, replacing, scratch_of
from trustrace.runs.reading import Planned, read_document

RECORD = "record.json"
_OF_A_RUN = (".json", ".parquet", ".csv")
"""How the names of files end that a run keeps beside its units."""
_TOLD_BY = ("study.json", "plan.json", "quarantine.json")
"""The files beside the units that say how far a run is; its table and its report do not."""
_DOCUMENTS = (".json", ".jsonl")
AT_ONCE = 500
"""Units that are fetched together; a kill loses no more."""
_WAYS_OUT = {
    "read": "look at the address and at your access to it; the same command tries again",
    "written": "what is finished is kept here, and the same command sends it",
}
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


def glimpsed(place: str) -> Path:
    """A folder that says how far the run at `place` is: itself, or where what tells it was fetched from a URL.

    Fetched are the study, the plan, what is quarantined, failures and the records of finished units; records that were fetched before are
    not again, and what the URL does not have any more goes here, too. The folder holds no run that could go on.

    Raises:
        RunError: the URL holds no run, or cannot be reached.
    """
    folder, mirror = placed(place)
    if mirror is None:
        return folder
    beside = folder.with_name(f"{folder.name}.status")
    mirror.glimpse(beside)
    return beside


def at_hand(place: str) -> Path:
    """The folder of the run at `place` with all that a report is drawn from: itself, or where a run to that URL works.

    Raises:
        RunError: the URL holds no run, or not the one of the folder here, or cannot be reached.
    """
    folder, mirror = placed(place)
    if mirror is not None:
        mirror.bring_shown(folder)
    return folder


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

    def meet(self, folder: Path) -> None:
        """Make the URL a place of the run in `folder`: it gets the units that it has not.

        Raises:
            RunError: the URL holds another study, or something else, or cannot be reached.
        """
        self._require_the_same_study(folder)
        there = self.units()
        for unit in sorted(path.name for path in (folder / "units").glob("[!.]*") if path.name not in there):
            self.send_unit(folder / "units" / unit)

    def bring(self, folder: Path, *, owner: str = "", wanted: Callable[[Sequence[str]], bool] = bool) -> set[str]:
        """Fetch finished units that `folder` has not; the names of all that the URL has.

        Args:
            folder: The run folder.
            owner: Whose the scratch is.
            wanted: Whether a unit that has these files is; all of them by default.
        """
        files = self._units()
        self._publish({name: names for name, names in files.items() if wanted(names)}, folder, owner=owner)
        return set(files)

    def bring_unit(self, name: str, folder: Path, *, owner: str = "") -> bool:
        """Fetch one finished unit if `folder` has it not; False where the URL has it not, either."""
        files = {unit: names for unit, names in self._units(name).items() if unit == name}
        self._publish(files, folder, owner=owner)
        return bool(files)

    def units(self) -> set[str]:
        """The names of the finished units that the URL has."""
        return set(self._units())

    def bring_failures(self, folder: Path, *, finished: Collection[str], owner: str = "") -> None:
        """Fetch what is said at the URL of units that failed elsewhere, and are not `finished`."""
        for name in self._documents("failures"):
            path = folder / "failures" / name
            if path.exists() or path.stem in finished:
                continue
            try:
                with replacing(path, owner=owner) as scratch, self._explained("read"):
                    self._system.get_file(self._at(f"failures/{name}"), str(scratch))
            except RunError:
                # The unit may have succeeded since the names were listed, and its failure is gone.
                if name in self._documents("failures"):
                    raise

    def glimpse(self, folder: Path) -> None:
        """Fetch into `folder` what says how far the run is; a unit of it is its record alone.

        Raises:
            RunError: the URL holds no run, or cannot be reached.
        """
        told = {name for name in self._beside() if name in _TOLD_BY}
        told |= {f"failures/{name}" for name in self._documents("failures")}
        self._fetch(told, folder)
        plan = folder / "plan.json"
        planned = {one["unit"] for one in read_document(plan, list[Planned])} if "plan.json" in told else set()
        records = {f"units/{name}/{RECORD}" for name in self.units() & planned}
        self._fetch((name for name in records if not (folder / name).exists()), folder)
        _keep_alone(folder, told | records)

    def bring_shown(self, folder: Path) -> None:
        """Fetch into the run folder `folder` what a report is drawn from: what lies beside the units, and those that hold more than rows.

        Raises:
            RunError: the URL holds no run, or not that of `folder`, or cannot be reached.
        """
        beside = self._beside()
        here = folder / "study.json"
        with self._explained("read"):
            study = self._system.cat_file(self._at("study.json"))
        if here.exists() and _content(study) != _content(here.read_bytes()):
            raise RunError(f"{self.name} holds another study than {folder}, where runs to it work; remove that folder")
        self._fetch(["study.json"], folder)
        self._fetch((name for name in beside if name != "study.json"), folder)
        self.bring(folder, wanted=_holds_documents)

    def _beside(self) -> list[str]:
        """The files of the run that lie beside its units.

        Raises:
            RunError: the URL holds no run.
        """
        with self._explained("read"):
            held = self._found("")
        if "study.json" not in held:
            raise RunError(
                f"{self.name}: no run here (study.json is missing); give the URL that `trustrace trace --out` had"
            )
        return sorted(name for name in held if _SAFE.fullmatch(name) and name.endswith(_OF_A_RUN))

    def _documents(self, name: str) -> list[str]:
        with self._explained("read"):
            found = self._found(name)
        return sorted(one for one in found if _SAFE.fullmatch(one) and one.endswith(".json"))

    def _fetch(self, names: Iterable[str], folder: Path) -> None:
        """Fetch files of the run into `folder`, many at a time where the file system can; each is there whole or not at all."""
        wanted = sorted(names)
        if not wanted:
            return
        folder.mkdir(parents=True, exist_ok=True)
        # Beside the folder: what looks unfinished inside it may be swept away by a run that starts.
        with TemporaryDirectory(dir=folder.parent) as scratch:
            for path, name in zip(self._got(wanted, Path(scratch)), wanted, strict=True):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                path.replace(folder / name)

    def _publish(self, units: Mapping[str, Sequence[str]], folder: Path, *, owner: str) -> None:
        """Fetch those of `units` that `folder` has not, each of which has these files; a unit is there whole or not at all."""
        absent = sorted(name for name in units if not (folder / "units" / name).exists())
        folder.mkdir(parents=True, exist_ok=True)
        for batch in (absent[start : start + AT_ONCE] for start in range(0, len(absent), AT_ONCE)):
            names = [(unit, file) for unit in batch for file in sorted(filter(_SAFE.fullmatch, units[unit]))]
            with self._explained("read"), TemporaryDirectory(prefix=scratch_of(owner), dir=folder) as scratch:
                fetched = self._got([f"units/{unit}/{file}" for unit, file in names], Path(scratch))
                for unit, files in groupby(zip(names, fetched, strict=True), key=lambda one: one[0][0]):
                    home = folder / "units" / unit
                    with _or_another_process(home / RECORD), publishing(home, owner=owner) as place:
                        for (_, file), path in files:
                            path.replace(place / file)

    def _got(self, names: Sequence[str], scratch: Path) -> list[Path]:
        """Where in `scratch` files of the run lie that are fetched into it, many at a time where the file system can."""
        fetched = [scratch / str(place) for place in range(len(names))]
        with self._explained("read"):
            self._system.get([self._at(name) for name in names], [str(path) for path in fetched])
        return fetched

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

    def _units(self, name: str = "") -> Mapping[str, list[str]]:
        """The files of each finished unit, by one listing of all, or of the one called `name`."""
        folders: dict[str, list[str]] = {}
        with self._explained("read"):
            for path in self._system.find(self._at(f"units/{name}")):
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
            raise RunError(f"{self.name}: {error}") from None
        except ValueError as error:
            raise RunError(f"{self.name}: {error}; expected a folder, or a URL that fsspec knows") from None
        return system, root.rstrip("/")

    @contextmanager
    def _explained(self, done: Literal["read", "written"]) -> Iterator[None]:
        """Turn whatever a file system says into one sentence; each of them has errors of its own."""
        try:
            yield
        except (RunError, MissingExtraError):
            raise
        except Exception as error:
            said = _SECRET.sub("", str(error)) or type(error).__name__
            raise RunError(f"{self.name} could not be {done}: {said}; {_WAYS_OUT[done]}") from error


@contextmanager
def _or_another_process(record: Path) -> Iterator[None]:
    """Let what cannot be published pass if `record` is there: another process of this machine brought the same unit first."""
    try:
        yield
    except RunError:
        if not record.is_file():
            raise


def _keep_alone(folder: Path, names: set[str]) -> None:
    """Remove all files of `folder` but those of these `names`."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in names:
            path.unlink(missing_ok=True)
            if path.parent != folder:
                # Others of it may be kept.
                with suppress(OSError):
                    path.parent.rmdir()


def _holds_documents(files: Sequence[str]) -> bool:
    """Whether a unit of these `files` holds more than rows, which are in the table of all."""
    return any(file.endswith(_DOCUMENTS) and file != RECORD for file in files)


def _content(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
