"""Traces in processes of their own, which can be killed like any other; what they import is loaded once."""

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.forking import context
from tests.studies.live_trainings import PROBING
from tests.studies.small_studies import pets
from trustrace.core.errors import TrustraceError
from trustrace.models import tiny

KILLED = -9
PATIENCE = 240
"""Seconds that a process may take on a machine that does other things as well."""


def series(folder: Path) -> dict[str, Any]:
    """A study of four models on two data sets: ten units, and one that judges the courses."""
    tiny.save_series(folder, "llama", steps=(0, 1, 2))
    data = [
        {"name": name, "path": str(pets(folder / f"{name}.csv", seed=seed, wrong=0.3))}
        for seed, name in enumerate("ab")
    ]
    return {
        "name": "faults",
        "checkpoints": {"source": str(folder / "checkpoints")},
        "datasets": data,
        "sites": ["block_1"],
        "probing": PROBING,
        "information": {"widths": [50], "max_statements": 48},
    }


def start(
    study: Mapping[str, Any],
    out: Path,
    *,
    shard: str = "1/1",
    clock: float = 0.0,
    largest: int | None = None,
    cluster: Mapping[str, Any] | None = None,
) -> BaseProcess:
    """Trace `study` into `out` in another process.

    Args:
        study: As a study file holds it.
        out: The run folder.
        shard: Which part.
        clock: Seconds by which its clock is set back each time that it is read.
        largest: Bytes that the largest of its files may have.
        cluster: Where its workers are, if it has any: an address, how many, and a hub that they fetch from.
    """
    process = context.Process(target=_trace, args=(dict(study), out, shard, clock, largest, cluster))
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    """The exit code of `process`, which ends by itself."""
    process.join(PATIENCE)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def done(study: Mapping[str, Any], out: Path, **options: Any) -> int:
    """The exit code of a trace that nobody disturbs."""
    return ended(start(study, out, **options))


def wait_for(condition: Callable[[], bool], process: BaseProcess) -> None:
    """Wait until `condition` holds or `process` has ended."""
    deadline = time.monotonic() + PATIENCE
    while process.is_alive() and not condition():
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.002)


def units(run: Path) -> dict[str, int]:
    """The finished units of `run`, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in (run / "units").glob("[!.]*")}


def leftovers(run: Path) -> list[Path]:
    return [path for path in run.rglob("*") if path.name.startswith(".scratch-")]


def table(run: Path) -> bytes:
    return (run / "measurements.parquet").read_bytes()


def told(run: Path) -> str:
    """What the last process that failed in `run` said."""
    return run.with_name(f"{run.name}.err").read_text()


def _trace(
    study: dict[str, Any],
    out: Path,
    shard: str,
    clock: float,
    largest: int | None,
    cluster: Mapping[str, Any] | None,
) -> None:
    from trustrace.studies.config import TraceConfig
    from trustrace.studies.settings import Settings
    from trustrace.studies.sharding import Shard
    from trustrace.studies.trace import run_trace

    if clock:
        _set_back(clock)
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    try:
        config = TraceConfig.read(study, where="-")
        if cluster is not None:
            _trace_on(config, out, **cluster)
            return
        run_trace(config, out=out, settings=Settings(device="cpu"), shard=Shard.parse(shard))
    except TrustraceError as error:
        out.with_name(f"{out.name}.err").write_text(str(error))
        sys.exit(error.exit_code)


def _trace_on(
    config: Any, out: Path, *, url: str = "", hub: str = "", cache: str = "", budget: int | None = None, **cluster: Any
) -> None:
    from huggingface_hub import constants

    from trustrace.studies.clusters.connection import Cluster
    from trustrace.studies.clusters.run import run_on_ray
    from trustrace.studies.settings import Settings

    os.environ.update(RAY_worker_niceness="0")
    if hub:
        constants.ENDPOINT, constants.HF_HUB_OFFLINE, constants.HF_HUB_CACHE = hub, False, cache
        constants.HUGGINGFACE_CO_URL_TEMPLATE = hub + "/{repo_id}/resolve/{revision}/{filename}"
        os.environ.update(HF_ENDPOINT=hub, HF_HUB_OFFLINE="0", HF_HUB_CACHE=cache)
    settings = Settings(device="cpu", disk_budget=budget)
    run_on_ray(config, out=url or str(out), cluster=Cluster(**cluster), settings=settings)


def _set_back(seconds: float) -> None:
    real, asked = time.time, 0

    def wrong() -> float:
        nonlocal asked
        asked += 1
        return real() - seconds * asked

    time.time = wrong
