"""Parquet that somebody else may have written: read whole, or refused in one sentence before it fills the memory."""

from typing import TYPE_CHECKING, Any

from trustrace.core.errors import TrustraceError

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 10_000_000
"""More than the table of 360 checkpoints at 34 sites over five datasets, all quantities counted."""

MOST_BYTES = (1 << 31) - 1
"""Of all columns, decoded: as much as one array of texts can hold."""


def parquet_table(
    content: bytes, *, where: object, error: type[TrustraceError], way_out: str, most_rows: int = MOST_ROWS
) -> "pa.Table":
    """The table in `content`.

    A column that repeats one value takes a few bytes however long it is, so the size of a file says nothing. Rows are counted in its
    metadata first, and texts are read by reference, and measured, before they are written out. Columns of lists and records, of which
    no table here has any and whose length no metadata tells, come back empty.

    Args:
        content: A Parquet file.
        where: Which file it is, for messages.
        error: What to raise.
        way_out: What a user can do about it, for messages.
        most_rows: Rows beyond which it is refused.

    Raises:
        TrustraceError: as `error`: it is no whole Parquet file, holds texts that are not UTF-8, or is too large.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(pa.BufferReader(content))
        schema = opened.schema_arrow
        texts = [one.name for one in schema if _is_text(one.type)]
        _require_size(opened.metadata, where=where, error=error, most_rows=most_rows)
        flat = [one.name for one in schema if not pa.types.is_nested(one.type)]
        table = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts).read(columns=flat)
        table = _written_out(table, where=where, error=error)
        table.validate(full=True)
        for place, one in enumerate(schema):
            if one.name not in flat:
                table = table.add_column(place, one.name, pa.nulls(opened.metadata.num_rows))
    # Names of columns that are not UTF-8, sizes below zero, and types that this version does not know raise each in their own way.
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as problem:
        said = str(problem).partition("\n")[0][:200]
        raise error(f"{where} is not a readable Parquet file ({said}); {way_out}") from None
    return table


def rows_of(table: "pa.Table", *, where: object, error: type[TrustraceError], way_out: str) -> list[dict[str, Any]]:
    """The rows of `table` as Python values.

    Raises:
        TrustraceError: as `error`: a date or a time is beyond what Python counts, or a text is not UTF-8.
    """
    import pyarrow as pa

    try:
        rows: list[dict[str, Any]] = table.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError) as problem:
        raise error(f"{where} holds a value that cannot be read ({problem}); {way_out}") from None
    return rows


def _require_size(metadata: Any, *, where: object, error: type[TrustraceError], most_rows: int) -> None:
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    # The columns' own entries are not asked: where they are damaged, the library ends the process.
    rows = max(metadata.num_rows, sum(group.num_rows for group in groups))
    size = sum(group.total_byte_size for group in groups)
    if rows > most_rows or size > MOST_BYTES:
        raise error(
            f"{where} says that it holds {rows:,} rows and {size:,} bytes; at most {most_rows:,} rows and {MOST_BYTES:,} bytes are read: "
            "divide it"
        )


def _written_out(table: "pa.Table", *, where: object, error: type[TrustraceError]) -> "pa.Table":
    """`table` with its texts in the place of references to them, once it is known how long they are together."""
    texts = {name: table.schema.field(name).type for name in _references(table)}
    size = table.nbytes + sum(_decoded_bytes(table.column(name)) for name in texts)
    if size > MOST_BYTES:
        raise error(f"{where} holds {size:,} bytes of text; at most {MOST_BYTES:,} are read: divide it")
    for name, kind in texts.items():
        table = table.set_column(table.schema.get_field_index(name), name, table.column(name).cast(kind.value_type))
    return table


def _references(table: "pa.Table") -> list[str]:
    import pyarrow as pa

    names = table.column_names
    return [
        one.name
        for one in table.schema
        if pa.types.is_dictionary(one.type) and names.count(one.name) == 1 and _is_text(one.type.value_type)
    ]


def _decoded_bytes(column: Any) -> int:
    import pyarrow.compute as pc

    lengths = (pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() for chunk in column.chunks)
    return sum(length or 0 for length in lengths)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind))
