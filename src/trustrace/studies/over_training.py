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
from trustrace.studies.keeping import Keeping, Tell, Unread, chosen_pairs, ignore, read_all, require_room
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
    unread: Mapping[str, Unread]

    @cached_property
    def strange(self) -> frozenset[str]:
        """The keys of checkpoints that are not what they are called."""
        return frozenset(alarm.checkpoint.key for alarm in self.alarms)

    @cached_property
    def trained(self) -> tuple[Subject, ...]:
        """The checkpoints of the series that are what they are called."""
        return tuple(one for one in self.series if one.checkpoint.key not in self.strange)

    def read(self, statements: Statements) -> tuple[Subject, ...]:
        """Those of them that could be read on a dataset."""
        return tuple(one for one in self.trained if statements.name not in self.unread.get(one.checkpoint.key, ()))

    @property
    def keys(self) -> list[str]:
        """Of those that take part in the comparison of any dataset."""
        parts = {one.checkpoint.key for statements in self.plan.datasets for one in self.read(statements)}
        return [one.checkpoint.key for one in self.trained if one.checkpoint.key in parts]

    @property
    def series(self) -> tuple[Subject, ...]:
        """All checkpoints of the series."""
        return tuple(subject for subject in self.plan.subjects if subject.role == "measured")

    @cached_property
    def paired(self) -> frozenset[str]:
        """The keys of those that are compared pair by pair: the same ones whatever fails."""
        return chosen_pairs(self.series, most=self.over.matrix_checkpoints, strange=self.strange)

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

    def units(self) -> list[tuple[Unit, tuple[Subject, ...], tuple[Statements, ...]]]:
        """Of every dataset, and of all of them together, at the last checkpoint that is compared pair by pair, where there are several."""
        datasets = self.plan.datasets
        parts: list[tuple[tuple[Subject, ...], tuple[Statements, ...]]] = [(self.read(one), (one,)) for one in datasets]
        if len(datasets) > 1:
            shared = [one for one in self.trained if all(one in subjects for subjects, _ in parts)]
            last = [one for one in shared if one.checkpoint.key in self.paired][-1:]
            parts.append((tuple(last), datasets))
        names = [*(one.name for one in datasets), "between datasets"]
        return [
            (self.unit(name, [one.checkpoint.key for one in subjects], some), subjects, some)
            for name, (subjects, some) in zip(names, parts, strict=False)
            if subjects
        ]


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
            unread={},
        )
        _tell_of(work.alarms, tell)
        failures: list[str] = []
        if not all(ledger.is_finished(unit) for unit, _, _ in work.units()):
            work = _read_all(work, budget=scratch_budget, tell=tell)
            failures = [*_failures(work), *_compare_all(work)]
        _conclude(work, failures)
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


def _read_all(work: _Comparison, *, budget: int | None, tell: Tell) -> _Comparison:
    """Read every checkpoint that takes part, and come back as what was read left the work.

    That weights are wrong may show only when more were read, and so may that they are right: it ends when neither changes what is needed.
    """
    datasets = [one for one in work.plan.datasets if _can_be_folded(work, one)]
    if not datasets:
        return work
    require_room(work.keeping(datasets), budget=budget, tell=tell)
    unread: Mapping[str, Unread] = {}
    for _ in range(len(work.series) + 1):
        keeping = work.keeping(datasets)
        unread = read_all(keeping, work.ledger, progress=work.progress)
        alarms = quarantined(work.plan, work.ledger)
        _tell_of([one for one in alarms if one not in work.alarms], tell)
        before, work = work, replace(work, alarms=alarms)
        if (before.trained, before.paired) == (work.trained, work.paired):
            break
    return replace(work, unread=unread)


def _failures(work: _Comparison) -> list[str]:
    """A line for each checkpoint that could not be read at all, and for each dataset that one could not be read on."""
    wanted, lines = sum(_can_be_folded(work, one) for one in work.plan.datasets), []
    for key, why in work.unread.items():
        if len(why) == wanted and len(set(why.values())) == 1:
            lines.append(f"{key}: {next(iter(why.values()))}")
        else:
            lines += [f"{key} on {name}: {one}" for name, one in why.items()]
    return lines


def _compare_all(work: _Comparison) -> list[str]:
    """Compare what was read, and say what failed."""
    keeping, failures = work.keeping(work.plan.datasets), []
    for unit, subjects, datasets in work.units():
        if work.ledger.is_finished(unit):
            continue
        started = time.perf_counter()
        try:
            series = {one.name: _members(keeping, subjects, one) for one in datasets}
            rows, files = _measured(work, datasets, series)
        except UNIT_ERRORS as error:
            work.ledger.fail(unit, error)
            failures.append(f"{unit.name}: {error}")
        else:
            work.ledger.finish(unit, rows, seconds=time.perf_counter() - started, files=files)
    return failures


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
        MeasurementError: its folds are not possible, or something of it is not there.
    """
    Design.of(statements, config=keeping.plan.study.probing, seed=keeping.plan.study.seed)
    kept = []
    for subject in read:
        member = keeping.open(subject, statements)
        if member is None:
            raise MeasurementError(f"{statements.name}: what was read of {subject.checkpoint.key} is gone; run again")
        kept.append(member)
    return kept


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


def _conclude(work: _Comparison, failures: Sequence[str]) -> None:
    """Write the table and the summary of what is finished."""
    units = [unit for unit, _, _ in work.units() if work.ledger.is_finished(unit)]
    if units:
        tables = [work.ledger.rows_of(unit) for unit in units]
        write_table(pa.concat_tables(tables).combine_chunks(), work.ledger.folder / TABLE)
        write_transfers(work.ledger.folder)
    paths = [work.ledger.file_of(unit, "trajectories.json") for unit in units]
    said = {path.parent.name: read_document(path, _Told) for path in paths if path.is_file()}
    summary = {
        "checkpoints": work.keys,
        "failures": list(failures),
        "quarantined": told(work.alarms),
        "duplicates": sorted({tuple(pair) for one in said.values() for pair in one["duplicates"]}),
        "units": [unit.folder for unit in units],
    }
    work.ledger.write("dynamics.json", summary)
