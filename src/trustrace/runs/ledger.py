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
    elsewhere.json          of a run that is kept at a URL: what was finished there and not fetched yet when a process looked last

A unit is finished when its folder exists, here or at the URL. Nothing else holds state, so a run can be killed at any instant and
started again.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from trustrace.core.errors import RunError
from trustrace.core.measurements import Measurement, ReplicatedMeasurement
from trustrace.runs.claiming import LOCK, claimed, waiting_for, write_json
from trustrace.runs.collecting import collected
from trustrace.runs.files import publishing, scratch_of
from trustrace.runs.identity import Unit
from trustrace.runs.reading import ELSEWHERE, Failure, Record, read_document
from trustrace.runs.remote import RECORD, Mirror
from trustrace.runs.table import (
    as_table,
    read_measurements,
    read_replicates,
    read_table,
    write_replicates,
    write_table,
)


@dataclass(frozen=True)
class Ledger:
    """The finished and failed units of the run in `folder`.

    Attributes:
        folder: The run folder.
        share: Which share of the run this process does, ``3-of-8``; all of it if empty.
        known: Folders of units that are known to be finished: what was there at the start, and what came since.
        mirror: Where the run is kept as well.
    """

    folder: Path
    share: str = ""
    known: set[str] = field(default_factory=set, compare=False, repr=False)
    mirror: Mirror | None = None

    @classmethod
    @contextmanager
    def open(
        cls, folder: Path, *, study: Mapping[str, Any], share: str = "", mirror: Mirror | None = None
    ) -> "Iterator[Ledger]":
        """Claim `folder` for `study` while the body runs, alone or as one of several that divide the units: ``3-of-8``.

        What is finished at `mirror` is finished here, and the other way round. Its files are fetched when they are asked for.

        Raises:
            RunError: the folder belongs to another study, holds other files, or another process works on the same units.
        """
        with claimed(folder, study, share=share):
            if mirror is not None:
                mirror.meet(folder)
            ledger = cls(folder, share=share, mirror=mirror)
            ledger.look_again()
            yield ledger

    def is_finished(self, unit: Unit) -> bool:
        """Whether `unit` has its record."""
        if unit.folder in self.known:
            return True
        # Another process may have finished it since this one looked.
        if (self._home(unit) / RECORD).is_file():
            self.known.add(unit.folder)
            return True
        return False

    def count_finished(self, units: Iterable[Unit]) -> int:
        """How many of `units` this process knows to be finished; the disk is not asked."""
        return sum(unit.folder in self.known for unit in units)

    def finish(
        self, unit: Unit, rows: Sequence[Measurement], *, seconds: float, files: Mapping[str, bytes] | None = None
    ) -> None:
        """Record `rows`, and `files` beside them, as the answer of `unit`; from here on it is never computed again."""
        record = {"step": unit.step, "name": unit.name, "inputs": unit.inputs, "seconds": seconds}
        try:
            with publishing(self._home(unit), owner=self.share) as scratch:
                for name, content in (files or {}).items():
                    (scratch / name).write_bytes(content)
                write_table(as_table(rows), scratch / "measurements.parquet")
                write_replicates(rows, scratch / "replicates.npz")
                write_json(scratch / "record.json", record)
        except RunError:
            # Shards that read the same model note the same of it, and one of them comes first.
            if not (self._home(unit) / RECORD).is_file():
                raise
        self.known.add(unit.folder)
        has_failed = self._failure(unit).exists()
        self._failure(unit).unlink(missing_ok=True)
        if self.mirror is not None:
            self.mirror.send_unit(self._home(unit))
            if has_failed:
                self.mirror.remove(f"failures/{unit.folder}.json")

    def fail(self, unit: Unit, error: Exception) -> None:
        """Record why `unit` failed; it stays open for the next start."""
        failure = {"unit": unit.name, "error": type(error).__name__, "message": str(error)}
        self.write(f"failures/{unit.folder}.json", failure)

    def failures(self, units: Sequence[Unit]) -> list[dict[str, str]]:
        """Which of `units` failed and have not succeeded since; failures of units that are no longer asked for count no more."""
        return [read_document(self._failure(unit), Failure) for unit in self.failed(units)]

    def failed(self, units: Iterable[Unit]) -> list[Unit]:
        """Those of `units` that failed and have not succeeded since."""
        present = {path.stem for path in (self.folder / "failures").glob("*.json")}
        # Whoever finishes a unit may never have heard that it failed in another process.
        return [unit for unit in units if unit.folder in present and not self.is_finished(unit)]

    def forget_failures(self, units: Sequence[Unit]) -> None:
        """Remove the failures of all but `units`: a file that was mended is another unit."""
        kept = {self._failure(unit) for unit in units}
        for path in set((self.folder / "failures").glob("*.json")) - kept:
            path.unlink(missing_ok=True)

    def rows_of(self, unit: Unit) -> pa.Table:
        """The recorded rows of a finished `unit`."""
        return read_table(self.file_of(unit, "measurements.parquet"))

    def unit_in(self, folder: str) -> Unit | None:
        """The finished unit whose folder is called so; None where there is none."""
        self._bring(folder)
        path = self.folder / "units" / folder / RECORD
        if not path.is_file():
            return None
        record = read_document(path, Record)
        return Unit(step=record["step"], name=record["name"], inputs=record["inputs"])

    def measurements_of(self, unit: Unit) -> list[Measurement]:
        """The recorded rows of a finished `unit`, as values."""
        return read_measurements(self.file_of(unit, "measurements.parquet"))

    def replicated_of(self, unit: Unit) -> list[ReplicatedMeasurement]:
        """The recorded rows of a finished `unit` that have replicates."""
        return read_replicates(self.measurements_of(unit), self.file_of(unit, "replicates.npz"))

    def file_of(self, unit: Unit, name: str) -> Path:
        """Where the file `name` of a finished `unit` lies.

        Raises:
            RunError: the unit was finished elsewhere, and is not there any more, or cannot be fetched.
        """
        self._bring(unit.folder)
        return self._home(unit) / name

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for intermediate files that is gone when the body ends, or at the next start after a kill."""
        with TemporaryDirectory(prefix=scratch_of(self.share), dir=self.folder) as folder:
            yield Path(folder)

    def collect(self, units: Sequence[Unit]) -> int:
        """Write the rows of all finished `units`, in the given order, as the run's table, unless it holds them already.

        Returns:
            The number of rows.
        """
        finished = [unit for unit in units if self.is_finished(unit)]
        rows = collected(
            [unit.folder for unit in finished],
            lambda: map(self.rows_of, finished),
            path=self.folder / "measurements.parquet",
            owner=self.share,
        )
        self._send("measurements.parquet")
        return rows

    @contextmanager
    def concluding(self) -> Iterator[None]:
        """While the body runs, no other share puts together what all have finished, on this machine and elsewhere."""
        with waiting_for(self.folder / f"{LOCK}-table"):
            self._know(self.mirror.bring(self.folder, owner=self.share) if self.mirror is not None else set())
            yield

    def look_again(self) -> None:
        """See what others have finished since this process looked, here and elsewhere; what is finished elsewhere stays there."""
        self._know(self.mirror.units() if self.mirror is not None else set())

    def has_news(self) -> bool:
        """Whether units were finished on another machine since this one looked."""
        return self.mirror is not None and not self.mirror.units() <= self.known

    def write(self, name: str, content: Any) -> None:
        """Write `content` as the JSON file `name` of the run."""
        write_json(self.folder / name, content, owner=self.share)
        self._send(name)

    def _know(self, there: set[str]) -> None:
        """Know that what is here or `there` is finished, and nothing else."""
        here = _published(self.folder / "units")
        self.known.update(here, there)
        self.known.intersection_update(here | there)
        if self.mirror is not None:
            self.mirror.bring_failures(self.folder, finished=self.known, owner=self.share)
            self._note_elsewhere(sorted(there - here))
        for path in (self.folder / "failures").glob("*.json"):
            if path.stem in self.known:
                path.unlink(missing_ok=True)

    def _note_elsewhere(self, units: Sequence[str]) -> None:
        """Note for whoever looks at the folder alone what is finished and not in it."""
        if units:
            write_json(self.folder / ELSEWHERE, units, owner=self.share)
        else:
            (self.folder / ELSEWHERE).unlink(missing_ok=True)

    def _bring(self, name: str) -> None:
        """Fetch the unit in the folder `name` if it is finished and only elsewhere."""
        if self.mirror is None or name not in self.known or (self.folder / "units" / name).exists():
            return
        if not self.mirror.bring_unit(name, self.folder, owner=self.share):
            self.known.discard(name)
            raise RunError(
                f"{self.mirror.name}: units/{name} was finished and is gone; the same command computes it again"
            )

    def _send(self, name: str) -> None:
        if self.mirror is not None:
            self.mirror.send(self.folder, name)

    def _home(self, unit: Unit) -> Path:
        return self.folder / "units" / unit.folder

    def _failure(self, unit: Unit) -> Path:
        return self.folder / "failures" / f"{unit.folder}.json"


def _published(units: Path) -> set[str]:
    """The folders in `units`; what is being written there counts for nothing."""
    if not units.is_dir():
        return set()
    with os.scandir(units) as entries:
        return {entry.name for entry in entries if not entry.name.startswith(".")}
