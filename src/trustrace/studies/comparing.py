"""Several ways to change a model, side by side: what runs of steering, tuning and whatever else say of the same models and tasks.

A run of any study can be laid beside others as long as its rows name what was done to which model (``vector``; empty for nothing). Of a
steering run those settings are shown that won on the development half; which of them win on the test half is what is to be found out.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trustrace.core.errors import RunError
from trustrace.core.measurements import Measurement
from trustrace.measures.discoveries import q_values
from trustrace.runs.identity import canonical_json
from trustrace.runs.reading import Record, read_document
from trustrace.runs.table import read_measurements
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.steering.chosen import Chosen, best, chosen_in

TEST = "/test"
CHANGE, P_VALUE = "_change", "_change_p"
_OF_TWO = (CHANGE, P_VALUE, "_over_expert", "_over_expert_p")
PLAIN = "as it is"
"""The system of a model to which nothing is done."""

_OF_SETTINGS = ("separation", "on_front")
"""What these numbers begin with says something of vectors and settings, nothing of answers."""

_Key = tuple[str, str, str, str, str, str, float]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One number of one system.

    Attributes:
        target: The model to which something is done.
        task: What it is asked.
        quantity: Which number.
        by: Who graded.
        system: What is done: ``as it is``, a vector's name, ``instruction:...``, ``full:...``, ``lora:...``.
        role: ``control`` for what should do nothing.
        value: The number.
        lower: Lower end of its 95 % interval.
        upper: Upper end.
        change: Against the model as it is, over the same items.
        change_lower: Lower end of its interval.
        change_upper: Upper end.
        p: Of exchanging the two models' answers.
        q: The same with false discoveries controlled over all changes that are shown, controls among them (Benjamini and Hochberg).
        n: Items.
        items: Which items: equal letters are the very same items, asked and judged in the same way.
        run: The run that says so.
    """

    target: str
    task: str
    quantity: str
    by: str
    system: str
    role: str
    value: float
    lower: float
    upper: float
    change: float
    change_lower: float
    change_upper: float
    p: float
    q: float = math.nan
    n: int
    items: str
    run: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Numbers side by side, and what to know of them."""

    rows: tuple[Compared, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run as it lies in its folder."""

    folder: Path
    rows: tuple[Measurement, ...]
    items: Mapping[str, str]
    won: frozenset[tuple[str, str, str, float]] | None


