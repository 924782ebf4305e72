"""Dynamics: the checkpoints of a trace's run, captured once more and compared with each other.

A trace lets activations go when they are measured; what compares two checkpoints needs those of both at once. So each model comes by once
more, on the stream of a trace, and what is needed of it is kept in a folder of the run (:mod:`.keeping`) until everything is compared.
Checkpoints whose weights are not those of their place are left out. In the run folder stand::

    dynamics.parquet                            the tidy table of this comparison, apart from the trace's own
    transfer.csv                                every pair of a transfer with its null, p and q, one row each
    dynamics.json                               what failed or was left out, which checkpoints are equal
    units/dynamics-<dataset>-.../trajectories.json   what became of each statement, by site; the hardest first
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from typing_extensions import TypedDict

from trustrace.activations.store import Activations
from trustrace.core.errors import MeasurementError, RunError
from trustrace.core.measurements import Measurement
from trustrace.core.progress import Progress, silent
from trustrace.core.statements import Statements
from trustrace.measures.over_training.alone import Member
from trustrace.measures.over_training.between_datasets import Part, transfer_between
from trustrace.measures.over_training.chance import with_discoveries
from trustrace.measures.over_training.compare import OverTraining, compare, named
from trustrace.measures.over_training.config import OverTrainingConfig
from trustrace.measures.over_training.trajectories import hardest
from trustrace.measures.over_training.views import Design, site_views
from trustrace.models.integrity import Alarm
from trustrace.runs.identity import Unit, code_version
from trustrace.runs.ledger import Ledger
from trustrace.runs.reading import read_document
from trustrace.runs.table import write_table
from trustrace.studies.config import TraceConfig
from trustrace.studies.course_tables import TABLE, write_transfers
from trustrace.studies.keeping import Keeping, Tell, chosen_pairs, ignore, read_all, require_room
from trustrace.studies.planning import MEASURING, Plan, Subject, plan_trace
from trustrace.studies.screening import quarantined, told
from trustrace.studies.settings import Settings
from trustrace.studies.tracing import UNIT_ERRORS

SCRATCH = "dynamics-scratch"
"""Where in the run folder is kept what the comparison needs."""

Series = Mapping[str, Sequence[Member]]
"""What is kept of each checkpoint that could be read, in the order of training, by dataset."""


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """A comparison at work."""

    plan: Plan
    ledger: Ledger
    over: OverTrainingConfig
    sites: tuple[str, ...]
    settings: Settings
    progress: Progress
    alarms: tuple[Alarm, ...]

    @cached_property
    def trained(self) -> tuple[Subject, ...]:
        """The checkpoints of the series that are what they are called."""
        strange = {alarm.checkpoint.key for alarm in self.alarms}
        return tuple(one for one in self.series if one.checkpoint.key not in strange)

    @property
    def series(self) -> tuple[Subject, ...]:
        """All checkpoints of the series."""
        return tuple(subject for subject in self.plan.subjects if subject.role == "measured")

    @cached_property
    def paired(self) -> frozenset[str]:
        """The keys of those that are compared pair by pair: the same ones whatever fails or is left out."""
        return chosen_pairs(self.series, most=self.over.matrix_checkpoints)

    def keeping(self, datasets: Sequence[Statements]) -> Keeping:
        """What is kept of the checkpoints on `datasets`."""
        return Keeping(
            plan=self.plan,
            subjects=self.trained,
            datasets=tuple(datasets),
            paired=self.paired,
            sites=self.sites or self.plan.study.sites,
            settings=self.settings,
            folder=self.ledger.folder / SCRATCH,
        )

    def unit(self, name: str, keys: Sequence[str], datasets: Sequence[Statements]) -> Unit:
        """The comparison of some checkpoints on some datasets."""
        study = self.plan.study
        pins = {one.checkpoint.key: one.checkpoint.commit for one in self.trained}
        return Unit(
            step="dynamics",
            name=name,
            inputs={
                "checkpoints": [[key, pins[key]] for key in keys],
                "pairs": [key for key in keys if key in self.paired],
                "datasets": {one.name: one.fingerprint for one in datasets},
                "sites": list(self.sites) or study.sites,
                "position": study.position,
                "dtype": study.dtype,
                "truncation": study.truncation,
                "probing": study.probing.model_dump(mode="json"),
                "over_training": self.over.model_dump(mode="json"),
                "seed": study.seed,
                "code": code_version(*MEASURING),
            },
        )

    def units(self, keys: Sequence[str]) -> list[tuple[Unit, tuple[Statements, ...]]]:
        """Of every dataset, and of all of them together, at the last checkpoint that is compared pair by pair, where there are several."""
        alone: list[tuple[Unit, tuple[Statements, ...]]] = [
            (self.unit(one.name, keys, [one]), (one,)) for one in self.plan.datasets
        ]
        last = [key for key in keys if key in self.paired][-1:]
        if len(self.plan.datasets) == 1:
            return alone
        return [*alone, (self.unit("between datasets", last, self.plan.datasets), self.plan.datasets)]


def run_dynamics(
    run: Path,
    *,
    settings: Settings,
    over: OverTrainingConfig | None = None,
    sites: Sequence[str] = (),
    scratch_budget: int | None = None,
    progress: Progress = silent,
    tell: Tell = ignore,
) -> Path:
    """Compare the checkpoints of the trace in `run` with each other.

    Args:
        run: The folder of a trace.
        settings: Where work is done.
        over: How checkpoints are compared.
        sites: Which sites; by default those of the trace.
        scratch_budget: Bytes that may be kept while checkpoints are read and compared; None is what the disk has.
        progress: Told of what is captured and compared.
        tell: Told of what is left out, and how much scratch is needed, before work starts.

    Returns:
        The path of the table.

    Raises:
        RunError: `run` is no trace's folder, or a checkpoint or dataset failed; what could be compared is in the table all the same.
        ConfigError: more than `scratch_budget` is needed, or a site is unknown.
        DiskFullError: what is kept does not fit on the disk.
    """
    study = _study(run)
    settings.require_device()
    plan = plan_trace(study, settings=settings)
    with Ledger.open(run, study=study.model_dump(mode="json")) as ledger:
        work = _Comparison(
            plan=plan,
            ledger=ledger,
            over=over or OverTrainingConfig(),
            sites=tuple(sites),
            settings=settings,
            progress=progress,
            alarms=quarantined(plan, ledger),
        )
        _tell_of(work.alarms, tell)
        keys = [subject.checkpoint.key for subject in work.trained]
        failures: list[str] = []
        if not all(ledger.is_finished(unit) for unit, _ in work.units(keys)):
            work, keys, failures = _compare_all(work, budget=scratch_budget, tell=tell)
        _conclude(work, keys, failures)
        if not failures:
            shutil.rmtree(run / SCRATCH, ignore_errors=True)
    if failures:
        raise RunError(
            f"{run}: what could be compared is in {TABLE}, but\n"
            + "\n".join(f"  {one}" for one in failures)
            + f"\nwhat was read stays in {run / SCRATCH} for the next call; remove it if there will be none"
        )
    return run / TABLE


def _tell_of(alarms: Sequence[Alarm], tell: Tell) -> None:
    for alarm in alarms:
        tell(f"left out: {alarm.checkpoint.key}: {alarm.reason}")


def _study(run: Path) -> TraceConfig:
    """The trace that `run` belongs to.

    Raises:
        RunError: it belongs to none.
    """
    if not (run / "study.json").is_file():
        raise RunError(f"{run} is no run folder; name one that 'trustrace trace' wrote")
    values = read_document(run / "study.json", dict[str, Any])
    if values.get("study") != "trace":
        raise RunError(
            f"{run} holds a study of the kind {str(values.get('study'))[:80]!r}; dynamics compare the checkpoints of a trace"
        )
    return TraceConfig.read(values, where=str(run / "study.json"))


def _compare_all(work: _Comparison, *, budget: int | None, tell: Tell) -> tuple[_Comparison, list[str], list[str]]:
    """Read every checkpoint, then compare them; the work as what was read left it, the checkpoints that took part, and what failed."""
    keeping = work.keeping([one for one in work.plan.datasets if _can_be_folded(work, one)])
    if keeping.datasets:
        require_room(keeping, budget=budget, tell=tell)
    unread = read_all(keeping, work.ledger, progress=work.progress) if keeping.datasets else {}
    failures = [f"{key}: {error}" for key, error in unread.items()]
    # What is wrong with weights may show only now, where the trace has not read all of them.
    alarms = quarantined(work.plan, work.ledger)
    _tell_of([one for one in alarms if one not in work.alarms], tell)
    work = replace(work, alarms=alarms)
    read = [one for one in work.trained if one.checkpoint.key not in unread]
    keys = [one.checkpoint.key for one in read]
    for unit, datasets in work.units(keys) if keys else []:
        if work.ledger.is_finished(unit):
            continue
        started = time.perf_counter()
        try:
            series = {one.name: _members(keeping, read, one) for one in datasets}
            rows, files = _measured(work, datasets, series)
        except UNIT_ERRORS as error:
            work.ledger.fail(unit, error)
            failures.append(f"{unit.name}: {error}")
        else:
            work.ledger.finish(unit, rows, seconds=time.perf_counter() - started, files=files)
    return work, keys, failures


def _can_be_folded(work: _Comparison, statements: Statements) -> bool:
    """Whether the labels and groups of a dataset allow its folds; where they do not, its comparison says so, and nothing need be read."""
    try:
        Design.of(statements, config=work.plan.study.probing, seed=work.plan.study.seed)
    except MeasurementError:
        return False
    return True


def _members(keeping: Keeping, read: Sequence[Subject], statements: Statements) -> list[Member]:
    """What is kept of one dataset, in the order of training.

    Raises:
        MeasurementError: its folds are not possible.
    """
    Design.of(statements, config=keeping.plan.study.probing, seed=keeping.plan.study.seed)
    kept = (keeping.open(subject, statements) for subject in read)
    return [one for one in kept if one is not None]


def _measured(
    work: _Comparison, datasets: Sequence[Statements], series: Series
) -> tuple[list[Measurement], Mapping[str, bytes]]:
    if len(datasets) > 1:
        return _between(work, datasets, series), {}
    (statements,) = datasets
    study = work.plan.study
    found = compare(
        series[statements.name],
        statements,
        config=study.probing,
        over=work.over,
        seed=study.seed,
        floor=_floor(work, statements),
        device=work.settings.torch_device(),
        progress=work.progress,
    )
    rows = found.measurements(dataset=statements.name, position=study.position, seed=study.seed)
    return rows, {"trajectories.json": _trajectories(found, statements, most=work.over.hardest)}


def _between(work: _Comparison, datasets: Sequence[Statements], series: Series) -> list[Measurement]:
    """The transfer between datasets at every site of the last checkpoint that is compared pair by pair."""
    study, device = work.plan.study, work.settings.torch_device()
    last = {one.name: _last(series[one.name]) for one in datasets}
    designs = {one.name: Design.of(one, config=study.probing, seed=study.seed) for one in datasets}
    sites = next(iter(last.values())).sites
    found = []
    for site in sites:
        parts = [
            Part(statements=one, design=designs[one.name], view=site_views(last[one.name], [site], device=device)[0])
            for one in datasets
        ]
        draws = {"draws": work.over.matrix_draws, "null_draws": work.over.null_draws}
        found.append(tuple(transfer_between(parts, config=study.probing, **draws)))
    return [
        Measurement.of(
            named(cell),
            dataset=cell.target,
            protocol="rigorous",
            seed=study.seed,
            checkpoint=last[cell.target].checkpoint,
            site=site,
            position=study.position,
        )
        for site, cells in zip(sites, with_discoveries(found), strict=True)
        for cell in cells
    ]


def _last(series: Sequence[Member]) -> Activations:
    """The last activations of `series`.

    Raises:
        MeasurementError: all have gone.
    """
    kept = [one for one in series if isinstance(one, Activations)]
    if not kept:
        raise MeasurementError("no checkpoint that is compared pair by pair could be read")
    return kept[-1]


def _floor(work: _Comparison, statements: Statements) -> float | None:
    """The highest accuracy that the trace reached from the text alone; None where it is not measured."""
    unit = work.plan.floors_unit(statements)
    if not work.ledger.is_finished(unit):
        return None
    wanted = ("accuracy", "floor", "rigorous")
    rows = [row for row in work.ledger.measurements_of(unit) if (row.quantity, row.role, row.protocol) == wanted]
    return max((row.value for row in rows if row.value == row.value), default=None)


def _trajectories(found: OverTraining, statements: Statements, *, most: int) -> bytes:
    """What became of each statement, as JSON."""
    content: dict[str, Any] = {
        "checkpoints": [checkpoint.key for checkpoint in found.checkpoints],
        "duplicates": found.duplicates,
        "sites": {
            course.site: {
                "hardest": [
                    asdict(one) | {"text": statements.texts[one.row], "label": statements.labels[one.row]}
                    for one in hardest(course.trajectories, most=most)
                ],
                "statements": [asdict(one) for one in course.trajectories],
            }
            for course in found.sites
        },
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


class _Told(TypedDict):
    duplicates: list[list[str]]


def _conclude(work: _Comparison, keys: Sequence[str], failures: Sequence[str]) -> None:
    """Write the table and the summary of what is finished."""
    units = [unit for unit, _ in work.units(keys) if work.ledger.is_finished(unit)] if keys else []
    if units:
        tables = [work.ledger.rows_of(unit) for unit in units]
        write_table(pa.concat_tables(tables).combine_chunks(), work.ledger.folder / TABLE)
        write_transfers(work.ledger.folder)
    paths = [work.ledger.file_of(unit, "trajectories.json") for unit in units]
    said = {path.parent.name: read_document(path, _Told) for path in paths if path.is_file()}
    summary = {
        "checkpoints": list(keys),
        "failures": list(failures),
        "quarantined": told(work.alarms),
        "duplicates": sorted({tuple(pair) for one in said.values() for pair in one["duplicates"]}),
        "units": [unit.folder for unit in units],
    }
    work.ledger.write("dynamics.json", summary)
