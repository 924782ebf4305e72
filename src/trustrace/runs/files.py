"""Files that are there whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trustrace.core.errors import DiskFullError, RunError

SCRATCH = ".scratch-"
"""How the names of unfinished files and folders begin; what a kill leaves of them means nothing and may be removed."""


@contextmanager
def replacing(path: Path, *, owner: str = "") -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the body succeeds and vanishes when it does not.

    Args:
        path: What is written.
        owner: Which of several processes that share a folder writes it.

    Raises:
        RunError: the disk is full or not writable; `path` is as it was.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=scratch_of(owner), dir=path.parent))
        try:
            yield scratch / path.name
            _flush(scratch / path.name)
            (scratch / path.name).replace(path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def publishing(folder: Path, *, owner: str = "") -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` in one rename when the body succeeds.

    Args:
        folder: What is written.
        owner: Which of several processes that share a folder writes it.

    Raises:
        RunError: the disk is full or not writable; `folder` does not exist then.
    """
    with _explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=scratch_of(owner), dir=folder.parent))
        try:
            yield scratch
            for file in sorted(scratch.iterdir()):
                _flush(file)
            scratch.chmod(0o755)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def scratch_of(owner: str) -> str:
    """How the names of what `owner` has not finished begin."""
    return f"{SCRATCH}{owner}-" if owner else SCRATCH


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else RunError
        raise kind(
            f"{path} could not be written: {error.strerror or error}; free space or choose another folder, then run again"
        ) from error


def _flush(path: Path) -> None:
    """Bring `path` to the disk before a rename makes it visible: a record must never outlive its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
