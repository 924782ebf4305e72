"""Statements from and to files: CSV, JSON Lines or Parquet with the columns ``statement,label[,group][,split]``."""

import csv
import difflib
import io
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trustrace.core.documents import parsed
from trustrace.core.errors import AlignmentError, DataError
from trustrace.core.parquet import parquet_table, rows_of
from trustrace.core.statements import SPLITS, Dimension, LabelMeaning, Scheme, Source, Split, Statements
from trustrace.datasets.grouping import normalise
from trustrace.datasets.splits import assign_splits

REQUIRED = ("statement", "label")
OPTIONAL = ("group", "split")
FORMATS = (".csv", ".jsonl", ".parquet")
MINIMUM_ROWS = 6
"""Each label in each of train, validation and test."""

MAXIMUM_ROWS = 2_000_000
"""Of a Parquet file, which can promise any number of rows in a few bytes."""


_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class _Row:
    """One row as it stands in the file, and where that is, for messages."""

    place: str
    values: dict[str, Any]


def read_statements(
    path: Path,
    *,
    name: str | None = None,
    dimension: Dimension = "custom",
    seed: int = 0,
    meaning: LabelMeaning | None = None,
    refuse_leaks: bool = True,
) -> Statements:
    """Statements of your own.

    Texts are taken as they are: a formula or a tag in a cell stays text. Without a ``group`` column, rows whose normalised texts are equal
    form a group. Without a ``split`` column, rows are split by group with `seed` and scored out of fold (scheme ``folds``); with one, the
    split is taken to carry meaning, and probes are scored on its test rows (scheme ``held_out``).

    Args:
        path: A ``.csv`` (comma, UTF-8, a header), ``.jsonl`` (an object a line) or ``.parquet`` file.
        name: The dataset's name; the file's stem if not given.
        dimension: Which dimension the labels belong to.
        seed: The seed of the split, where the file has none.
        meaning: What the labels stand for; "label 1" and "label 0", the former desired, if not given.
        refuse_leaks: Whether a given split with groups on both sides of it is an error; an audit reads such a file to describe it.

    Raises:
        DataError: the file cannot be read, or its rows cannot be used: the message says where and how to mend it.
        AlignmentError: columns are missing, unknown or repeated, or a row has another number of cells than the header.
    """
    rows = _read(path)
    name = name or path.stem
    if len(rows) < MINIMUM_ROWS:
        raise DataError(
            f"{path}: {len(rows)} rows; at least {MINIMUM_ROWS} are needed, so that train, validation and test can each hold both labels"
        )
    texts = tuple(_text(row, "statement", path) for row in rows)
    labels = tuple(_label(row, path) for row in rows)
    if len(set(labels)) == 1:
        raise DataError(f"{path}: every label is {labels[0]}; a probe needs rows of both labels, 0 and 1")
    groups = _groups(rows, texts, path)
    splits, scheme = _splits(rows, groups, labels, path, seed)
    if refuse_leaks:
        _refuse_straddling(groups, splits, path)
    return Statements(
        name=name,
        dimension=dimension,
        texts=texts,
        labels=labels,
        groups=groups,
        splits=splits,
        meaning=meaning or LabelMeaning(one="label 1", zero="label 0", desired=1),
        source=Source(title=path.name, licence="not stated", note="read from a file of the user"),
        scheme=scheme,
    )


def write_statements(statements: Statements, path: Path) -> None:
    """Write `statements` in the format that the suffix of `path` names; :func:`read_statements` reads them back.

    The split is written only where it carries meaning (scheme ``held_out``): otherwise it follows from groups, labels and a seed.

    Raises:
        DataError: the suffix names no known format.
    """
    suffix = _format(path)
    columns: dict[str, Sequence[Any]] = {
        "statement": statements.texts,
        "label": statements.labels,
        "group": statements.groups,
    }
    if statements.scheme == "held_out":
        columns["split"] = statements.splits
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside its place and renamed: an export that is interrupted leaves what was there before.
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write(columns, draft, suffix)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _write(columns: dict[str, Sequence[Any]], path: Path, suffix: str) -> None:
    match suffix:
        case ".csv":
            _write_csv(columns, path)
        case ".jsonl":
            rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        case _:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table({column: list(values) for column, values in columns.items()}), path)


