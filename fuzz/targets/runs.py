"""Run folders: studies, manifests, tables, records, plans, what searches chose, what trainings left."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from tests.report.dynamics_tables import DynamicsShape, write_dynamics
from tests.report.steering_tables import SteeringShape, steering_rows, study, write_steering_run
from tests.report.tables import AUDITS, MANIFEST, Shape, rows, write_run
from tests.runs.beating import beat

from fuzz.driving import Target
from fuzz.mutation import Mutation, of_bytes, of_json, of_json_lines
from fuzz.tables import of_table
from fuzz.targets.files import of_file
from trustrace.cli.watching import drawn, log_line
from trustrace.core.draws import generator
from trustrace.core.measurements import Estimate, Measurement
from trustrace.datasets.sources import _recorded
from trustrace.report.dynamics_folder import read_dynamics
from trustrace.report.page import page_text, steering_text
from trustrace.report.pivoting import pivot
from trustrace.report.run_folder import read_run
from trustrace.report.steering_findings import findings
from trustrace.report.steering_folder import read_steering
from trustrace.report.steering_runs import steering_run
from trustrace.runs.beats import write_beat
from trustrace.runs.identity import Unit
from trustrace.runs.ledger import Ledger
from trustrace.runs.table import as_table as tidy
from trustrace.runs.table import read_measurements, read_replicates, write_replicates, write_table
from trustrace.studies.comparing import compare_runs
from trustrace.studies.config import TraceConfig
from trustrace.studies.demo import _preset
from trustrace.studies.live.history import History
from trustrace.studies.over_training import _study as traced
from trustrace.studies.paper.reading import read_run as paper_run
from trustrace.studies.side_by_side import as_csv, as_markdown
from trustrace.studies.status import read_status
from trustrace.training.config import PretrainConfig
from trustrace.training.corpus import open_packed
from trustrace.training.devices import Devices
from trustrace.training.folder import RunFolder, steps_in
from trustrace.training.log import truncate
from trustrace.training.tuning import RECORD, _is_done

_SHAPE = Shape(datasets=("reliability/defined",), n_checkpoints=3, n_blocks=1)
_STEERED = SteeringShape(n_sources=1, n_random=1)
_ROW = Measurement.of(
    Estimate(quantity="accuracy", method="m", value=0.5, n=3, n_groups=2), dataset="d", protocol="rigorous", seed=0
)
_UNIT = Unit(step="trace", name="toy@step_1/d", inputs={"a": 1, "task": {"name": "world_text", "limit": 2}})
_PLAN = [{"unit": _UNIT.folder, "name": _UNIT.name}, {"unit": "trace-open", "name": "toy@step_2/d"}]
_HISTORY = {
    "measured": {"1": {"family": "f", "model": "m", "revision": "r", "step": 1, "tokens_seen": 3, "commit": "c"}},
    "skipped": {"2": "no time"},
    "time": {"share": 0.1, "trained": 1.0, "steps": 3, "measured": 0.5, "cost": 0.1, "credit": 0.0},
}
_CORPUS = {
    "dtype": "uint16",
    "train_tokens": 10,
    "held_out_tokens": 4,
    "train_documents": 2,
    "held_out_documents": 1,
    "sha256": "0",
}
_TUNED = {
    "checkpoint": "c",
    "commit": "x",
    "config": {"steps": 3},
    "adapter": None,
    "budget": None,
    "tuned": {"loss": 1.0},
}
_LOG = b'{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5}\n{"step": 3'

Valid = Callable[[Path], Sequence[bytes]]


def _fixed(*documents: Any) -> Valid:
    return lambda folder: [json.dumps(document).encode() for document in documents]


def _reported(file: str, mutated: Mutation) -> Target:
    def valid(folder: Path) -> Sequence[bytes]:
        meaning = {"one": "true", "zero": "false", "desired": 1}
        more = {
            "failures": [{"unit": "u", "error": "E", "message": "m"}],
            "datasets": {"reliability/defined": {"meaning": meaning}},
        }
        write_run(folder, rows(_SHAPE), audits=AUDITS, manifest=MANIFEST | more)
        return [(folder / file).read_bytes()]

    def reading(path: Path) -> object:
        run = read_run(path.parent)
        return page_text(run, pivot(run.table))

    return of_file(f"report_{Path(file).stem}", file, reading, valid, mutated, is_slow=True)


def _steered(name: str, pattern: str, mutated: Mutation) -> Target:
    """Of a steering run, the first file that fits `pattern`."""
    places: dict[str, Path] = {}

    def valid(folder: Path) -> Sequence[bytes]:
        run = write_steering_run(folder / "run", _STEERED)
        places["file"] = sorted(run.glob(pattern))[0].relative_to(folder)
        return [(folder / places["file"]).read_bytes()]

    def reading(folder: Path, content: bytes) -> object:
        (folder / places["file"]).write_bytes(content)
        run, beside = read_run(folder / "run"), read_steering(folder / "run")
        steered = steering_run(run, beside)
        return steering_text(run, steered, findings(steered), beside)

    return Target(name=f"steered_{name}", prepare=valid, read=reading, mutate=mutated, is_slow=True)


def _dynamics(name: str, file: str, mutated: Mutation) -> Target:
    def valid(folder: Path) -> Sequence[bytes]:
        write_dynamics(folder / "run", DynamicsShape(n_checkpoints=3))
        return [(folder / "run" / file).read_bytes()]

    def reading(folder: Path, content: bytes) -> object:
        (folder / "run" / file).write_bytes(content)
        found = read_dynamics(folder / "run", read_run(folder / "run"))
        return None if found is None else (found.failures, found.trajectories)

    return Target(name=f"dynamics_{name}", prepare=valid, read=reading, mutate=mutated)


def _tables(folder: Path) -> Sequence[bytes]:
    write_table(tidy(rows(_SHAPE)[:6]), folder / "t.parquet")
    write_table(tidy([]), folder / "empty.parquet")
    return [(folder / "t.parquet").read_bytes(), (folder / "empty.parquet").read_bytes()]


def _replicates(folder: Path) -> Sequence[bytes]:
    draws = generator(0, "x").random(20)
    row = Measurement.of(
        Estimate(quantity="accuracy", method="m", value=0.5, n=3, n_groups=2, replicates=draws),
        dataset="d",
        protocol="rigorous",
        seed=0,
    )
    write_replicates([_ROW, row], folder / "seed.npz")
    return [(folder / "seed.npz").read_bytes()]


def _run_of(name: str, file: str, read: Callable[[Path], object], mutated: Mutation = of_json) -> Target:
    """A run of one finished unit, as the ledger writes it; `read` is given its folder."""

    def valid(folder: Path) -> Sequence[bytes]:
        run = folder / "run"
        rows = [row for row in steering_rows(_STEERED) if not row.dataset.endswith("/development")]
        with Ledger.open(run, study={**study(_STEERED), "model": ["m"], "seed": 0}) as ledger:
            ledger.finish(_UNIT, rows, seconds=1.0)
            ledger.fail(Unit(step="trace", name="x", inputs={}), ValueError("x"))
            ledger.collect([_UNIT])
            ledger.write("plan.json", _PLAN)
            ledger.write("manifest.json", MANIFEST)
        write_beat(run, beat())
        open_failure = {"unit": "x", "error": "E", "message": "m"}
        (run / "failures" / "trace-open.json").write_text(json.dumps(open_failure))
        return [(run / file.format(unit=_UNIT.folder)).read_bytes()]

    def reading(folder: Path, content: bytes) -> object:
        (folder / "run" / file.format(unit=_UNIT.folder)).write_bytes(content)
        return read(folder / "run")

    return Target(name=name, prepare=valid, read=reading, mutate=mutated)


def _shown(run: Path) -> object:
    status = read_status(run)
    Console(width=100, file=io.StringIO()).print(drawn(status, width=100))
    return log_line(status)


def _claimed(run: Path) -> object:
    with Ledger.open(run, study={**study(_STEERED), "model": ["m"], "seed": 0}) as ledger:
        return ledger.folder


def _recorded_unit(run: Path) -> object:
    found = Ledger(run).unit_in(_UNIT.folder)
    return (found.identity, found.folder) if found else None


def _failed(run: Path) -> object:
    return Ledger(run).failures([_UNIT, Unit(step="trace", name="x", inputs={})])


def _compared(run: Path) -> object:
    found = compare_runs([run], every=True)
    return as_csv(found), as_markdown(found)


def _chosen(name: str, file: str) -> Target:
    def valid(folder: Path) -> Sequence[bytes]:
        run = write_steering_run(folder / "run", _STEERED)
        home = sorted(run.glob("units/search-*"))[0]
        rows = steering_rows(_STEERED)
        row = next(row for row in rows if row.dataset.endswith("/development") and row.vector)
        task = {"name": row.dataset.partition("/")[0]}
        record = {"inputs": {"quantity": [row.quantity, None], "target": [row.checkpoint], "task": task, "unit": "x"}}
        (home / "record.json").write_text(json.dumps(record))
        chosen = {"chosen": [[row.vector, row.site, row.alpha]], "better": "higher"}
        (home / "chosen.json").write_text(json.dumps(chosen))
        for other in run.glob("units/search-*"):
            if other != home:
                (other / "chosen.json").unlink()
        (folder / "home").write_text(home.name)
        return [(home / file).read_bytes()]

    def reading(folder: Path, content: bytes) -> object:
        (folder / "run" / "units" / (folder / "home").read_text() / file).write_bytes(content)
        found = paper_run(str(folder / "run"))
        return (
            [(one.setting, one.contrast, one.source, one.better, one.unit) for one in found.chosen],
            found.kind,
            found.bases,
        )

    return Target(name=name, prepare=valid, read=reading, mutate=of_json)


def _state(folder: Path) -> Sequence[bytes]:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    Devices(torch.device("cpu")).save_state(model, optimizer, folder)
    return [(folder / "state.pt").read_bytes()]


def _resumed(path: Path) -> object:
    model = torch.nn.Linear(2, 2)
    return Devices(torch.device("cpu")).load_state(model, torch.optim.AdamW(model.parameters()), path.parent)


def _pretrain_record(folder: Path) -> Sequence[bytes]:
    return [_pretrain().model_dump_json().encode()]


def _pretrain() -> PretrainConfig:
    return PretrainConfig.read(_preset("demo_pretrain"), where="preset")


def _traced(folder: Path) -> Sequence[bytes]:
    study = TraceConfig.read(_preset("demo_trace") | {"checkpoints": {"source": "runs/x"}}, where="preset")
    return [study.model_dump_json().encode()]


def _claim_of_training(path: Path) -> object:
    return RunFolder(path.parent).claim(_pretrain(), resume=True), steps_in(path.parent)


RUNS: tuple[Target, ...] = (
    of_file("table", "t.parquet", read_measurements, _tables, of_table),
    of_file("replicates", "r.npz", lambda path: read_replicates([_ROW, _ROW], path), _replicates, of_bytes),
    *(_reported(file, of_json) for file in ("study.json", "manifest.json", "audit.json")),
    _reported("measurements.parquet", of_table),
    _steered("plan", "plan.json", of_json),
    _steered("chosen", "units/search-*/chosen.json", of_json),
    _steered("samples", "units/test-*/samples.jsonl", of_json_lines),
    _steered("manifest", "manifest.json", of_json),
    _dynamics("summary", "dynamics.json", of_json),
    _dynamics("trajectories", "units/dynamics-0/trajectories.json", of_json),
    _dynamics("record", "units/dynamics-0/record.json", of_json),
    _run_of("status_plan", "plan.json", read_status),
    _run_of("status_study", "study.json", read_status),
    _run_of("status_record", "units/{unit}/record.json", read_status),
    _run_of("status_failure", "failures/trace-open.json", read_status),
    _run_of("status_beat", "live/alone.json", _shown),
    _run_of("ledger_study", "study.json", _claimed),
    _run_of("ledger_record", "units/{unit}/record.json", _recorded_unit),
    _run_of("ledger_failure", f"failures/{Unit(step='trace', name='x', inputs={}).folder}.json", _failed),
    _run_of("compared_study", "study.json", _compared),
    _run_of("compared_record", "units/{unit}/record.json", _compared),
    _run_of("compared_table", "measurements.parquet", _compared, of_table),
    _run_of("paper_study", "study.json", lambda run: paper_run(str(run)).kind),
    _run_of(
        "paper_manifest",
        "manifest.json",
        lambda run: (paper_run(str(run)).bases, paper_run(str(run)).trained_to("a@b")),
    ),
    _chosen("chosen_record", "record.json"),
    _chosen("chosen_settings", "chosen.json"),
    of_file("dynamics_study", "study.json", lambda path: traced(path.parent), _traced, of_json),
    of_file(
        "live_history",
        "live.json",
        lambda path: History.read(path.parent, share=0.1).as_json(),
        _fixed(_HISTORY),
        of_json,
    ),
    of_file("packed_corpus", "corpus.json", lambda path: open_packed(path.parent), _fixed(_CORPUS), of_json),
    of_file("training_log", "log.jsonl", lambda path: truncate(path, step=2), lambda folder: [_LOG], of_json_lines),
    of_file("training_state", "state.pt", _resumed, _state, of_bytes),
    of_file("training_record", "pretrain.json", _claim_of_training, _pretrain_record, of_json),
    of_file("tuned_record", RECORD, lambda path: _is_done(path.parent, _TUNED), _fixed(_TUNED), of_json),
    of_file("first_use", "first_use.json", lambda path: _recorded(path.parent), _fixed({"https://x": "0"}), of_json),
)
