"""How far a run is, read from its folder alone: any shell can ask while the run goes on."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from typing_extensions import TypedDict

from trustrace.core.documents import is_folder_name
from trustrace.core.errors import RunError
from trustrace.runs.reading import Failure, Planned, Record, read_document

QUARANTINE = "quarantine.json"
"""The file of a trace that lists the checkpoints whose numbers are left out of its table, and why."""


class _Study(TypedDict, total=False):
    name: str | None
    model: list[str | None]


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a run is.

    Attributes:
        name: The study's name.
        finished: Units with a record.
        total: Units of the study.
        failures: Units that failed and have not succeeded since, and checkpoints whose weights are not those of their place in training.
        seconds_left: Units that are open, at the mean cost of the finished ones of their kind; None before the first.
    """

    name: str
    finished: int
    total: int
    failures: tuple[dict[str, str], ...]
    seconds_left: float | None


def read_status(run: Path) -> Status:
    """The status of the run in `run`.

    Raises:
        RunError: the folder holds no run.
    """
    if not (run / "study.json").is_file() or not (run / "plan.json").is_file():
        raise RunError(
            f"{run}: no run here (study.json or plan.json is missing); give the folder that `trustrace trace`, `steer` or `evaluate` wrote"
        )
    planned = read_document(run / "plan.json", list[Planned])
    records = {
        unit["unit"]: read_document(run / "units" / unit["unit"] / "record.json", Record)
        for unit in planned
        if _is_finished(run, unit)
    }
    remaining = [unit for unit in planned if unit["unit"] not in records]
    return Status(
        name=_name(read_document(run / "study.json", _Study)),
        finished=len(records),
        total=len(planned),
        failures=(
            *(read_document(path, Failure) for path in _failures(run, planned) if path.is_file()),
            *_quarantined(run / QUARANTINE),
        ),
        seconds_left=_seconds_left(records, remaining),
    )


def _name(study: dict[str, Any]) -> str:
    """The name that a study has, or that of the model that is evaluated."""
    return str(study.get("name") or f"evaluation of {next(iter(study.get('model') or ()), 'a model')}")


def _failures(run: Path, planned: list[dict[str, str]]) -> list[Path]:
    return [run / "failures" / f"{unit['unit']}.json" for unit in planned if is_folder_name(unit["unit"])]


def _quarantined(path: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = read_document(path, list[Failure]) if path.is_file() else []
    return found


def _is_finished(run: Path, unit: dict[str, str]) -> bool:
    """Whether it has a record; a unit that is still to come has no folder's name, nor has one that would lie elsewhere."""
    return is_folder_name(unit["unit"]) and (run / "units" / unit["unit"] / "record.json").is_file()


def _seconds_left(records: dict[str, Any], remaining: list[dict[str, str]]) -> float | None:
    """Units of one dataset cost alike whatever the checkpoint, so each open unit is priced by its own dataset where that is known."""
    costs: dict[str, list[float]] = {}
    for record in records.values():
        costs.setdefault(_dataset(record["name"]), []).append(record["seconds"])
    if not costs:
        return 0.0 if not remaining else None
    usual = mean(second for seconds in costs.values() for second in seconds)
    return float(sum(mean(costs.get(_dataset(unit["name"]), [usual])) for unit in remaining))


def _dataset(unit_name: str) -> str:
    """What follows the checkpoint in a unit's name, and nothing for units without one."""
    return unit_name.partition("@")[2].partition("/")[2]
