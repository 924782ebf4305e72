"""Parquet files made wrong: tables with other columns and types, and damaged bytes."""

import io
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fuzz.mutation import ODD_NUMBERS, ODD_TEXTS, of_bytes


def as_bytes(table: pa.Table) -> bytes:
    """`table` as a Parquet file."""
    written = io.BytesIO()
    pq.write_table(table, written)
    return written.getvalue()


def of_table(rng: Random, content: bytes) -> bytes:
    """A column renamed, taken away, of another type, or with odd cells; as often the bytes themselves."""
    if rng.random() < 0.6:
        return of_bytes(rng, content)
    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError):
        return of_bytes(rng, content)
    for _ in range(rng.choice((1, 1, 2))):
        table = _changed(rng, table)
    return as_bytes(table)


def _changed(rng: Random, table: pa.Table) -> pa.Table:
    if not table.num_columns:
        return table
    at = rng.randrange(table.num_columns)
    name = table.column_names[at]
    rows = table.num_rows
    match rng.randrange(6):
        case 0:
            return table.remove_column(at)
        case 1:
            return table.set_column(at, name, _odd_column(rng, rows))
        case 2:
            return table.append_column(rng.choice((name, "x", "", "note ")), _odd_column(rng, rows))
        case 3:
            return table.slice(0, rng.randrange(rows + 1))
        case 4:
            values = table.column(at).to_pylist()
            if values:
                values[rng.randrange(rows)] = None
            return table.set_column(at, name, pa.array(values, type=table.column(at).type))
        case _:
            return _odd_cell(rng, table, at)


def _odd_cell(rng: Random, table: pa.Table, at: int) -> pa.Table:
    values = table.column(at).to_pylist()
    if not values:
        return table
    kind = table.column(at).type
    odd: Any = rng.choice(ODD_NUMBERS) if pa.types.is_floating(kind) else rng.choice(ODD_TEXTS).replace("\ud800", "?")
    if pa.types.is_integer(kind):
        odd = rng.choice((0, -1, 2**31, 2**63 - 1))
    values[rng.randrange(len(values))] = odd
    return table.set_column(at, table.column_names[at], pa.array(values, type=kind))


def _odd_column(rng: Random, rows: int) -> pa.Array:
    kinds = (
        lambda: pa.array([None] * rows, type=pa.null()),
        lambda: pa.array([1] * rows),
        lambda: pa.array([1.5] * rows),
        lambda: pa.array([b"\xff\xfe"] * rows),
        lambda: pa.array([[1, 2]] * rows),
        lambda: pa.array([{"a": 1}] * rows),
        lambda: pa.array([True] * rows),
        lambda: pa.array([10**18] * rows, type=pa.timestamp("ns")),
        lambda: pa.array([10**18] * rows, type=pa.duration("ns")),
        lambda: pa.array(["2"] * rows).dictionary_encode(),
        lambda: pa.array([10**17] * rows, type=pa.date64()),
        lambda: pa.array(["x"] * rows, type=pa.large_string()),
    )
    return rng.choice(kinds)()