def _write_csv(columns: dict[str, Sequence[Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        # With any other line end, the writer would leave a text that holds a lone \r unquoted.
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _format(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"{path}: unknown format {suffix or '(no suffix)'!r}; name the file .csv, .jsonl or .parquet")
    return suffix


def _read(path: Path) -> list[_Row]:
    suffix = _format(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if suffix == ".parquet":
        return _read_parquet(path)
    text = _decoded(path)
    return list(_read_csv(text, path) if suffix == ".csv" else _read_jsonl(text, path))


def _decoded(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 at byte {error.start} (0x{error.object[error.start]:02x}); save the file as UTF-8"
        ) from None


def _read_csv(text: str, path: Path) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        _check_columns(header, path)
        for cells in reader:
            if not cells:
                continue
            place = f"line {reader.line_num}"
            if len(cells) != len(header):
                raise AlignmentError(
                    f"{path}: {place} has {len(cells)} cells, the header {len(header)}; put texts that hold commas in double quotes"
                )
            yield _Row(place, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(
            f'{path}: line {reader.line_num} is not CSV ({error}); quote texts with " and double the " inside them'
        ) from None


def _read_jsonl(text: str, path: Path) -> Iterator[_Row]:
    columns: set[str] | None = None
    # Only \n ends a line of JSON Lines: splitlines would also break at the U+2028 that a text may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        values = _json_object(line, f"{path}: line {number}")
        if columns is None:
            _check_columns(list(values), path)
            columns = set(values)
        if set(values) != columns:
            raise AlignmentError(
                f"{path}: line {number} has the keys {sorted(values)}, the first row {sorted(columns)}; give all rows the same"
            )
        yield _Row(f"line {number}", values)


def _json_object(line: str, place: str) -> dict[str, Any]:
    values: dict[str, Any] = parsed(
        line, dict, where=place, error=DataError, way_out='write {"statement": ..., "label": 0 or 1} in one line'
    )
    return values


def _read_parquet(path: Path) -> list[_Row]:
    table = parquet_table(
        path.read_bytes(), where=path, error=DataError, way_out="write it again", most_rows=MAXIMUM_ROWS
    )
    _check_columns(table.column_names, path)
    rows = rows_of(table, where=path, error=DataError, way_out="write texts and whole numbers")
    return [_Row(f"row {number}", values) for number, values in enumerate(rows)]


def _check_columns(columns: Sequence[str], path: Path) -> None:
    known = (*REQUIRED, *OPTIONAL)
    if not columns:
        raise DataError(f"{path}: the file is empty; a header and at least {MINIMUM_ROWS} rows are needed")
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise AlignmentError(f"{path}: repeated columns {repeated}; keep one of each")
    missing = [column for column in REQUIRED if column not in columns]
    unknown = [column for column in columns if column not in known]
    if not missing and not unknown:
        return
    problems = [f"missing columns {missing}"] if missing else []
    problems += [f"unknown column {column!r}{_suggestion(column, known)}" for column in unknown]
    raise AlignmentError(
        f"{path}: {'; '.join(problems)}; the columns are statement,label[,group][,split]: rename or remove the others"
    )


def _suggestion(column: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(column.strip().lower(), known, n=1, cutoff=0.6)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""


def _text(row: _Row, column: str, path: Path) -> str:
    value = row.values[column]
    if not isinstance(value, str):
        raise DataError(f"{path}: the {column} at {row.place} is {value!r}, not text; write text or remove the row")
    if not value.strip():
        raise DataError(f"{path}: the {column} at {row.place} is empty; write text or remove the row")
    if _SURROGATE.search(value):
        raise DataError(
            f"{path}: the {column} at {row.place} holds half of a surrogate pair, which is no character; remove it"
        )
    return value


def _label(row: _Row, path: Path) -> int:
    value = row.values["label"]
    if isinstance(value, str):
        value = {"0": 0, "1": 1}.get(value.strip(), value)
    if not isinstance(value, (bool, int, float)) or value not in (0, 1):
        raise DataError(
            f"{path}: the label at {row.place} is {value!r}; labels are 0 or 1: recode the others or remove their rows"
        )
    return int(value)


def _groups(rows: Sequence[_Row], texts: Sequence[str], path: Path) -> tuple[str, ...]:
    if "group" not in rows[0].values:
        groups, way_out = (
            tuple(normalise(text) for text in texts),
            "all texts are equal up to case and white space; add rows that differ",
        )
    else:
        groups, way_out = (
            tuple(_group(row, path) for row in rows),
            "name the source of each row, or leave the column out to group equal texts",
        )
    if len(set(groups)) == 1:
        raise DataError(
            f"{path}: all rows are in one group, {groups[0][:60]!r}, and a group never straddles a split; {way_out}"
        )
    return groups


def _group(row: _Row, path: Path) -> str:
    """The group's name; whole numbers name groups as well as words do."""
    value = row.values["group"]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    name = str(value).strip() if isinstance(value, (str, int)) else ""
    if not name:
        raise DataError(
            f"{path}: the group at {row.place} is {value!r}; name a group for every row, or leave the column out"
        )
    return name


def _splits(
    rows: Sequence[_Row], groups: tuple[str, ...], labels: tuple[int, ...], path: Path, seed: int
) -> tuple[tuple[Split, ...], Scheme]:
    if "split" in rows[0].values:
        scheme: Scheme = "held_out"
        splits = tuple(_split(row, path) for row in rows)
    else:
        scheme = "folds"
        splits = assign_splits(groups=groups, labels=labels, seed=seed)
    _require_both_labels(labels, splits, path)
    return splits, scheme


def _require_both_labels(labels: Sequence[int], splits: Sequence[Split], path: Path) -> None:
    for part, inside in (("development (train and validation)", False), ("test", True)):
        found = {label for label, split in zip(labels, splits, strict=True) if (split == "test") == inside}
        if len(found) < 2:
            held = f"only label {found.pop()}" if found else "no rows"
            raise DataError(
                f"{path}: the {part} part holds {held}; both labels are needed there: add rows, or groups that can be divided"
            )


def _split(row: _Row, path: Path) -> Split:
    value = row.values["split"]
    if value not in SPLITS:
        raise DataError(
            f"{path}: the split at {row.place} is {value!r}; write train, validation or test, or leave the column out"
        )
    return cast("Split", value)


def _refuse_straddling(groups: Sequence[str], splits: Sequence[Split], path: Path) -> None:
    """Train and validation together are development: only test must share no group with the rest."""
    tested = {group for group, split in zip(groups, splits, strict=True) if split == "test"}
    leaking = sorted(tested & {group for group, split in zip(groups, splits, strict=True) if split != "test"})
    if leaking:
        raise AlignmentError(
            f"{path}: {len(leaking)} groups are both in test and in train or validation (first: {leaking[0][:60]!r}); "
            "rows of one group share a source and must be on one side"
        )
