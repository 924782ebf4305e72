"""The tidy table: one row a measurement, one schema, one Parquet file a run."""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trustrace.core.errors import RunError
from trustrace.core.measurements import Measurement, ReplicatedMeasurement
from trustrace.core.parquet import parquet_table
from trustrace.runs.files import replacing

_ARROW = dict.fromkeys(["value", "lower", "upper", "alpha"], pa.float64()) | dict.fromkeys(
    ["n", "n_groups", "step", "tokens_seen", "seed"], pa.int64()
)
_MAY_BE_UNKNOWN = ("step", "tokens_seen")
_AGAIN = "run the study again to rebuild it"
SCHEMA = pa.schema([(field.name, _ARROW.get(field.name, pa.string())) for field in fields(Measurement)])


def as_table(rows: Sequence[Measurement]) -> pa.Table:
    """`rows` as an Arrow table, in their order."""
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    return pa.table(columns, schema=SCHEMA)


def write_table(table: pa.Table, path: Path) -> None:
    """Write `table` as Parquet, whole or not at all; equal tables give equal bytes."""
    with replacing(path) as scratch:
        pq.write_table(table, scratch, compression="zstd", write_statistics=True)


def write_replicates(rows: Sequence[Measurement], path: Path) -> None:
    """Write the draws of those of `rows` that have some, in single precision, by the row's place; no file where none has."""
    draws = {
        str(place): row.replicates.astype(np.float32)
        for place, row in enumerate(rows)
        if isinstance(row, ReplicatedMeasurement)
    }
    if draws:
        np.savez(path, **draws)  # type: ignore[arg-type]


def read_replicates(rows: Sequence[Measurement], path: Path) -> list[ReplicatedMeasurement]:
    """Those of `rows` that have draws at `path`, with them.

    Raises:
        RunError: it holds something else.
    """
    if not path.is_file():
        return []
    found = []
    for place, draws in _draws(path).items():
        if not place.isdecimal() or int(place) >= len(rows) or draws.ndim != 1 or draws.dtype != np.float32:
            raise RunError(f"{path} holds no draws of this table at {place!r}; {_AGAIN}")
        found.append(ReplicatedMeasurement(**vars(rows[int(place)]), replicates=draws.astype(np.float64)))
    return found


def _draws(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive that numpy wrote; never a pickled one, and never more than its file could hold uncompressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > path.stat().st_size:
                raise RunError(f"{path} unpacks to {size:,} bytes, more than it has; {_AGAIN}")
        with np.load(path, allow_pickle=False) as stored:
            return {place: np.asarray(stored[place]) for place in stored.files}
    # Numpy and the archive each complain in ways of their own about bytes that are not theirs.
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise RunError(f"{path} holds no arrays of numpy ({error}); {_AGAIN}") from None


def read_table(path: Path) -> pa.Table:
    """The tidy table at `path`.

    Raises:
        RunError: there is none, or it is not a table of measurements.
    """
    if not path.is_file():
        raise RunError(f"{path}: no table of measurements here; finish the run first")
    table = parquet_table(path.read_bytes(), where=path, error=RunError, way_out=_AGAIN)
    if table.schema.names != SCHEMA.names:
        raise RunError(
            f"{path} is not a table of measurements; its columns are {table.schema.names}, expected {SCHEMA.names}"
        )
    for column in SCHEMA:
        found = table.column(column.name)
        if found.type != column.type or (found.null_count and column.name not in _MAY_BE_UNKNOWN):
            raise RunError(
                f"{path} is not a table of measurements; its column {column.name} is of {found.type} with {found.null_count} empty "
                f"cells, expected {column.type} and none empty; {_AGAIN}"
            )
    return table


def read_measurements(path: Path) -> list[Measurement]:
    """The rows of the tidy table at `path`, as values.

    Raises:
        RunError: there is none, or it is not a table of measurements.
    """
    return [Measurement(**row) for row in read_table(path).to_pylist()]
