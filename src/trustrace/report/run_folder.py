"""What a run folder holds, read and checked before anything is drawn."""

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import TypedDict

from trustrace.core.documents import shaped
from trustrace.core.errors import RunError
from trustrace.core.measurements import Measurement
from trustrace.core.parquet import parquet_table

COLUMNS = tuple(field.name for field in fields(Measurement))
_UNSAID = {field.name: field.default for field in fields(Measurement) if field.default is not MISSING}
"""What a table says that was written before it had the column."""

_AGAIN = "run the study again to rebuild it"
_KINDS = dict.fromkeys(("value", "lower", "upper", "alpha"), pa.float64()) | dict.fromkeys(
    ("n", "n_groups", "step", "tokens_seen", "seed"), pa.int64()
)
_UNKNOWN: dict[pa.DataType, Any] = {pa.string(): "", pa.float64(): float("nan")}
"""What an empty cell stands for."""

_MAY_BE_EMPTY = ("step", "tokens_seen")


class Failed(TypedDict):
    """A unit that failed."""

    unit: str
    error: str
    message: str


class Audited(TypedDict, total=False):
    """What an audit of a dataset found."""

    dataset: str
    n: int
    n_groups: int
    findings: list["FoundInAudit"] | None


class FoundInAudit(TypedDict, total=False):
    """One thing that an audit looked for."""

    check: str
    severity: str
    count: int
    sentence: str
    examples: list[Any] | None


class Meant(TypedDict, total=False):
    """What labels stand for."""

    one: str
    zero: str
    desired: int


class Dataset(TypedDict, total=False):
    """What a manifest says of a dataset."""

    meaning: Meant | None


class Manifest(TypedDict, total=False):
    """What of a manifest is read for other than to be shown."""

    failures: list[Failed] | None
    units: dict[str, bool]
    datasets: dict[str, Dataset] | None
    sources: dict[str, tuple[str | None, int | None, int | None]] | None
    targets: dict[str, str] | None
    bases: list[str] | None
    expert: str
    anti_expert: str
    equal_weights: list[list[str]] | None


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run as it lies on disk.

    Attributes:
        name: The folder's name.
        table: The tidy table, one row a measurement.
        study: What was asked for.
        manifest: What a reader needs to repeat it.
        audits: One entry per audited dataset; empty where nothing was audited.
    """

    name: str
    table: pa.Table
    study: dict[str, Any]
    manifest: dict[str, Any]
    audits: tuple[dict[str, Any], ...]

    @property
    def title(self) -> str:
        """What the study calls itself, or the folder's name."""
        return str(self.study.get("name") or self.name)

    @property
    def failures(self) -> tuple[dict[str, Any], ...]:
        """Units that failed and have not succeeded since: ``unit``, ``error``, ``message``."""
        return tuple(self.manifest.get("failures") or ())

    def label_meaning(self, dataset: str) -> dict[str, Any]:
        """What 1 and 0 stand for in `dataset` and which is desired; empty where the manifest does not say."""
        return dict((self.manifest.get("datasets") or {}).get(dataset, {}).get("meaning") or {})


def read_run(folder: Path) -> RunFolder:
    """Read the run in `folder`.

    Raises:
        RunError: the folder, its table, study or manifest is missing or cannot be read.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; give the folder that a trace wrote")
    audit = folder / "audit.json"
    return RunFolder(
        name=folder.resolve().name,
        table=read_table(folder / "measurements.parquet"),
        study=read_json(folder / "study.json", dict[str, Any]),
        manifest=read_json(folder / "manifest.json", Manifest),
        audits=tuple(read_json(audit, list[Audited])) if audit.is_file() else (),
    )


def read_table(path: Path) -> pa.Table:
    """The tidy table at `path`.

    Raises:
        RunError: it is missing, or no table of measurements.
    """
    if not path.is_file():
        raise RunError(f"{path}: no table of measurements here; finish the run first")
    table = parquet_table(path.read_bytes(), where=path, error=RunError, way_out=_AGAIN)
    for name, value in _UNSAID.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * table.num_rows, type=pa.scalar(value).type))
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise RunError(f"{path}: columns {missing} are missing; a table of measurements has {list(COLUMNS)}")
    return pa.table({name: _column(table, name, path) for name in COLUMNS})


def _column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    """A column as this version writes it: another tool's whole numbers may be narrower, and its empty cells are unknown values."""
    kind = _KINDS.get(name, pa.string())
    try:
        column = table.column(name).cast(kind)
    except (pa.ArrowException, KeyError, ValueError) as error:
        said = str(error).partition("\n")[0][:200]
        raise RunError(f"{path}: column {name} cannot be read as {kind} ({said}); {_AGAIN}") from None
    if kind == pa.int64() and not _is_exact(column):
        raise RunError(
            f"{path}: column {name} holds whole numbers beyond 2^53, which no count of ours reaches; {_AGAIN}"
        )
    if column.null_count and kind in _UNKNOWN:
        return column.fill_null(_UNKNOWN[kind])
    if column.null_count and name not in _MAY_BE_EMPTY:
        raise RunError(f"{path}: {column.null_count} cells of column {name} are empty; {_AGAIN}")
    return column


def _is_exact(column: pa.ChunkedArray) -> bool:
    """Whether every number is one that a page can show: beyond 2^53 they are rounded."""
    ends = pc.min_max(column).as_py()
    return all(end is None or abs(end) <= 1 << 53 for end in ends.values())


def read_json(path: Path, shape: Any) -> Any:
    """The JSON at `path`, which must be of `shape`.

    Raises:
        RunError: it is missing, or something else.
    """
    if not path.is_file():
        raise RunError(f"{path}: missing; a run folder holds measurements.parquet, study.json and manifest.json")
    return shaped(path.read_bytes(), shape, where=path, error=RunError, way_out=_AGAIN)
