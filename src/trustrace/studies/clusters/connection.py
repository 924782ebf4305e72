"""A Ray cluster: where it is, what it has room for, and how it is begun and left."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from trustrace.core.errors import ConfigError, MissingExtraError
from trustrace.studies.settings import Settings

ADDRESS = "RAY_ADDRESS"
"""Where Ray's own tools say in the environment which cluster is meant."""

REACH = 10.0
"""Seconds in which the head of a cluster has to answer."""

LOCAL_STORE = 200 * 1024**2
"""Bytes of the object store of a cluster on this machine alone; a plan goes through it, activations never do."""


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


def imported_ray() -> Any:
    """Ray, with all of it that is used here.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray
        import ray.exceptions
        import ray.util.scheduling_strategies
    except ImportError:
        raise MissingExtraError.of("ray", extra="dist", purpose="--engine ray") from None
    return ray


def room_on(ray: Any, settings: Settings, cluster: Cluster) -> tuple[int, Mapping[str, Any]]:
    """How many workers there are, and what each of them takes of the cluster.

    Raises:
        ConfigError: it has no GPU, and one is asked for.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1]
    if settings.device == "cuda" and not with_gpus and cluster.workers is None:
        raise ConfigError(
            "--device cuda: the cluster has no GPU; use cpu or auto, or say with --workers how many will come"
        )
    if settings.device == "cuda" or (settings.device == "auto" and with_gpus):
        # The processors of a machine are shared by those of its workers.
        cpus = min((node.get("CPU", 0) // node["GPU"] for node in with_gpus), default=0)
        return cluster.workers or int(sum(node["GPU"] for node in with_gpus)), {
            "num_gpus": 1,
            "num_cpus": max(1, int(cpus)),
        }
    with_cpus = [node["CPU"] for node in nodes if node.get("CPU", 0) >= 1]
    if not with_cpus:
        raise ConfigError("the cluster has neither a GPU nor a processor to work on; start nodes that have some")
    wanted = cluster.workers or len(with_cpus)
    cpus = min(with_cpus) // -(-wanted // len(with_cpus))
    return wanted, {"num_cpus": max(1, int(cpus)), "scheduling_strategy": "SPREAD"}


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Be on the cluster at `address` while the body runs.

    Raises:
        ConfigError: there is none.
    """
    quiet = {"log_to_driver": False, "logging_level": "error"}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get(ADDRESS)
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


def require_an_answer(address: str | None) -> None:
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
