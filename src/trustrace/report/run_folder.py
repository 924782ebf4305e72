"""What a run folder holds, read and checked before anything is drawn."""

import json
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trustrace.core.errors import RunError
from trustrace.core.measurements import Measurement

COLUMNS = tuple(field.name for field in fields(Measurement))
_UNSAID = {field.name: field.default for field in fields(Measurement) if field.default is not MISSING}
"""What a table says that was written before it had the column."""


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
        study=read_json(folder / "study.json", dict),
        manifest=read_json(folder / "manifest.json", dict),
        audits=tuple(read_json(audit, list)) if audit.is_file() else (),
    )


def read_table(path: Path) -> pa.Table:
    """The tidy table at `path`.

    Raises:
        RunError: it is missing, or no table of measurements.
    """
    if not path.is_file():
        raise RunError(f"{path}: no table of measurements here; finish the run first")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise RunError(f"{path} is not a Parquet file: {error}; run the study again to rebuild it") from None
    for name, value in _UNSAID.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * table.num_rows, type=pa.scalar(value).type))
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise RunError(f"{path}: columns {missing} are missing; a table of measurements has {list(COLUMNS)}")
    return table


def read_json(path: Path, kind: type) -> Any:
    """The JSON at `path`, which must be a `kind`.

    Raises:
        RunError: it is missing, or something else.
    """
    if not path.is_file():
        raise RunError(f"{path}: missing; a run folder holds measurements.parquet, study.json and manifest.json")
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is not valid JSON: {error}; run the study again to rebuild it") from None
    if not isinstance(content, kind):
        raise RunError(f"{path}: expected a JSON {kind.__name__}, found {type(content).__name__}")
    return content
