"""Trace: every dataset, at every site, of every checkpoint."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trustrace.core.errors import RunError
from trustrace.core.measurements import Measurement
from trustrace.core.progress import Progress, enter, silent
from trustrace.core.statements import Statements
from trustrace.datasets.audit import audit
from trustrace.measures.floors import text_floors
from trustrace.models.integrity import Alarm
from trustrace.runs.identity import Unit
from trustrace.runs.ledger import Ledger
from trustrace.runs.manifest import environment
from trustrace.runs.remote import Mirror
from trustrace.studies.config import TraceConfig
from trustrace.studies.phases import course_units, judged, phases_unit
from trustrace.studies.planning import Subject, Units, plan_trace
from trustrace.studies.screening import quarantined, told
from trustrace.studies.settings import Settings
from trustrace.studies.sharding import WHOLE, Shard
from trustrace.studies.status import QUARANTINE
from trustrace.studies.tracing import Tracing
from trustrace.studies.visiting import Listed, make_visits, open_visits
from trustrace.studies.watched import watching


def run_trace(
    study: TraceConfig,
    *,
    out: Path,
    settings: Settings,
    shard: Shard = WHOLE,
    only_failed: bool = False,
    mirror: Mirror | None = None,
    progress: Progress = silent,
) -> Path:
    """Do what `study` asks for and `out` does not hold yet, then write the table, the audits and the manifest.

    Args:
        study: What is asked for.
        out: The run folder; the shards of a run share one.
        settings: Where work is done.
        shard: Which part is done here. Whoever ends last judges the courses, and leaves the table of an undivided run.
        only_failed: Try again what failed, and leave what was not begun.
        mirror: Where the run is kept as well; shards on several machines meet there.
        progress: Told of the units that are done here.

    Returns:
        The path of the tidy table.

    Raises:
        RunError: `out` belongs to another study, or units failed; what is finished is in the table all the same.
    """
    settings.require_device()
    plan = plan_trace(study, settings=settings)
    with (
        Ledger.open(out, study=study.model_dump(mode="json"), share=shard.name, mirror=mirror) as ledger,
        watching(out, worker=shard.name, progress=progress) as watched,
    ):
        trace = Tracing(
            plan=plan, ledger=ledger, settings=settings, progress=watched, shard=shard, only_failed=only_failed
        )
        with complete(trace):
            record_all_floors(trace)
            make_visits(trace, plan, Listed(open_visits(trace, plan)))
    return out / "measurements.parquet"


@contextmanager
def complete(trace: Tracing) -> Iterator[None]:
    """Say what `trace` will do, let the body do its units, and write what can be said then, however the body ends.

    Raises:
        RunError: units failed; what is finished is in the table all the same.
    """
    ledger, started = trace.ledger, time.monotonic()
    ledger.forget_failures(trace.plan.units)
    ledger.write("plan.json", [{"unit": unit.folder, "name": unit.name} for unit in trace.plan.units])
    trace.tell()
    try:
        yield
        with ledger.concluding():
            record_phases(trace)
    finally:
        with ledger.concluding():
            conclude(trace, started=started)
    while ledger.has_news():
        with ledger.concluding():
            record_phases(trace)
            conclude(trace, started=started)
    _require_success(trace)


def record_all_floors(trace: Tracing) -> None:
    """What is reached without a model on each dataset that falls to this process."""
    for statements in trace.plan.datasets:
        if trace.plan.floors_unit(statements).folder in trace.own:
            record_floors(trace, statements)


def record_floors(trace: Tracing, statements: Statements) -> None:
    """What is reached on `statements` without a model."""
    unit, study = trace.plan.floors_unit(statements), trace.plan.study
    if trace.ledger.is_finished(unit):
        return

    def floors() -> list[Measurement]:
        measured = [
            text_floors(statements, config=study.probing, protocol=protocol, seed=study.seed)
            for protocol in study.protocols
        ]
        return [row for rows in measured for row in rows]

    enter(trace.progress, "floors", dataset=statements.name)
    trace.attempt(unit, floors)


def record_phases(trace: Tracing) -> None:
    """Judge the courses over training; a checkpoint that is missing leaves a gap in them, but what is not done here is waited for."""
    if not trace.does_all and _is_open_elsewhere(trace):
        return
    units = _courses(trace)
    unit = phases_unit(trace.plan, units)
    if units and not trace.ledger.is_finished(unit):
        enter(trace.progress, "courses", checkpoint="")
        trace.attempt(unit, lambda: judged(trace.ledger, units, seed=trace.plan.study.seed))


def _is_open_elsewhere(trace: Tracing) -> bool:
    """Whether there are units that neither are finished nor have failed, because they are others' to do."""
    unfinished = [unit for unit in trace.plan.units if not trace.ledger.is_finished(unit)]
    return len(unfinished) > len(trace.ledger.failures(unfinished))


