"""Who may work in a run folder: one process alone, or several that divide its units, and never two on the same ones.

Claims are locks on files of the run folder, which the system lets go when their process ends, however it ends::

    .lock           held alone by a whole run; together by all shares of a divided one
    .lock-3-of-8    held by the share of that name; 3-of-ray is a worker on a cluster, and 0-of-ray whoever oversees them
    .lock-claim     held for the moment of claiming, so that claims come one after the other
    .lock-table     held while what all shares have finished is put together

The files themselves mean nothing and stay.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from trustrace.core.errors import RunError
from trustrace.runs.files import SCRATCH, replacing
from trustrace.runs.reading import read_document

LOCK = ".lock"
_SHARE = re.compile(r"\d+-of-(?:\d+|ray)")


@contextmanager
def claimed(folder: Path, study: Mapping[str, Any], *, share: str = "") -> Iterator[None]:
    """Claim `folder` for `study` while the body runs, and remove what processes that have died left unfinished there.

    Args:
        folder: A run folder, or where one is to be.
        study: What it is for.
        share: ``3-of-8`` for one of eight processes that divide the run; alone if empty.

    Raises:
        RunError: the folder belongs to another study, holds other files, or others work there on the same units.
    """
    _require_a_place_for_a_run(folder)
    with ExitStack() as held:
        with waiting_for(folder / f"{LOCK}-claim"):
            _take(held, folder, share)
            _sweep(folder, spared=_live(folder) - {share})
            _claim(folder, study, share)
        yield


@contextmanager
def waiting_for(lock: Path) -> Iterator[None]:
    """Hold the file `lock` alone while the body runs, after whoever holds it now."""
    descriptor = _opened(lock)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any, *, owner: str = "") -> None:
    """Write `content` as the JSON file `path`, whole or not at all."""
    with replacing(path, owner=owner) as scratch:
        scratch.write_text(
            json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n", encoding="utf-8"
        )


def _take(held: ExitStack, folder: Path, share: str) -> None:
    """Lock the folder for as long as `held` is open.

    Raises:
        RunError: others are at work on the same units.
    """
    if not _try(held, folder / LOCK, fcntl.LOCK_SH if share else fcntl.LOCK_EX):
        shards = ", ".join(sorted(one.replace("-of-", "/") for one in _live(folder)))
        others = f"shards ({shards}) work" if shards else "another process works"
        raise RunError(f"{folder}: {others} in this run; wait for it, or choose another --out")
    if not share:
        return
    divisions = {one.partition("-of-")[2] for one in _live(folder)} - {share.partition("-of-")[2]}
    if divisions:
        how = ", ".join("workers on Ray" if one == "ray" else f"{one} shards" for one in sorted(divisions))
        raise RunError(f"{folder}: other processes divide this run among {how}; divide it as they do, or wait")
    if not _try(held, folder / f"{LOCK}-{share}", fcntl.LOCK_EX):
        raise RunError(
            f"{folder}: another process works in this run as shard {share.replace('-of-', '/')}; wait for it, or take another --shard"
        )


def _try(held: ExitStack, path: Path, kind: int) -> bool:
    """Lock `path` until `held` is closed, unless another process forbids it."""
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    except OSError as error:
        os.close(descriptor)
        raise RunError(
            f"{path.parent}: its file system locks no files ({error.strerror}), so that two runs could work on it; choose another --out"
        ) from error
    held.callback(os.close, descriptor)
    return True


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _live(folder: Path) -> set[str]:
    """The shares whose processes are at work."""
    with ExitStack() as tried:
        names = [path.name.removeprefix(f"{LOCK}-") for path in folder.glob(f"{LOCK}-*")]
        return {
            name
            for name in names
            if _SHARE.fullmatch(name) and not _try(tried, folder / f"{LOCK}-{name}", fcntl.LOCK_EX)
        }


def _sweep(folder: Path, *, spared: set[str]) -> None:
    """Remove what is half-written, but for what belongs to shares that are at work; finished units are not looked into."""
    for place, folders, _ in os.walk(folder):
        unfinished = [name for name in folders if name.startswith(SCRATCH)]
        for name in unfinished:
            owner = _SHARE.match(name.removeprefix(SCRATCH))
            if owner is None or owner[0] not in spared:
                shutil.rmtree(Path(place, name), ignore_errors=True)
        folders[:] = [] if Path(place) == folder / "units" else [one for one in folders if one not in unfinished]


def _require_a_place_for_a_run(folder: Path) -> None:
    """Refuse what is no folder, cannot be made one, or holds somebody's files, before anything is put there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be a run folder: {error.strerror}; choose another with --out") from error
    if (folder / "study.json").exists():
        return
    others = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith((LOCK, SCRATCH)))
    # Another process may have claimed the folder since it was looked at.
    if others and not (folder / "study.json").exists():
        raise RunError(
            f"{folder} is not a run and holds other files ({', '.join(others[:3])}); choose an empty or new folder with --out"
        )


def _claim(folder: Path, study: Mapping[str, Any], share: str) -> None:
    path = folder / "study.json"
    if not path.exists():
        write_json(path, study, owner=share)
        return
    present = read_document(path, dict[str, Any])
    wanted = json.loads(json.dumps(study))
    different = sorted(key for key in present.keys() | wanted.keys() if present.get(key) != wanted.get(key))
    if different:
        raise RunError(
            f"{folder} belongs to another study (it differs in {', '.join(different)}); choose another --out, or go back to its study"
        )
