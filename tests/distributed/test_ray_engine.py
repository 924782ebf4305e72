"""Traces by workers on a Ray cluster: the table of an undivided run, whatever dies meanwhile."""

import json
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from tests.distributed.conftest import NODE
from tests.faults.processes import KILLED, PATIENCE, ended, leftovers, start, table, told, units, wait_for


def workers() -> list[psutil.Process]:
    """The processes that measure, on whichever node."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or [""]
        if line[0].startswith("ray::Worker.work"):
            found.append(process)
    return found


def both_at_work(run: Path, overseer: BaseProcess) -> list[psutil.Process]:
    """The two workers, when both have come and something is finished; the first one waits for the second."""
    wait_for(lambda: bool(workers()), overseer)
    [first, *_] = workers()
    first.suspend()
    wait_for(lambda: len(workers()) == 2, overseer)
    first.resume()
    wait_for(lambda: any(name.startswith("trace") for name in units(run)), overseer)
    return workers()


def on(cluster: Any, **more: Any) -> dict[str, Any]:
    return {"address": cluster.address, "workers": 2} | more


def require_equal(run: Path, undisturbed: Path) -> None:
    assert units(run).keys() == units(undisturbed).keys()
    assert table(run) == table(undisturbed)
    assert leftovers(run) == []


def test_two_workers_leave_the_table_of_an_undivided_run_and_a_second_start_does_nothing(
    cluster: Any, study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert ended(start(study, run, cluster=on(cluster))) == 0
    require_equal(run, undisturbed)
    held = json.loads((run / "manifest.json").read_text())["workers"]
    assert [one["device"] for one in held] == ["cpu", "cpu"]
    before = units(run)
    assert ended(start(study, run, cluster=on(cluster))) == 0
    assert units(run) == before
    assert table(run) == table(undisturbed)


def test_a_worker_that_is_killed_comes_back_and_what_it_had_is_done_once(
    cluster: Any, study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    """The run is kept at a URL as well, and each unit is there once."""
    kept = tmp_path / "kept"
    first = start(study, tmp_path / "run", cluster=on(cluster, url=kept.as_uri()))
    victim = both_at_work(kept, first)[0]
    before = units(kept)
    victim.send_signal(signal.SIGKILL)
    assert ended(first) == 0
    assert before.items() <= units(kept).items()
    assert units(kept).keys() == units(undisturbed).keys()
    assert table(kept) == table(undisturbed)
    assert len(json.loads((kept / "manifest.json").read_text())["workers"]) == 3


def test_a_node_that_dies_with_its_worker_is_missed_by_nobody(
    cluster: Any, study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = start(study, run, cluster=on(cluster))
    assert len(both_at_work(run, first)) == 2
    before = units(run)
    [second] = cluster.worker_nodes
    cluster.remove_node(second, allow_graceful=False)
    assert ended(first) == 0
    assert before.items() <= units(run).items()
    require_equal(run, undisturbed)
    cluster.add_node(**NODE)


def test_whoever_oversees_the_workers_is_killed_and_they_go_with_it(
    cluster: Any, study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = start(study, run, cluster=on(cluster))
    both_at_work(run, first)
    first.kill()
    assert ended(first) == KILLED
    deadline = time.monotonic() + PATIENCE
    while workers():
        assert time.monotonic() < deadline, "workers outlive the run"
        time.sleep(0.1)
    before = units(run)
    assert ended(start(study, run, cluster=on(cluster))) == 0
    assert before.items() <= units(run).items()
    require_equal(run, undisturbed)


def test_a_second_run_on_the_folder_is_told(cluster: Any, study: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = start(study, run, cluster=on(cluster))
    wait_for(lambda: (run / "plan.json").is_file(), first)
    assert ended(start(study, run)) == 3
    assert "in this run" in told(run)
    assert ended(start(study, run, shard="1/2")) == 3
    assert "divide this run among workers on Ray" in told(run)
    assert ended(first) == 0
