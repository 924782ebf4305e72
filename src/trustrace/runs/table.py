"""The tidy table: one row a measurement, one schema, one Parquet file a run."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trustrace.core.errors import RunError
from trustrace.core.measurements import Measurement, ReplicatedMeasurement
from trustrace.runs.files import replacing

_ARROW = dict.fromkeys(["value", "lower", "upper", "alpha"], pa.float64()) | dict.fromkeys(
    ["n", "n_groups", "step", "tokens_seen", "seed"], pa.int64()
)
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
    """Those of `rows` that have draws at `path`, with them."""
    if not path.is_file():
        return []
    with np.load(path) as stored:
        return [
            ReplicatedMeasurement(**vars(rows[int(place)]), replicates=stored[place].astype(np.float64))
            for place in stored.files
        ]


def read_table(path: Path) -> pa.Table:
    """The tidy table at `path`.

    Raises:
        RunError: there is none, or it is not a table of measurements.
    """
    if not path.is_file():
        raise RunError(f"{path}: no table of measurements here; finish the run first")
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise RunError(f"{path} is not a Parquet file: {error}") from None
    if table.schema.names != SCHEMA.names:
        raise RunError(
            f"{path} is not a table of measurements; its columns are {table.schema.names}, expected {SCHEMA.names}"
        )
    return table
