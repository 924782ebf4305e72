"""What lies in a steering run beside its table: what searches recorded, and what models answered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from typing_extensions import TypedDict

from trustrace.core.documents import is_folder_name, parsed, shaped
from trustrace.core.errors import RunError
from trustrace.report.glossary import Better

STUDY = "steer"
"""What a steering study calls itself in ``study.json``."""

MOST_ITEMS = 24
"""How many answers of a setting are read; the first ones, so that none is picked for what it says."""

_TESTED = ("test-", "instruction-")


class _Sample(TypedDict, total=False):
    dataset: str
    vector: str
    site: str
    alpha: float | None


Answers = Mapping[tuple[str, str, float], tuple[Mapping[str, Any], ...]]
"""The samples of each setting: vector, site, strength."""


@dataclass(frozen=True, kw_only=True)
class SteeringFolder:
    """The units of a steering run, as they lie on disk.

    Attributes:
        path: The run folder.
        units: Folder and name of each unit that was planned; the name is target, contrast, origin and task.
    """

    path: Path
    units: tuple[tuple[str, str], ...] = ()

    def better(self, contrast: str) -> Better | None:
        """Which way the quantity of `contrast` is better, as its searches recorded it; None where none did."""
        for unit, name in self.units:
            if unit.startswith("search-") and name.partition("/")[2].startswith(f"{contrast}/"):
                recorded = _read(self.path / "units" / unit / "chosen.json")
                said = recorded.get("better") if isinstance(recorded, Mapping) else None
                if said in ("higher", "lower", "neither"):
                    return cast("Better", said)
        return None

    def answers(self, target: str, contrast: str, task: str) -> Answers:
        """The first answers of every setting that was tested on `task`, the unsteered model among them."""
        found: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
        for unit, name in self.units:
            if unit.startswith(_TESTED) and name.startswith(f"{target}/{contrast}/"):
                for setting, samples in _samples(self.path / "units" / unit / "samples.jsonl", task).items():
                    found.setdefault(setting, samples)
        return {setting: tuple(samples) for setting, samples in found.items()}


def read_steering(path: Path) -> SteeringFolder:
    """What lies in the run folder `path`; a folder without a plan has no units to look into."""
    planned = _read(path / "plan.json")
    units = planned if isinstance(planned, list) else []
    known = [(str(unit.get("unit", "")), str(unit.get("name", ""))) for unit in units if isinstance(unit, Mapping)]
    # A unit's folder stands in the run's own; a plan that somebody else wrote may say otherwise.
    return SteeringFolder(path=path, units=tuple(one for one in known if is_folder_name(one[0])))


def _read(path: Path) -> Any:
    """A JSON file; empty where it is missing or broken, since the table alone makes a report."""
    try:
        return parsed(path.read_bytes(), object, where=path, error=RunError, way_out="run the study again")
    except (OSError, RunError):
        return {}


def _samples(path: Path, task: str) -> dict[tuple[str, str, float], list[Mapping[str, Any]]]:
    found: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
    for sample in _lines(path):
        if sample.get("dataset") != f"{task}/test":
            break
        setting = (str(sample.get("vector", "")), str(sample.get("site", "")), float(sample.get("alpha") or 0.0))
        kept = found.setdefault(setting, [])
        if len(kept) < MOST_ITEMS:
            kept.append(sample)
    return found


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON-lines file, up to the first line that is none."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                yield shaped(line, _Sample, where=path, error=RunError, way_out="run the study again")
            except RunError:
                return
