"""A trace on a Ray cluster: one worker a GPU, each with a stream of its own, and the run folder that says what is finished.

Ray starts the workers, puts them where there is a GPU, and starts them again when they die. It holds nothing that a run needs: a cluster
that is lost costs the visits that were under way.
"""

import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from trustrace.core.errors import ConfigError, MissingExtraError, ModelError, RunError, TrustraceError
from trustrace.core.progress import Progress, enter, silent
from trustrace.runs.ledger import Ledger
from trustrace.runs.manifest import environment
from trustrace.runs.remote import placed
from trustrace.studies.config import TraceConfig
from trustrace.studies.dispatch import FALSE_STARTS, LIVES, Answer, Dispatch, Standing
from trustrace.studies.planning import Plan, plan_trace
from trustrace.studies.settings import Settings
from trustrace.studies.streaming import Visit
from trustrace.studies.trace import complete, record_all_floors
from trustrace.studies.tracing import Tracing
from trustrace.studies.visiting import lacks_inputs, make_visits, open_visits
from trustrace.studies.watched import watching

SHARE = "of-ray"
"""What the shares of a run are called that workers on a cluster divide as they go; the first is that of whoever oversees them."""

TICK = 1.0
"""Seconds between two looks at the workers."""

FAR_TICK = 30.0
"""Seconds between two looks at a run folder that is kept at a URL."""

REACH = 10.0
"""Seconds in which the head of a cluster has to answer."""

PATIENCE = 0.5
"""Seconds until a worker asks again that was told to wait."""

LOCAL_STORE = 200 * 1024**2
"""Bytes of the object store of a cluster on this machine alone; a plan goes through it, activations never do."""


class RayWarning(UserWarning):
    """A worker ended early, and the others did its part."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where workers run.

    Attributes:
        address: ``auto``, ``host:port`` or ``local``; without one, the cluster that RAY_ADDRESS names or that is running on this machine,
            and otherwise one of this machine's own, for as long as the run takes.
        workers: How many; None is one for each GPU of the cluster, or one where it has none.
    """

    address: str | None = None
    workers: int | None = None


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
    _imported()
    _require_an_answer(cluster.address)
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
    ray = _imported()
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
                )
                with _connected(ray, cluster.address):
                    _oversee(ray, trace, orders, cluster)
            record_all_floors(trace)
    return folder / "measurements.parquet"


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What every worker is told.

    Attributes:
        plan: What is measured.
        visits: Those that are to be made, by their keys.
        settings: Where work is done.
        place: The run folder, or its URL.
        only_failed: Leave what was not begun.
    """

    plan: Plan
    visits: Mapping[str, Visit]
    settings: Settings
    place: str
    only_failed: bool


class Leased:
    """The visits that a dispatch hands out to one worker: an :class:`trustrace.studies.visiting.Itinerary`."""

    def __init__(self, ask: Any, visits: Mapping[str, Visit], *, worker: int) -> None:
        """`ask` calls a method of the dispatch by its name."""
        self._ask, self._visits, self._worker = ask, visits, worker
        self._over = threading.Event()

    def __iter__(self) -> Iterator[Visit]:
        """The visits; one is waited for while it can still come."""
        while not self._over.is_set():
            answer = self._ask("take", self._worker)
            if answer is Answer.OVER:
                return
            if answer is Answer.WAIT:
                self._over.wait(PATIENCE)
                continue
            yield self._visits[answer]

    def begin(self, visit: Visit) -> None:
        """Say that its models are loaded from now on."""
        self._ask("begin", self._worker, visit.key)

    def inputs_noted(self) -> None:
        """Say that the others can begin."""
        self._ask("open")

    def end(self, visit: Visit) -> None:
        """Say that it was made."""
        self._ask("end", self._worker, visit.key)

    def stop(self) -> None:
        """Say that no visit can be made."""
        self._ask("stop")

    def close(self) -> None:
        """Give back what was not made."""
        self._over.set()
        self._ask("leave", self._worker)


class Worker:
    """A process on the cluster that makes visits, one after the other; Ray starts it again when it dies."""

    def work(self, orders: Orders, dispatch: Any, number: int) -> None:
        """Make visits until there are none left.

        Args:
            orders: What to do.
            dispatch: The actor that hands out visits.
            number: Which of the workers this is.

        Raises:
            TrustraceError: this process cannot work.
        """
        orders.settings.require_device()
        ask = partial(_asked, dispatch)
        folder, mirror = placed(orders.place)
        share = f"{ask('enlist', number, environment() | {'device': orders.settings.torch_device()})}-{SHARE}"
        study = orders.plan.study.model_dump(mode="json")
        with (
            Ledger.open(folder, study=study, share=share, mirror=mirror) as ledger,
            watching(folder, worker=share, takes_any=True) as watched,
        ):
            trace = Tracing(
                plan=orders.plan,
                ledger=ledger,
                settings=orders.settings,
                progress=watched,
                only_failed=orders.only_failed,
                is_divided=True,
            )
            make_visits(trace, orders.plan, Leased(ask, orders.visits, worker=number))


def _asked(dispatch: Any, method: str, *arguments: Any) -> Any:
    return _imported().get(getattr(dispatch, method).remote(*arguments))


@dataclass(frozen=True)
class _Crew:
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
    _judge(crew, trace)


def _hired(ray: Any, orders: Orders, dispatch: Any, cluster: Cluster) -> _Crew:
    """Start the workers; those for which there is no room yet wait for it."""
    wanted, needs = _needs(ray, orders.settings, cluster)
    told = ray.put(orders)
    hire = ray.remote(max_restarts=-1, max_task_retries=-1, **needs)(Worker).remote
    workers = [hire() for _ in range(min(wanted, len(orders.visits)))]
    at_work = {one.work.remote(told, dispatch, number): (number, one) for number, one in enumerate(workers)}
    return _Crew(at_work)


def _needs(ray: Any, settings: Settings, cluster: Cluster) -> tuple[int, Mapping[str, Any]]:
    """How many workers there are, and what each of them takes of the cluster.

    Raises:
        ConfigError: it has no GPU, and one is asked for.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if settings.device.startswith("cuda") and not gpus and cluster.workers is None:
        raise ConfigError(
            "--device cuda: the cluster has no GPU; use cpu or auto, or say with --workers how many will come"
        )
    if settings.device != "cpu" and (gpus or settings.device.startswith("cuda")):
        return cluster.workers or gpus, {"num_gpus": 1, "num_cpus": 1}
    wanted = cluster.workers or len(nodes)
    cpus = min(int(node.get("CPU", 1)) for node in nodes) // -(-wanted // len(nodes))
    return wanted, {"num_cpus": max(1, cpus), "scheduling_strategy": "SPREAD"}


