"""Dynamics: the checkpoints of a trace's run, captured once more and compared with each other.

A trace lets activations go when they are measured; what compares checkpoints needs all of them at once. They are captured into the run's
scratch folder, one model in memory at a time, and are gone afterwards. In the run folder stand::

    dynamics.parquet                            the tidy table of this comparison, apart from the trace's own
    transfer.csv                                every pair of a transfer with its null, p and q, one row each
    dynamics.json                               what failed, which checkpoints are equal
    units/dynamics-<dataset>-.../trajectories.json   what became of each statement, by site; the hardest first
"""

import csv
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from typing_extensions import TypedDict

from trustrace.activations.capture import capture
from trustrace.activations.store import Activations
from trustrace.core.errors import DiskFullError, RunError
from trustrace.core.measurements import Measurement
from trustrace.core.progress import Progress, silent
from trustrace.core.statements import Statements
from trustrace.measures.over_training.between_datasets import Part, transfer_between
from trustrace.measures.over_training.chance import METHOD, with_discoveries
from trustrace.measures.over_training.compare import FROM, OverTraining, compare, named
from trustrace.measures.over_training.config import OverTrainingConfig
from trustrace.measures.over_training.trajectories import hardest
from trustrace.measures.over_training.views import Design, site_views
from trustrace.models.language_model import LanguageModel
from trustrace.runs.identity import Unit, code_version
from trustrace.runs.ledger import Ledger
from trustrace.runs.reading import read_document
from trustrace.runs.table import read_table, write_table
from trustrace.studies.config import TraceConfig
from trustrace.studies.planning import MEASURING, Plan, Subject, plan_trace
from trustrace.studies.settings import Settings
from trustrace.studies.tracing import UNIT_ERRORS

TABLE = "dynamics.parquet"
TRANSFERS = "transfer.csv"

