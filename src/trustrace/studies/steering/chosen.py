"""What the searches of a finished steering run chose, and how good each was on the development half."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len
from typing_extensions import TypedDict

from trustrace.core.measurements import Measurement
from trustrace.evaluation.outcomes import Better
from trustrace.runs.reading import read_document
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.steering.relations import CHOSEN, Kept


class _Inputs(TypedDict):
    quantity: tuple[str, str | None]
    target: Annotated[list[str | None], Len(1)]
    task: dict[str, Any]


class _Searched(TypedDict):
    inputs: _Inputs


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The setting that a search kept of one vector.

    Attributes:
        row: Its number on the development half, by which it was chosen.
        better: Which way that number is better.
        unit: What a strength of 1 is.
    """

    row: Measurement
    better: Better
    unit: str

    @property
    def setting(self) -> tuple[str, str, str, float]:
        """Target, vector, site and strength."""
        return (self.row.checkpoint, self.row.vector, self.row.site, self.row.alpha)

    @property
    def contrast(self) -> str:
        """What the vector was made of."""
        return self.row.vector.partition(":")[2].partition("@")[0]

    @property
    def source(self) -> str:
        """The checkpoint that it was made in; empty for a direction of none."""
        return self.row.vector.partition(":")[2].partition("@")[2]


def chosen_in(folder: Path, rows: Sequence[Measurement]) -> Iterator[Chosen]:
    """What the searches of the run in `folder` chose, as far as `rows`, its table, hold the numbers."""
    searched = sorted(folder.glob(f"units/search-*/{CHOSEN}"))
    if not searched:
        return
    placed: dict[tuple[Any, ...], list[Measurement]] = {}
    for row in rows:
        placed.setdefault((row.dataset, row.quantity, _setting(row)), []).append(row)
    for path in searched:
        inputs = read_document(path.parent / "record.json", _Searched)["inputs"]
        said = read_document(path, Kept)
        quantity, method = inputs["quantity"]
        for vector, site, alpha in said["chosen"]:
            found = placed.get((_dataset(inputs, path), quantity, (inputs["target"][0], vector, site, alpha)), [])
            for row in [row for row in found if method in (None, row.method)][:1]:
                yield Chosen(row=row, better=said["better"], unit=str(inputs.get("unit", "")))


def best(several: Sequence[Chosen]) -> Chosen:
    """The best on the development half; of equally good ones the first by name."""
    return min(several, key=lambda one: (one.row.value if one.better == "lower" else -one.row.value, one.setting))


def _dataset(inputs: Mapping[str, Any], path: Path) -> str:
    options = {name: value for name, value in inputs["task"].items() if name in TaskConfig.model_fields}
    return f"{TaskConfig.read(options, where=str(path)).title}/development"


def _setting(row: Measurement) -> tuple[str, str, str, float]:
    return (row.checkpoint, row.vector, row.site, row.alpha)
