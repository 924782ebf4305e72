"""Starting a finished run of 10,000 units again, until it says that there is nothing to do.

The run is a trace of 2,000 checkpoints on five data sets, with the rows of a small study in each unit. The units are planned as ever, but
from a list of checkpoints: listing and pinning them depends on where they lie, and is not counted. Everything else of a start is: the claim
of the folder, the identities of all units, what is finished and what failed, the table, the audits and the manifest. What the interpreter
takes to load torch and transformers comes before any start, and is told beside it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, seconds
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Estimate, Measurement
from trustrace.core.statements import LabelMeaning, Source, Statements
from trustrace.models.language_model import LanguageModel
from trustrace.runs.ledger import Ledger
from trustrace.runs.table import as_table, write_table
from trustrace.studies import trace
from trustrace.studies.config import TraceConfig
from trustrace.studies.phases import course_units, phases_unit
from trustrace.studies.planning import Subject, Units
from trustrace.studies.settings import Settings

CHECKPOINTS, DATASETS, ROWS, REPEATS = 2_000, 5, 30, 3
ALLOWED_SECONDS = 3.0


def run() -> list[Row]:
    """The first start after the last unit was finished writes the table; every one after that finds it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        _finish_all(out)
        first = seconds(lambda: _start(out))
        again = [seconds(lambda: _start(out)) for _ in range(REPEATS)]
        loading = seconds(lambda: subprocess.run([sys.executable, "-c", "import trustrace.studies.trace"], check=True))
    return [
        Row.of(
            [ALLOWED_SECONDS / second for second in again],
            what=f"restart of a finished run of {CHECKPOINTS * DATASETS:,} units, until there is nothing to do",
            baseline=f"{ALLOWED_SECONDS:g} s, planning of checkpoints and imports aside",
            reach=1.0,
            detail=f"{sorted(again)[len(again) // 2]:.2f} s; {first:.1f} s where the table is still to be put together; "
            f"imports take {loading:.1f} s",
            threads=1,
        )
    ]


def _start(out: Path) -> None:
    with _planned():
        trace.run_trace(_study(), out=out, settings=Settings(device="cpu"))


@contextmanager
def _planned() -> Iterator[None]:
    """Trace what is listed here in place of a source."""
    usual = trace.plan_trace
    trace.plan_trace = lambda study, **_: _units(study)  # type: ignore[assignment]
    try:
        yield
    finally:
        trace.plan_trace = usual


def _study() -> TraceConfig:
    sets: list[Any] = [{"name": f"set {place}", "path": "listed"} for place in range(DATASETS)]
    return TraceConfig.read(
        {"name": "restart", "checkpoints": {"source": "listed"}, "datasets": sets, "random_init_seeds": []}, where="-"
    )


def _units(study: TraceConfig) -> Units:
    subjects = [
        Checkpoint(family="made up", model="series", revision=f"step{step}", commit=f"{step:040x}", step=step)
        for step in range(CHECKPOINTS)
    ]
    return Units(
        study=study,
        datasets=tuple(_statements(one.name) for one in study.datasets),
        subjects=tuple(Subject(checkpoint=one, role="measured", load=_nothing) for one in subjects),
    )


def _nothing() -> LanguageModel:
    raise RuntimeError("a finished run loads no model")


def _statements(name: str) -> Statements:
    return Statements(
        name=name,
        dimension="custom",
        texts=tuple(f"The {row}th day of {name} was {('dry', 'wet')[row % 2]}." for row in range(1000)),
        labels=tuple(row % 2 for row in range(1000)),
        groups=tuple(map(str, range(1000))),
        splits=("train",) * 1000,
        meaning=LabelMeaning(one="wet", zero="dry", desired=1),
        source=Source(title="made up", licence="none"),
    )


def _finish_all(out: Path) -> None:
    """Write every unit as the ledger does, but without waiting for the disk after each."""
    study = _study()
    plan = _units(study)
    with Ledger.open(out, study=study.model_dump(mode="json")) as ledger:
        write_table(as_table(_rows()), out / "rows.parquet")
        for unit in plan.units:
            home = out / "units" / unit.folder
            home.mkdir(parents=True)
            os.link(out / "rows.parquet", home / "measurements.parquet")
            record = {"step": unit.step, "name": unit.name, "inputs": unit.inputs, "seconds": 1.0}
            (home / "record.json").write_text(json.dumps(record))
        (out / "rows.parquet").unlink()
    with Ledger.open(out, study=study.model_dump(mode="json")) as ledger:
        ledger.finish(phases_unit(plan, course_units(plan, ledger)), [], seconds=1.0)


def _rows() -> list[Measurement]:
    estimates = [
        Estimate(quantity=f"quantity {place}", method="logistic", value=place / ROWS, n=1000, n_groups=1000)
        for place in range(ROWS)
    ]
    return [Measurement.of(one, dataset="set", protocol="rigorous", seed=0) for one in estimates]