def compare_runs(runs: Sequence[Path], *, quantities: Sequence[str] = (), every: bool = False) -> Comparison:
    """The numbers of several runs on the test half, by model, task and quantity.

    Args:
        runs: Run folders.
        quantities: Which numbers; all by default.
        every: Show every setting of a steering run that was tested, not only what won on the development half.

    Raises:
        RunError: a folder holds no run, none of its numbers is on the test half, or no quantity is called so.
    """
    read = [_read(run, every=every) for run in dict.fromkeys(runs)]
    known = {row.quantity for run in read for row in run.rows}
    if unknown := sorted(set(quantities) - known):
        raise RunError(f"no run has a quantity {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    letters = _letters(read)
    rows = [row for run in read for row in _compared(run, letters, quantities)]
    tasks = list(dict.fromkeys(row.task for row in rows))
    rows.sort(key=lambda row: (row.target, tasks.index(row.task), row.quantity, row.by, row.items))
    shown = _with_q(tuple(_once_as_it_is(rows)))
    return Comparison(rows=shown, notes=tuple(_notes(read, letters, rows)))


def _with_q(rows: Sequence[Compared]) -> tuple[Compared, ...]:
    """Over all changes that are shown at once, whatever their model, task and quantity."""
    discovered = q_values([row.p for row in rows])
    return tuple(replace(row, q=q) for row, q in zip(rows, discovered, strict=True))


def _once_as_it_is(rows: Sequence[Compared]) -> Iterator[Compared]:
    """Every run asks the model as it is; one of these answers is enough."""
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        place = (row.target, row.task, row.quantity, row.by, row.items)
        if row.system != PLAIN or place not in seen:
            yield row
        if row.system == PLAIN:
            seen.add(place)


def _read(folder: Path, *, every: bool) -> _Run:
    if not (folder / "study.json").is_file():
        raise RunError(
            f"{folder}: no run here (study.json is missing); give folders that steer, finetune or evaluate wrote"
        )
    study = read_document(folder / "study.json", dict[str, Any])
    every_row = read_measurements(folder / "measurements.parquet")
    tested = tuple(row for row in every_row if row.dataset.endswith(TEST) and not row.quantity.startswith(_OF_SETTINGS))
    records = [read_document(path, Record) for path in sorted(folder.glob("units/*/record.json"))]
    if not tested:
        raise RunError(f"{folder}: none of its numbers is of the test half; finish the run first")
    won = _won(folder, every_row) if study.get("study") == "steer" and not every else None
    return _Run(folder=folder, rows=tested, items=_items(study, records), won=won)


def _items(study: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What decides the items of each data set and how they are judged: the task with all its options and judges, seed and conventions."""
    found = {}
    for record in records:
        task = record["inputs"].get("task")
        if isinstance(task, dict) and "name" in task:
            options = {name: value for name, value in task.items() if name in TaskConfig.model_fields}
            title = TaskConfig.read(options, where="a record").title
            content = [{**TaskConfig.read(options, where="a record").model_dump(mode="json")}, task.get("contents")]
            asked = canonical_json([content, study.get("seed"), study.get("protocol")])
            found[f"{title}{TEST}"] = hashlib.sha256(asked.encode()).hexdigest()
    return found


def _won(folder: Path, rows: Sequence[Measurement]) -> frozenset[tuple[str, str, str, float]]:
    """Of each target and contrast, the setting that was best on the development half, among vectors and among controls."""
    candidates: dict[tuple[str, str, str], list[Chosen]] = {}
    for one in chosen_in(folder, rows):
        candidates.setdefault((one.row.checkpoint, one.contrast, one.row.role), []).append(one)
    return frozenset(best(several).setting for several in candidates.values())


def _letters(runs: Sequence[_Run]) -> dict[tuple[str, str], str]:
    """A letter for each way in which a data set is asked, in order of the runs."""
    found: dict[tuple[str, str], str] = {}
    for run in runs:
        for dataset, digest in run.items.items():
            known = sum(name == dataset for name, _ in found)
            found.setdefault((dataset, digest), chr(ord("A") + known))
    return found


def _compared(run: _Run, letters: Mapping[tuple[str, str], str], quantities: Sequence[str]) -> Iterator[Compared]:
    placed = {_place(row): row for row in run.rows}
    for row in run.rows:
        if row.quantity.endswith(_OF_TWO) or (quantities and row.quantity not in quantities):
            continue
        if row.site and run.won is not None and (row.checkpoint, row.vector, row.site, row.alpha) not in run.won:
            continue
        change, p = (placed.get(_place(row, ending)) for ending in (CHANGE, P_VALUE))
        nowhere = math.nan
        yield Compared(
            target=row.checkpoint,
            task=row.dataset.removesuffix(TEST),
            quantity=row.quantity,
            by=row.method,
            system=_system(row),
            role=row.role,
            value=row.value,
            lower=row.lower,
            upper=row.upper,
            change=change.value if change else nowhere,
            change_lower=change.lower if change else nowhere,
            change_upper=change.upper if change else nowhere,
            p=p.value if p else nowhere,
            n=row.n,
            items=letters.get((row.dataset, run.items.get(row.dataset, "")), "?"),
            run=run.folder.name,
        )


def _place(row: Measurement, ending: str = "") -> _Key:
    return (row.checkpoint, row.dataset, f"{row.quantity}{ending}", row.method, row.vector, row.site, row.alpha)


def _system(row: Measurement) -> str:
    if not row.vector:
        return PLAIN
    where = f" at {row.site}" if row.site else ""
    return f"{row.vector}{where}" + (f", {row.alpha:+g}" if row.alpha else "")


def _notes(runs: Sequence[_Run], letters: Mapping[tuple[str, str], str], rows: Sequence[Compared]) -> Iterator[str]:
    differing = sorted({dataset.removesuffix(TEST) for (dataset, _), letter in letters.items() if letter != "A"})
    if differing:
        yield (
            f"{', '.join(differing)}: not all runs asked the same items in the same way; only equal letters compare item by item"
        )
    else:
        yield "equal letters: the very same items, asked and judged in the same way; changes are paired, within a run"
    if any(run.won is not None for run in runs):
        yield (
            "of steering, what won on the development half is shown, for each contrast the best vector and the best control; "
            "--every shows all that was tested"
        )
    tested = sum(not math.isnan(row.p) for row in rows)
    yield f"p is raw; q controls false discoveries over all {tested} changes that are shown, and is another where others are shown"
    yield from _disagreements(rows)


def _disagreements(rows: Sequence[Compared]) -> Iterator[str]:
    """Models that answer the same items otherwise in another run: another dtype, or other weights of one name."""
    plain: dict[tuple[str, ...], set[float]] = {}
    for row in rows:
        if row.system == PLAIN and not math.isnan(row.value):
            plain.setdefault((row.target, row.task, row.quantity, row.by, row.items), set()).add(row.value)
    for (target, task, quantity, _, _), values in plain.items():
        if max(values) - min(values) > 1e-3 * max(1.0, abs(max(values))):
            yield (
                f"{target} as it is has {quantity} {min(values):.4g} and {max(values):.4g} on the same items of {task}: "
                "the runs differ in dtype or in weights"
            )
