"""The rows of many units as one table, put together anew only when there are other units than before."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trustrace.runs.files import replacing
from trustrace.runs.identity import canonical_json
from trustrace.runs.table import SCHEMA, write_table

STAMP = b"trustrace.units"
"""Where the table says which units it was put together of; their names hold the hashes of all that changes their rows."""


def collected(units: Sequence[str], tables: Callable[[], Iterable[pa.Table]], *, path: Path, owner: str = "") -> int:
    """Write the rows of all `tables` as the table at `path`, unless it holds them already.

    Args:
        units: Names of the units that the tables belong to, in the order of the table.
        tables: Reads them.
        path: The table.
        owner: Whose the scratch is.

    Returns:
        The number of rows.
    """
    stamp = hashlib.sha256(canonical_json(list(units)).encode()).hexdigest().encode()
    held = _rows_under(stamp, path)
    if held is not None:
        return held
    found = list(tables())
    table = pa.concat_tables(found) if found else SCHEMA.empty_table()
    table = table.combine_chunks().replace_schema_metadata({STAMP: stamp})
    with replacing(path, owner=owner) as scratch:
        write_table(table, scratch)
    return int(table.num_rows)


def _rows_under(stamp: bytes, path: Path) -> int | None:
    """How many rows the table at `path` has, if it bears `stamp`."""
    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return None
    return metadata.num_rows if (metadata.metadata or {}).get(STAMP) == stamp else None
