"""What a comparison of checkpoints left in the folder of a trace, read and checked before anything is drawn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from trustrace.core.documents import FolderName
from trustrace.core.errors import RunError
from trustrace.report.run_folder import RunFolder, read_json, read_table

TABLE = "dynamics.parquet"


class _Summary(TypedDict, total=False):
    failures: list[str] | None
    duplicates: list[list[str]] | None
    units: list[FolderName] | None


class _Record(TypedDict, total=False):
    name: str


class _Told(TypedDict):
    row: int
    kind: str
    learned_at: int | None
    forgettings: int
    right: int
    margin: float


class _Site(TypedDict):
    statements: list[_Told]
    hardest: list[_Told]


class _Trajectories(TypedDict):
    checkpoints: list[str]
    sites: dict[str, _Site]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement over the checkpoints, as the comparison wrote it.

    Attributes:
        row: Its place in the dataset.
        kind: What became of it.
        learned_at: The place of the checkpoint from which on it stays right; None where the last one is wrong.
        forgettings: How often it was right and then wrong.
        right: At how many checkpoints it is right.
        margin: The mean over checkpoints of the log-odds of its own label.
        text: The statement; kept of the hardest alone.
        label: 0 or 1; kept of the hardest alone.
    """

    row: int
    kind: str
    learned_at: int | None
    forgettings: int
    right: int
    margin: float
    text: str = ""
    label: int | None = None


@dataclass(frozen=True, kw_only=True)
class SiteStatements:
    """What became of the statements of one dataset at one site: all of them, and the hardest first ones with their texts."""

    checkpoints: tuple[str, ...]
    statements: tuple[Statement, ...]
    hardest: tuple[Statement, ...]


@dataclass(frozen=True, kw_only=True)
class DynamicsFolder:
    """A comparison as it lies on disk.

    Attributes:
        run: The trace that it belongs to, with the table of the comparison in the place of its own.
        failures: What could not be compared, in words.
        duplicates: Pairs of checkpoints that are equal bit for bit.
        trajectories: By dataset and site.
    """

    run: RunFolder
    failures: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    trajectories: Mapping[tuple[str, str], SiteStatements]


def read_dynamics(folder: Path, run: RunFolder) -> DynamicsFolder | None:
    """The comparison in `folder`, which holds the trace `run`; None where its checkpoints were not compared.

    Raises:
        RunError: it was written in part, or by something else.
    """
    if not (folder / TABLE).is_file():
        return None
    summary = read_json(folder / "dynamics.json", _Summary)
    return DynamicsFolder(
        run=replace(run, table=read_table(folder / TABLE)),
        failures=tuple(map(str, summary.get("failures") or ())),
        duplicates=tuple(tuple(map(str, pair)) for pair in summary.get("duplicates") or ()),
        trajectories=dict(_trajectories(folder, summary.get("units") or ())),
    )


def _trajectories(folder: Path, units: Sequence[str]) -> Iterator[tuple[tuple[str, str], SiteStatements]]:
    """Of each unit that kept them."""
    for unit in units:
        path = folder / "units" / unit / "trajectories.json"
        if not path.is_file():
            continue
        dataset = str(read_json(path.with_name("record.json"), _Record).get("name", ""))
        try:
            content = read_json(path, _Trajectories)
            for site, told in content["sites"].items():
                yield (dataset, site), _site_statements(content["checkpoints"], told)
        except (RunError, TypeError) as error:
            raise RunError(f"{path} holds no trajectories ({error}); run `trustrace dynamics {folder}` again") from None


def _site_statements(checkpoints: Sequence[str], told: Mapping[str, Any]) -> SiteStatements:
    return SiteStatements(
        checkpoints=tuple(checkpoints),
        statements=tuple(Statement(**one) for one in told["statements"]),
        hardest=tuple(Statement(**one) for one in told["hardest"]),
    )