def _look_after(ray: Any, crew: _Crew, dispatch: Any) -> None:
    """Wait a moment for workers that end, and let what they held go to others."""
    ended, _ = ray.wait(list(crew.at_work), timeout=TICK)
    for work in ended:
        number, worker = crew.at_work.pop(work)
        try:
            ray.get(work)
        except (ray.exceptions.RayError, TrustraceError) as error:
            crew.ended.append((number, error))
            ray.get(dispatch.leave.remote(number))
        # Its GPU is free for one that was lost with its node.
        ray.kill(worker)


def _give_up(trace: Tracing, orders: Orders, standing: Standing) -> None:
    """Record the visits that nobody makes any more as failures."""
    for key in standing.lost:
        error = ModelError(
            f"{key}: the process that measured it died {LIVES} times; it may need more memory than its machine has, and Ray's logs say more"
        )
        for subject in orders.visits[key].subjects:
            for unit, _ in trace.open_units(subject):
                trace.ledger.fail(unit, error)


def _judge(crew: _Crew, trace: Tracing) -> None:
    """Warn of workers that ended early while others did their part, and raise where nobody did."""
    left = [unit for unit in trace.own.values() if not trace.ledger.is_finished(unit)]
    open_ = len(left) - len(trace.ledger.failed(left))
    said = [f"worker {number}: {_told(error)}" for number, error in crew.ended]
    if open_:
        bugs = [error for _, error in crew.ended if not isinstance(error, TrustraceError)]
        if bugs:
            raise bugs[0]
        reasons = "".join(f"\n  {one}" for one in said) or f"\n  a process died {FALSE_STARTS} times in a row"
        raise RunError(f"{open_} units are open, because workers ended early; the same command goes on:{reasons}")
    for one in said:
        warnings.warn(f"{one}; the others did its part", RayWarning, stacklevel=2)


def _told(error: Exception) -> str:
    return str(getattr(error, "cause", None) or error)


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Be on the cluster at `address` while the body runs.

    Raises:
        ConfigError: there is none.
    """
    quiet = {"log_to_driver": False, "logging_level": "error"}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if address == "local":
            raise ConnectionError
        ray.init(address="auto" if address is None else address, **quiet)
    except ConnectionError as error:
        if address not in (None, "local"):
            raise ConfigError(f"--ray-address {address}: {error}") from error
        ray.init(address="local", include_dashboard=False, object_store_memory=LOCAL_STORE, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _require_an_answer(address: str | None) -> None:
    """Do nothing where something listens at `address`: Ray itself would try for minutes, and end the process.

    Raises:
        ConfigError: nothing does.
    """
    if address in (None, "auto", "local"):
        return
    host, _, port = str(address).rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"--ray-address {address}: expected auto, local or HOST:PORT of a cluster's head")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--ray-address {address}: nothing answers there ({error}); start a cluster with 'ray start --head', or leave the option out"
        ) from None


def _imported() -> Any:
    try:
        import ray
        import ray.exceptions
        import ray.util.scheduling_strategies
    except ImportError:
        raise MissingExtraError.of("ray", extra="dist", purpose="--engine ray") from None
    return ray
