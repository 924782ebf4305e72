"""Activations reach the disk while they are computed, and appear there only when they are complete."""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from trustrace.activations.store import Activations, header, manifest_path
from trustrace.core.errors import RunError


class Writer:
    """Puts rows where they belong in a file whose size is fixed from the start."""

    def __init__(self, descriptor: int, *, activations: Activations) -> None:
        self._descriptor = descriptor
        self._row_bytes = 4 * activations.d_model
        start = header(sites=activations.sites, n=activations.n, d_model=activations.d_model)
        site_bytes = activations.n * self._row_bytes
        self._begins = {site: len(start) + i * site_bytes for i, site in enumerate(activations.sites)}
        _reserve(descriptor, len(start) + len(activations.sites) * site_bytes)
        _write(descriptor, start, 0)

    def put(self, site: str, rows: Sequence[int], values: Float32[np.ndarray, "statement d_model"]) -> None:
        """Write `values` as the given rows of `site`."""
        # Written rather than memory-mapped: dirty pages of a map count as this process's memory, and a full disk kills it.
        order = np.argsort(rows)
        ordered = np.asarray(rows)[order]
        values = np.ascontiguousarray(values[order])
        for run in np.split(np.arange(len(ordered)), np.flatnonzero(np.diff(ordered) != 1) + 1):
            place = self._begins[site] + int(ordered[run[0]]) * self._row_bytes
            _write(self._descriptor, values[run[0] : run[-1] + 1].tobytes(), place)


@contextmanager
def writing(activations: Activations) -> Iterator[Writer]:
    """A writer for `activations`; its file appears, and its manifest after it, when the body succeeds, and nothing when it does not.

    What stood at that path before stays until then.

    Raises:
        RunError: the disk is full or not writable.
    """
    path = activations.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        scratch = Path(name)
        try:
            try:
                yield Writer(descriptor, activations=activations)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            publish(scratch, activations)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(activations, error) from error


def publish(scratch: Path, activations: Activations) -> None:
    """Rename the file, then its manifest; the manifest of an older file goes first, since it would vouch for the new one."""
    manifest = manifest_path(activations.path)
    manifest.unlink(missing_ok=True)
    scratch.chmod(0o644)
    scratch.replace(activations.path)
    scratch.write_text(activations.to_manifest(), encoding="utf-8")
    scratch.replace(manifest)


def _reserve(descriptor: int, size: int) -> None:
    """Claim the whole file's space, so that a full disk shows before a model has run for hours."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)


def _write(descriptor: int, content: bytes, place: int) -> None:
    """Write all of `content`; one call may write only a part."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, place)
        view, place = view[written:], place + written


def unwritable(activations: Activations, error: OSError) -> RunError:
    """Why the file of `activations` could not be written, and the ways out."""
    size = 4 * len(activations.sites) * activations.n * activations.d_model
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return RunError(
        f"{activations.path} could not be written: {error.strerror or error}; "
        + (
            f"{size / 1e6:.0f} MB are needed: free space, choose another folder, or fewer sites"
            if full
            else "choose another folder"
        )
    )
