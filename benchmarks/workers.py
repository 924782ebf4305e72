"""Two workers on Ray against one: checkpoints that take two seconds each, most of it waiting, as a processor does for a GPU.

The span is from the first unit that is begun to the last one that is finished. Starting Ray and its workers comes before that, once a run
whatever its length, and is told beside it.
"""

import csv
import json
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, seconds
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.models.sources import CheckpointSource
from trustrace.studies.clusters.connection import Cluster
from trustrace.studies.clusters.run import trace_plan
from trustrace.studies.config import TraceConfig
from trustrace.studies.planning import Loading, Plan, plan_trace
from trustrace.studies.settings import Settings

CHECKPOINTS, WAIT, REPEATS = 12, 2.0, 2


def run() -> list[Row]:
    """Interleaved: one worker, two workers, and again."""
    spans: dict[int, list[float]] = {1: [], 2: []}
    starts: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        plan = _planned(Path(folder))
        for repeat in range(REPEATS):
            for workers in (1, 2):
                out = Path(folder) / f"run-{workers}-{repeat}"
                whole = seconds(partial(_trace, plan, out, workers))
                spans[workers].append(_span(out))
                starts.append(whole - spans[workers][-1])
    ratios = [one / two for one, two in zip(spans[1], spans[2], strict=True)]
    return [
        Row.of(
            ratios,
            what=f"two workers on Ray, {CHECKPOINTS} checkpoints of {WAIT:g} s",
            baseline="one worker on Ray",
            reach=1.8,
            detail=f"{_listed(spans[1])} s against {_listed(spans[2])} s; starting and ending Ray takes {_listed(starts)} s a run",
            threads=1,
        )
    ]


def _planned(folder: Path) -> Plan:
    tiny.save_series(folder, "llama", steps=tuple(range(CHECKPOINTS)))
    with (folder / "pets.csv").open("w", newline="") as opened:
        table = csv.writer(opened)
        table.writerow(["statement", "label"])
        table.writerows([f"{'a cat' if row % 2 else 'no pet'} in house {row}", row % 2] for row in range(24))
    values: dict[str, Any] = {
        "name": "workers",
        "checkpoints": {"source": str(folder / "checkpoints")},
        "datasets": [{"name": "pets", "path": str(folder / "pets.csv")}],
        "sites": ["block_0"],
        "random_init_seeds": [],
        "probing": {"folds": 3, "bootstrap_draws": 100, "control_draws": 1, "regularisers": [1.0]},
        "information": None,
    }
    plan = plan_trace(TraceConfig.read(values, where="-"), settings=Settings(device="cpu"))
    return replace(plan, subjects=tuple(replace(one, load=partial(_slowly, one.load)) for one in plan.subjects))


def _slowly(load: Loading, place: CheckpointSource | None = None) -> LanguageModel:
    time.sleep(WAIT)
    return load(place)


def _trace(plan: Plan, out: Path, workers: int) -> None:
    trace_plan(plan, out=str(out), cluster=Cluster(address="local", workers=workers), settings=Settings(device="cpu"))


def _span(out: Path) -> float:
    """Seconds from the beginning of the first unit, whose model has been waited for, to the end of the last one."""
    records = list(out.glob("units/trace-*/record.json"))
    began = min(path.stat().st_mtime - json.loads(path.read_text())["seconds"] for path in records)
    return max(path.stat().st_mtime for path in records) - began + WAIT


def _listed(values: list[float]) -> str:
    return ", ".join(f"{one:.1f}" for one in values)
