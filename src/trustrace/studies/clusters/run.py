"""A trace on a Ray cluster: one worker a GPU, each with a stream of its own, and the run folder that says what is finished.

Ray starts the workers, puts them where there is a GPU, and starts them again when they die. It holds nothing that a run needs: a cluster
that is lost costs the visits that were under way.
"""

import os
import time
import uuid
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trustrace.core.errors import ModelError, RunError, TrustraceError
from trustrace.core.progress import Progress, enter, silent
from trustrace.runs.ledger import Ledger
from trustrace.runs.remote import placed
from trustrace.studies.clusters.connection import ADDRESS, Cluster, connected, imported_ray, require_an_answer, room_on
from trustrace.studies.clusters.dispatch import FALSE_STARTS, LIVES, Dispatch, Standing
from trustrace.studies.clusters.worker import SHARE, TOKEN, Orders, Worker, versions
from trustrace.studies.config import TraceConfig
from trustrace.studies.planning import Plan, plan_trace
from trustrace.studies.settings import Settings
from trustrace.studies.trace import complete, record_all_floors
from trustrace.studies.tracing import Tracing
from trustrace.studies.visiting import lacks_inputs, open_visits
from trustrace.studies.watched import watching

TICK = 1.0
"""Seconds between two looks at the workers."""

FAR_TICK = 30.0
"""Seconds between two looks at a run folder that is kept at a URL."""

_DEADLY = f"the process that measured it died or ended {LIVES} times; it may need more memory than its machine has, and Ray's logs say more"


class RayWarning(UserWarning):
    """A worker ended early, and the others did its part."""


def run_on_ray(
    study: TraceConfig,
    *,
    out: str,
    cluster: Cluster,
    settings: Settings,
    only_failed: bool = False,
    progress: Progress = silent,
) -> Path:
    """Do with workers on a Ray cluster what :func:`trustrace.studies.trace.run_trace` does in one process.

    Args:
        study: What is asked for.
        out: The run folder, which all nodes have to see, or a URL.
        cluster: Where workers run.
        settings: Where each of them does its work; budgets and devices are a worker's.
        only_failed: Try again what failed, and leave what was not begun.
        progress: Told of the units.

    Returns:
        The path of the tidy table.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: there is no such cluster, or it has no such device.
        RunError: as for a trace; or workers ended before everything was done.
    """
    imported_ray()
    require_an_answer(cluster.address or os.environ.get(ADDRESS))
    plan = plan_trace(study, settings=settings)
    return trace_plan(plan, out=out, cluster=cluster, settings=settings, only_failed=only_failed, progress=progress)


def trace_plan(
    plan: Plan,
    *,
    out: str,
    cluster: Cluster,
    settings: Settings,
    only_failed: bool = False,
    progress: Progress = silent,
) -> Path:
    """What :func:`run_on_ray` does once it is known what is to be done."""
    ray = imported_ray()
    folder, mirror = placed(out)
    with (
        Ledger.open(folder, study=plan.study.model_dump(mode="json"), share=f"0-{SHARE}", mirror=mirror) as ledger,
        watching(folder, worker=f"0-{SHARE}", progress=progress) as watched,
    ):
        trace = Tracing(
            plan=plan, ledger=ledger, settings=settings, progress=watched, only_failed=only_failed, is_divided=True
        )
        with complete(trace):
            visits = open_visits(trace, plan)
            if visits:
                orders = Orders(
                    plan=plan,
                    visits={visit.key: visit for visit in visits},
                    settings=settings,
                    place=mirror.url if mirror else str(folder.resolve()),
                    only_failed=only_failed,
                    versions=versions(),
                    token=uuid.uuid4().hex,
                )
                (folder / TOKEN).write_text(orders.token, encoding="utf-8")
                with connected(ray, cluster.address):
                    _oversee(ray, trace, orders, cluster)
            record_all_floors(trace)
    return folder / "measurements.parquet"