def conclude(trace: Tracing, *, started: float) -> None:
    """Write what can be said of the run as it stands, finished or not; `started` is read off a clock that nobody sets back."""
    ledger, plan = trace.ledger, trace.plan
    enter(trace.progress, "concluding", checkpoint="")
    alarms = quarantined(plan, ledger)
    left_out = {plan.trace_unit(subject, one).folder for subject in _of(plan, alarms) for one in plan.datasets}
    sound = [unit for unit in plan.units if unit.folder not in left_out]
    rows = ledger.collect([*sound, phases_unit(plan, _courses(trace))])
    ledger.write(QUARANTINE, told(alarms))
    ledger.write("audit.json", [_audit(ledger, plan, statements) for statements in plan.datasets])
    ledger.write("manifest.json", _manifest(trace, started=started, rows=rows))


def _courses(trace: Tracing) -> list[Unit]:
    """The units whose numbers make the courses over training: none that is quarantined, and nothing in its place."""
    keys = {alarm.checkpoint.key for alarm in quarantined(trace.plan, trace.ledger)}
    return course_units(trace.plan, trace.ledger, leaving=keys)


def _of(plan: Units, alarms: Sequence[Alarm]) -> list[Subject]:
    keys = {alarm.checkpoint.key for alarm in alarms}
    return [subject for subject in plan.subjects if subject.checkpoint.key in keys]


def _audit(ledger: Ledger, plan: Units, statements: Statements) -> dict[str, Any]:
    unit = plan.floors_unit(statements)
    floors = ledger.measurements_of(unit) if ledger.is_finished(unit) else []
    return audit(statements).with_floors(floors).to_json()


def _manifest(trace: Tracing, *, started: float, rows: int) -> dict[str, Any]:
    plan, seconds = trace.plan, time.monotonic() - started
    return {
        "study": plan.study.name,
        "environment": environment() | {"device": trace.settings.torch_device()},
        "workers": [dict(one) for one in trace.workers],
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds)),
        "seconds": round(seconds, 1),
        "seed": plan.study.seed,
        "rows": rows,
        "units": {unit.folder: trace.ledger.is_finished(unit) for unit in plan.units},
        "checkpoints": {subject.checkpoint.key: subject.checkpoint.commit for subject in plan.subjects},
        "datasets": {statements.name: _provenance(statements) for statements in plan.datasets},
        "failures": [*trace.ledger.failures(plan.units), *told(quarantined(plan, trace.ledger))],
    }


def _provenance(statements: Statements) -> dict[str, Any]:
    return {
        "rows": len(statements),
        "fingerprint": statements.fingerprint,
        **vars(statements.source),
        "meaning": vars(statements.meaning),
    }


def _require_success(trace: Tracing) -> None:
    phases = phases_unit(trace.plan, _courses(trace))
    failures = trace.ledger.failures([*trace.own.values(), phases])
    strange = told(quarantined(trace.plan, trace.ledger))
    said = []
    if strange:
        said.append(
            f"{len(strange)} checkpoints do not hold the weights of their place; the others are in the table:\n{_lines(strange)}"
        )
    if failures:
        said.append(
            f"{len(failures)} units failed; the others are in the table, and the same command tries these again:\n{_lines(failures)}"
        )
    if said:
        raise RunError(f"{trace.ledger.folder}: " + "\n".join(said))


def _lines(failures: Sequence[Mapping[str, str]]) -> str:
    return "\n".join(f"  {failure['unit']}: {failure['message']}" for failure in failures[:20])