Captured = dict[str, list[Activations]]
"""The activations of each checkpoint that could be captured, in order, by dataset."""


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """A comparison at work."""

    plan: Plan
    ledger: Ledger
    over: OverTrainingConfig
    sites: tuple[str, ...]
    settings: Settings
    progress: Progress

    @property
    def trained(self) -> list[Subject]:
        return [subject for subject in self.plan.subjects if subject.role == "measured"]

    def unit(self, name: str, keys: Sequence[str], datasets: Sequence[Statements]) -> Unit:
        """The comparison of some checkpoints on some datasets."""
        study = self.plan.study
        pins = {one.checkpoint.key: one.checkpoint.commit for one in self.trained}
        return Unit(
            step="dynamics",
            name=name,
            inputs={
                "checkpoints": [[key, pins[key]] for key in keys],
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
        """Of every dataset, and of all of them together where there are several."""
        alone: list[tuple[Unit, tuple[Statements, ...]]] = [
            (self.unit(one.name, keys, [one]), (one,)) for one in self.plan.datasets
        ]
        if len(self.plan.datasets) == 1:
            return alone
        return [*alone, (self.unit("between datasets", keys[-1:], self.plan.datasets), self.plan.datasets)]


def run_dynamics(
    run: Path,
    *,
    settings: Settings,
    over: OverTrainingConfig | None = None,
    sites: Sequence[str] = (),
    progress: Progress = silent,
) -> Path:
    """Compare the checkpoints of the trace in `run` with each other.

    Args:
        run: The folder of a trace.
        settings: Where work is done.
        over: How checkpoints are compared.
        sites: Which sites; by default those of the trace.
        progress: Told of what is captured and compared.

    Returns:
        The path of the table.

    Raises:
        RunError: `run` is no trace's folder, or a checkpoint or dataset failed; what could be compared is in the table all the same.
        DiskFullError: the activations of all checkpoints do not fit on the disk.
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
        )
        keys = [subject.checkpoint.key for subject in work.trained]
        failures: list[str] = []
        if not all(ledger.is_finished(unit) for unit, _ in work.units(keys)):
            with ledger.scratch() as folder:
                keys, failures = _compare_all(work, folder)
        _conclude(work, keys, failures)
    if failures:
        raise RunError(
            f"{run}: what could be compared is in {TABLE}, but\n" + "\n".join(f"  {one}" for one in failures)
        )
    return run / TABLE


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


def _compare_all(work: _Comparison, folder: Path) -> tuple[list[str], list[str]]:
    """Capture everything, then compare it; the checkpoints that took part, and what failed."""
    captured: Captured = {statements.name: [] for statements in work.plan.datasets}
    keys, failures = [], []
    for place, subject in enumerate(work.trained):
        try:
            taken = _capture(work, subject, folder / str(place))
        except UNIT_ERRORS as error:
            failures.append(f"{subject.checkpoint.key}: {error}")
            continue
        keys.append(subject.checkpoint.key)
        for name, activations in taken.items():
            captured[name].append(activations)
        work.progress(place + 1, len(work.trained), "checkpoints captured")
    for unit, datasets in work.units(keys) if keys else []:
        if work.ledger.is_finished(unit):
            continue
        started = time.perf_counter()
        try:
            rows, files = _measured(work, datasets, captured)
        except UNIT_ERRORS as error:
            work.ledger.fail(unit, error)
            failures.append(f"{unit.name}: {error}")
        else:
            work.ledger.finish(unit, rows, seconds=time.perf_counter() - started, files=files)
    return keys, failures


def _capture(work: _Comparison, subject: Subject, folder: Path) -> dict[str, Activations]:
    """The activations of every dataset in one checkpoint."""
    model = subject.load()
    _require_space(work, model, folder.parent)
    folder.mkdir()
    return {
        statements.name: capture(
            model,
            statements.texts,
            sites=work.sites or work.plan.study.sites,
            position=work.plan.study.position,
            batch_tokens=work.settings.batch_tokens,
            out=folder / f"{place}.safetensors",
            fingerprint=statements.texts_fingerprint,
            truncation=work.plan.study.truncation,
        )
        for place, statements in enumerate(work.plan.datasets)
    }


def _require_space(work: _Comparison, model: LanguageModel, folder: Path) -> None:
    """Raise before a series is begun that the disk cannot hold.

    Raises:
        DiskFullError: with what is needed and the ways out.
    """
    if any(folder.iterdir()):
        return
    wanted = work.sites or work.plan.study.sites
    sites = len(model.anatomy.blocks) + 2 if wanted == "all" else len(wanted)
    needed = 4 * model.d_model * sites * sum(map(len, work.plan.datasets)) * len(work.trained)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            f"the activations of {len(work.trained)} checkpoints at {sites} sites take {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} "
            "are free; compare fewer sites (--site), or a trace of fewer checkpoints"
        )


def _measured(
    work: _Comparison, datasets: Sequence[Statements], captured: Captured
) -> tuple[list[Measurement], Mapping[str, bytes]]:
    if len(datasets) > 1:
        return _between(work, datasets, captured), {}
    (statements,) = datasets
    study = work.plan.study
    found = compare(
        captured[statements.name],
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


def _between(work: _Comparison, datasets: Sequence[Statements], captured: Captured) -> list[Measurement]:
    """The transfer between datasets at every site of the last checkpoint."""
    study, device = work.plan.study, work.settings.torch_device()
    last = {one.name: captured[one.name][-1] for one in datasets}
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
        "duplicates": sorted({tuple(pair) for one in said.values() for pair in one["duplicates"]}),
        "units": [unit.folder for unit in units],
    }
    work.ledger.write("dynamics.json", summary)


def emergences(table: Path) -> list[dict[str, Any]]:
    """When each concept emerges at each site, for a table."""
    shown = ("dataset", "site", "quantity", "value", "lower", "upper", "note")
    rows = read_table(table).to_pylist()
    wanted = [row for row in rows if " emergence " in row["quantity"] and not row["quantity"].endswith(" q")]
    return [{name: row[name] for name in shown} for row in wanted]


_NULLS = {"transfer auroc": "auroc", "transfer auroc p": "p", "transfer auroc q": "q"}


def transfers(table: Path) -> list[dict[str, Any]]:
    """The AUROC of each pair of views, with the band that chance reaches, its p-value and its q-value: a row a pair."""
    pairs: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in read_table(table).to_pylist():
        method, _, source = row["method"].partition(FROM)
        if not row["quantity"].startswith("transfer auroc") or method != METHOD:
            continue
        place = {"dataset": row["dataset"], "site": row["site"], "source": source, "target": row["checkpoint"]}
        found = pairs.setdefault(tuple(place.values()), place)
        if row["quantity"] == "transfer auroc null":
            found |= {"null_low": row["lower"], "null_high": row["upper"]}
        else:
            found[_NULLS[row["quantity"]]] = row["value"]
        if row["quantity"] == "transfer auroc":
            found |= {"lower": row["lower"], "upper": row["upper"], "n": row["n"], "n_groups": row["n_groups"]}
    return list(pairs.values())


def write_transfers(folder: Path) -> None:
    """``transfer.csv`` beside the table in `folder`."""
    columns = ("dataset", "site", "source", "target", "auroc", "lower", "upper", "null_low", "null_high", "p", "q")
    with (folder / TRANSFERS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*columns, "n", "n_groups"])
        writer.writeheader()
        writer.writerows(transfers(folder / TABLE))
