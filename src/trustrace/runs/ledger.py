"""What of a run is finished.

A run folder::

    study.json              what the folder is for; another study is refused
    units/<unit>/           one folder a finished unit, published by a single rename:
        measurements.parquet    its rows
        replicates.npz          bootstrap draws of the rows whose curves over checkpoints are judged, where there are such rows
        record.json             its inputs and what it cost
    failures/<unit>.json    why a unit failed; removed when it succeeds
    measurements.parquet    the tidy table: the rows of all units, in the study's order
    manifest.json           versions, hardware, seeds, hashes

A unit is finished when its folder exists. Nothing else holds state, so a run can be killed at any instant and started again.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import pyarrow as pa

from trustrace.core.errors import RunError
from trustrace.core.measurements import Measurement, ReplicatedMeasurement
from trustrace.runs.files import SCRATCH, publishing, replacing
from trustrace.runs.identity import Unit
from trustrace.runs.table import SCHEMA, as_table, read_replicates, read_table, write_replicates, write_table


@dataclass(frozen=True)
class Ledger:
    """The finished and failed units of the run in `folder`."""

    folder: Path

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, study: Mapping[str, Any]) -> "Iterator[Ledger]":
        """Claim `folder` for `study` while the body runs.

        Raises:
            RunError: the folder belongs to another study, holds other files, or another process works in it.
        """
        _require_a_place_for_a_run(folder)
        with (folder / ".lock").open("w") as lock:
            _lock(lock, folder)
            for leftover in list(folder.rglob(f"{SCRATCH}*")):
                shutil.rmtree(leftover)
            _claim(folder, study)
            yield cls(folder)

    def is_finished(self, unit: Unit) -> bool:
        """Whether `unit` has its record."""
        return (self._home(unit) / "record.json").is_file()

    def finish(
        self, unit: Unit, rows: Sequence[Measurement], *, seconds: float, files: Mapping[str, bytes] | None = None
    ) -> None:
        """Record `rows`, and `files` beside them, as the answer of `unit`; from here on it is never computed again."""
        with publishing(self._home(unit)) as scratch:
            for name, content in (files or {}).items():
                (scratch / name).write_bytes(content)
            write_table(as_table(rows), scratch / "measurements.parquet")
            write_replicates(rows, scratch / "replicates.npz")
            _write_json(
                scratch / "record.json",
                {"step": unit.step, "name": unit.name, "inputs": unit.inputs, "seconds": seconds},
            )
        self._failure(unit).unlink(missing_ok=True)

    def fail(self, unit: Unit, error: Exception) -> None:
        """Record why `unit` failed; it stays open for the next start."""
        _write_json(self._failure(unit), {"unit": unit.name, "error": type(error).__name__, "message": str(error)})

    def failures(self, units: Sequence[Unit]) -> list[dict[str, str]]:
        """Which of `units` failed and have not succeeded since; failures of units that are no longer asked for count no more."""
        paths = [self._failure(unit) for unit in units]
        return [json.loads(path.read_text("utf-8")) for path in paths if path.is_file()]

    def forget_failures(self, units: Sequence[Unit]) -> None:
        """Remove the failures of all but `units`: a file that was mended is another unit."""
        kept = {self._failure(unit) for unit in units}
        for path in set((self.folder / "failures").glob("*.json")) - kept:
            path.unlink()

    def rows_of(self, unit: Unit) -> pa.Table:
        """The recorded rows of a finished `unit`."""
        return read_table(self._home(unit) / "measurements.parquet")

    def unit_in(self, folder: str) -> Unit | None:
        """The finished unit whose folder is called so; None where there is none."""
        path = self.folder / "units" / folder / "record.json"
        if not path.is_file():
            return None
        record = json.loads(path.read_text("utf-8"))
        return Unit(step=record["step"], name=record["name"], inputs=record["inputs"])

    def measurements_of(self, unit: Unit) -> list[Measurement]:
        """The recorded rows of a finished `unit`, as values."""
        return [Measurement(**row) for row in self.rows_of(unit).to_pylist()]

    def replicated_of(self, unit: Unit) -> list[ReplicatedMeasurement]:
        """The recorded rows of a finished `unit` that have replicates."""
        return read_replicates(self.measurements_of(unit), self._home(unit) / "replicates.npz")

    def file_of(self, unit: Unit, name: str) -> Path:
        """Where the file `name` of a finished `unit` lies."""
        return self._home(unit) / name

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for intermediate files that is gone when the body ends, or at the next start after a kill."""
        with TemporaryDirectory(prefix=SCRATCH, dir=self.folder) as folder:
            yield Path(folder)

    def collect(self, units: Sequence[Unit]) -> pa.Table:
        """The rows of all finished `units`, in the given order, and written as the run's table."""
        finished = [self.rows_of(unit) for unit in units if self.is_finished(unit)]
        table = pa.concat_tables(finished) if finished else SCHEMA.empty_table()
        write_table(table.combine_chunks(), self.folder / "measurements.parquet")
        return table

    def write(self, name: str, content: Any) -> None:
        """Write `content` as the JSON file `name` of the run."""
        _write_json(self.folder / name, content)

    def _home(self, unit: Unit) -> Path:
        return self.folder / "units" / unit.folder

    def _failure(self, unit: Unit) -> Path:
        return self.folder / "failures" / f"{unit.folder}.json"


def _lock(lock: IO[str], folder: Path) -> None:
    """Hold `lock` until the process ends, however it ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"{folder}: another process works in this run; wait for it, or choose another --out") from None


def _require_a_place_for_a_run(folder: Path) -> None:
    """Refuse what is no folder, cannot be made one, or holds somebody's files, before anything is put there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be a run folder: {error.strerror}; choose another with --out") from error
    if (folder / "study.json").exists():
        return
    others = sorted(
        entry.name for entry in folder.iterdir() if entry.name != ".lock" and not entry.name.startswith(SCRATCH)
    )
    if others:
        raise RunError(
            f"{folder} is not a run and holds other files ({', '.join(others[:3])}); choose an empty or new folder with --out"
        )


def _claim(folder: Path, study: Mapping[str, Any]) -> None:
    path = folder / "study.json"
    if not path.exists():
        _write_json(path, study)
        return
    present = json.loads(path.read_text("utf-8"))
    wanted = json.loads(json.dumps(study))
    different = sorted(key for key in present.keys() | wanted.keys() if present.get(key) != wanted.get(key))
    if different:
        raise RunError(
            f"{folder} belongs to another study (it differs in {', '.join(different)}); choose another --out, or go back to its study"
        )


def _write_json(path: Path, content: Any) -> None:
    with replacing(path) as scratch:
        scratch.write_text(
            json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n", encoding="utf-8"
        )
