"""Clusters of several nodes on this machine, each with processes of its own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import processes

NODE = {"num_cpus": 1, "object_store_memory": 80 * 1024**2}
ATTEMPTS = 3

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'trustrace[dist]'")


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return processes.series(tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="session")
def undisturbed(study: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one process to which nothing happened."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    assert processes.done(study, run) == 0
    return run


@pytest.fixture
def cluster(nodes: Any) -> Iterator[Any]:
    """A head, and two nodes with room for one worker each: either of them may die, and is replaced after the test."""
    yield nodes
    if len(nodes.worker_nodes) < 2:
        nodes.add_node(**NODE)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patched.setenv("RAY_AUTH_MODE", "disabled")
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patched.delenv("RAY_ADDRESS", raising=False)
        # A node that dies has to be missed soon.
        patched.setenv("RAY_health_check_period_ms", "1000")
        patched.setenv("RAY_enable_metrics_collection", "0")
        # Ray makes its workers yield to all others, and the suite has others at work.
        patched.setenv("RAY_worker_niceness", "0")
        made = _started()
        yield made
        made.shutdown()
    assert "RAY_ADDRESS" not in os.environ


def _started() -> Any:
    """Ray gives each of its processes 30 seconds to come up, which on a busy machine is not always enough."""
    from ray.cluster_utils import Cluster

    for attempt in range(ATTEMPTS):
        made = Cluster()
        try:
            made.add_node(**NODE | {"num_cpus": 0}, include_dashboard=False)
            made.add_node(**NODE)
            made.add_node(**NODE)
        except Exception:
            made.shutdown()
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return made
    raise AssertionError
