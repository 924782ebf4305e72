"""A fine-tuning run as the report reads it: what each tuning learned, and each number of each task as the model was and as it became."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import TypedDict

from trustrace.core.measurements import Measurement
from trustrace.report.run_folder import COLUMNS, RunFolder, read_json
from trustrace.report.steering_glossary import better_of
from trustrace.report.steering_runs import CHANGE, P_VALUE, Ability

STUDY = "finetune"
_RECORD = "tuning.json"
_TUNINGS = "tuning/"


class Planned(TypedDict):
    """A unit of the plan."""

    unit: str
    name: str


class Spent(TypedDict):
    """What a tuning computed."""

    parameters: int
    trained: int
    updates: int
    training_tokens: int
    flops: float


class Record(TypedDict, total=False):
    """What of ``tuning.json`` is read."""

    held_out_loss: dict[str, float]
    held_out_loss_documents: dict[str, float]
    kept_step: int
    sides: dict[str, int]
    compute: Spent


Curve = tuple[tuple[int, float], ...]
"""Update and loss, in order."""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """One tuning.

    Attributes:
        base: The model, by checkpoint.
        label: Method and data: ``lora:world``.
        losses: Held-out loss by update, of what decides.
        documents: Of texts that are rehearsed; empty where there are none.
        kept: The update whose weights were kept.
        spent: What it computed.
        sides: Exchanges that were learned, decided and were looked at beside; empty where the record does not say.
        left_out: What the table says of exchanges that were left out.
    """

    base: str
    label: str
    losses: Curve
    documents: Curve
    kept: int
    spent: Spent
    sides: Mapping[str, int]
    left_out: str


@dataclass(frozen=True, kw_only=True)
class Became:
    """A model's number after one tuning, by how much it changed, and the p-value of that."""

    label: str
    value: Measurement | None
    change: Measurement | None
    change_p: Measurement | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One model in one number: as it is, and after each tuning."""

    base: str
    plain: Measurement | None
    became: tuple[Became, ...]


@dataclass(frozen=True, kw_only=True)
class TuningRun:
    """Everything that a fine-tuning run holds.

    Attributes:
        bases: The models, in the order of the table.
        learnings: The tunings.
        outcomes: Each number of each task over the models.
        equal_weights: Models that are one under several names.
        rows: The table.
    """

    bases: tuple[str, ...]
    learnings: tuple[Learning, ...]
    outcomes: Mapping[Ability, tuple[Outcome, ...]]
    equal_weights: tuple[tuple[str, ...], ...]
    rows: tuple[Measurement, ...]


def tuning_run(run: RunFolder, folder: Path) -> TuningRun:
    """Arrange the table of `run` and the records of its tunings, which lie in `folder`.

    Raises:
        RunError: a record cannot be read.
    """
    rows = tuple(Measurement(**row) for row in run.table.select(list(COLUMNS)).to_pylist())
    tested = [row for row in rows if not row.dataset.startswith(_TUNINGS)]
    bases = tuple(dict.fromkeys(row.checkpoint for row in rows))
    labels = tuple(dict.fromkeys(row.vector for row in rows if row.vector))
    placed = {(row.checkpoint, row.dataset, row.quantity, row.method, row.vector): row for row in tested}
    return TuningRun(
        bases=bases,
        learnings=tuple(_learnings(folder, rows)),
        outcomes={one: tuple(_outcome(placed, one, base, labels) for base in bases) for one in _abilities(tested)},
        equal_weights=tuple(tuple(keys) for keys in run.manifest.get("equal_weights") or ()),
        rows=rows,
    )


def _learnings(folder: Path, rows: Sequence[Measurement]) -> Iterator[Learning]:
    plan = folder / "plan.json"
    planned: list[Planned] = read_json(plan, list[Planned]) if plan.is_file() else []
    notes = {(row.checkpoint, row.vector): row.note for row in rows if row.quantity == "held_out_loss"}
    for unit in planned:
        path = folder / "units" / unit["unit"] / _RECORD
        if path.is_file():
            base, data, method = unit["name"].rsplit("/", 2)
            yield _learning(base, f"{method}:{data}", read_json(path, Record), notes)


def _learning(base: str, label: str, record: Record, notes: Mapping[tuple[str, str], str]) -> Learning:
    return Learning(
        base=base,
        label=label,
        losses=_curve(record["held_out_loss"]),
        documents=_curve(record.get("held_out_loss_documents") or {}),
        kept=record["kept_step"],
        spent=record["compute"],
        sides=record.get("sides") or {},
        left_out=notes.get((base, label), "").partition("; ")[2],
    )


def _curve(losses: Mapping[str, float]) -> Curve:
    return tuple(sorted((int(step), loss) for step, loss in losses.items()))


def _abilities(rows: Sequence[Measurement]) -> Iterator[Ability]:
    named = dict.fromkeys(
        (row.dataset, row.quantity, row.method) for row in rows if not row.quantity.endswith((CHANGE, P_VALUE))
    )
    for dataset, quantity, method in named:
        yield Ability(task=dataset.rpartition("/")[0], quantity=quantity, method=method, better=better_of(quantity))


Placed = Mapping[tuple[str, str, str, str, str], Measurement]


def _outcome(placed: Placed, ability: Ability, base: str, labels: Sequence[str]) -> Outcome:
    def at(label: str = "", what: str = "") -> Measurement | None:
        return placed.get((base, f"{ability.task}/test", f"{ability.quantity}{what}", ability.method, label))

    became = (
        Became(label=label, value=at(label), change=at(label, CHANGE), change_p=at(label, P_VALUE)) for label in labels
    )
    return Outcome(base=base, plain=at(), became=tuple(one for one in became if one.value is not None))
