"""Traces by workers on a Ray cluster: the table of an undivided run, whatever dies meanwhile."""

import json
import shutil
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from tests.distributed.conftest import NODE
from tests.faults.processes import KILLED, PATIENCE, ended, leftovers, start, table, told, units, wait_for
from trustrace.cli.app import app
from trustrace.core.errors import ConfigError, MissingExtraError
from trustrace.studies.config import TraceConfig
from trustrace.studies.dispatch import LIVES
from trustrace.studies.ray_engine import Cluster, run_on_ray
from trustrace.studies.settings import Settings


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


def test_a_checkpoint_that_kills_its_worker_is_given_up_and_the_others_are_measured(
    cluster: Any, study: dict[str, Any], tmp_path: Path
) -> None:
    """Its files bring code, which is trusted by name, and which ends the process."""
    shutil.copytree(study["checkpoints"]["source"], tmp_path / "checkpoints")
    deadly = tmp_path / "checkpoints" / "step_0000001"
    (deadly / "deadly.py").write_text("import os, signal\n\nos.kill(os.getpid(), signal.SIGKILL)\n")
    config = json.loads((deadly / "config.json").read_text())
    (deadly / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "deadly.Model"}}))
    asked = study | {"checkpoints": {"source": str(tmp_path / "checkpoints")}, "trust_remote_code": True}
    run = tmp_path / "run"
    assert ended(start(asked, run, cluster=on(cluster, workers=1))) == 3
    assert "2 units failed" in told(run)
    assert f"the process that measured it died {LIVES} times" in told(run)
    assert len([name for name in units(run) if name.startswith("trace")]) == 6
    assert leftovers(run) == []


def test_options_that_contradict_each_other_and_clusters_that_are_not_there_are_one_message(tmp_path: Path) -> None:
    plan = tmp_path / "study.yaml"
    plan.write_text("study: trace\ncheckpoints: {source: nowhere}\ndatasets: [reliability/published]\n")
    for options, said in (
        (["--workers", "2"], "add --engine ray"),
        (["--engine", "ray", "--shard", "1/2"], "use either"),
    ):
        asked = CliRunner().invoke(app, ["trace", str(plan), "--out", str(tmp_path / "run"), *options])
        assert isinstance(asked.exception, ConfigError)
        assert said in str(asked.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [("ray", "expected auto, local or HOST:PORT"), ("127.0.0.1:9", "nothing answers there"), ("x:999999", "nothing")],
)
def test_a_cluster_that_is_not_there_is_told_before_anything_is_done(
    study: dict[str, Any], tmp_path: Path, address: str, said: str
) -> None:
    config = TraceConfig.read(study, where="-")
    with pytest.raises(ConfigError, match=said):
        run_on_ray(config, out=str(tmp_path / "run"), cluster=Cluster(address=address), settings=Settings(device="cpu"))
    assert not (tmp_path / "run").exists()


def test_without_ray_the_extra_is_named(study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    config = TraceConfig.read(study, where="-")
    with pytest.raises(MissingExtraError, match=r"trustrace\[dist\]"):
        run_on_ray(config, out=str(tmp_path / "run"), cluster=Cluster(), settings=Settings(device="cpu"))