@dataclass(frozen=True)
class Crew:
    """The workers that are at work, and what the others ended with."""

    at_work: dict[Any, tuple[int, Any]]
    ended: list[tuple[int, Exception]] = field(default_factory=list)


def _oversee(ray: Any, trace: Tracing, orders: Orders, cluster: Cluster) -> None:
    """Let workers make all visits, and record which of them killed theirs.

    Raises:
        RunError: they ended before everything was done.
    """
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    dispatch = ray.remote(num_cpus=0, scheduling_strategy=here)(Dispatch).remote(
        list(orders.visits), first_alone=lacks_inputs(trace, orders.plan)
    )
    crew = _hired(ray, orders, dispatch, cluster)
    record_all_floors(trace)
    looked = time.monotonic()
    enter(trace.progress, "overseeing", checkpoint="")
    while crew.at_work:
        _look_after(ray, crew, dispatch)
        if trace.ledger.mirror is None or time.monotonic() - looked > FAR_TICK:
            trace.ledger.look_again()
            trace.tell()
            looked = time.monotonic()
    standing = ray.get(dispatch.standing.remote())
    trace.workers.extend(standing.members)
    _give_up(trace, orders, standing)
    trace.ledger.look_again()
    judge(crew, trace, standing)


def _hired(ray: Any, orders: Orders, dispatch: Any, cluster: Cluster) -> Crew:
    """Start the workers; those for which there is no room yet wait for it."""
    wanted, needs = room_on(ray, orders.settings, cluster)
    told = ray.put(orders)
    hire = ray.remote(max_restarts=-1, max_task_retries=-1, **needs)(Worker).remote
    workers = [hire() for _ in range(min(wanted, len(orders.visits)))]
    at_work = {one.work.remote(told, dispatch, number): (number, one) for number, one in enumerate(workers)}
    return Crew(at_work)


def _look_after(ray: Any, crew: Crew, dispatch: Any) -> None:
    """Wait a moment for workers that end, and let what they held go to others."""
    ended, _ = ray.wait(list(crew.at_work), timeout=TICK)
    for work in ended:
        number, worker = crew.at_work.pop(work)
        try:
            ray.get(work)
        except (ray.exceptions.RayError, TrustraceError) as error:
            crew.ended.append((number, error))
            ray.get(dispatch.fall.remote(number))
        # Its GPU is free for one that was lost with its node.
        ray.kill(worker)
    ray.get(dispatch.miss.remote([node["NodeID"] for node in ray.nodes() if node["Alive"]]))


def _give_up(trace: Tracing, orders: Orders, standing: Standing) -> None:
    """Record the visits that nobody makes any more as failures."""
    for key in standing.lost:
        error = ModelError(f"{key}: {_DEADLY}")
        for subject in orders.visits[key].subjects:
            for unit, _ in trace.open_units(subject):
                trace.ledger.fail(unit, error)


def judge(crew: Crew, trace: Tracing, standing: Standing) -> None:
    """Warn of workers that ended early while others did their part, and raise where nobody did."""
    left = [unit for unit in trace.own.values() if not trace.ledger.is_finished(unit)]
    open_ = len(left) - len(trace.ledger.failed(left))
    said = [f"worker {number}: {_told(error)}" for number, error in crew.ended]
    if open_:
        bugs = [error for _, error in crew.ended if not isinstance(error, TrustraceError)]
        if bugs:
            raise bugs[0]
        said += [f"{key}: {_DEADLY}" for key in standing.lost]
        reasons = said or [f"no process came to work, or one died {FALSE_STARTS} times in a row; Ray's logs say more"]
        lines = "".join(f"\n  {one}" for one in reasons)
        raise RunError(f"{open_} units are open, because workers ended early; the same command goes on:{lines}")
    for one in said:
        warnings.warn(f"{one}; the others did its part", RayWarning, stacklevel=2)


def _told(error: Exception) -> str:
    return str(getattr(error, "cause", None) or error)
