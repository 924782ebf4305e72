"""Traces by workers on a Ray cluster: the table of an undivided run, whatever dies meanwhile."""

import json
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.faults import processes
from tests.faults.processes import KILLED, PATIENCE, ended, leftovers, start, table, told, units, wait_for
from tests.models.fake_hub import commit_of, serving
from tests.models.test_stream import footprint, watching
from trustrace.cli.app import app
from trustrace.core.errors import ConfigError, MissingExtraError
from trustrace.models import tiny
from trustrace.studies.clusters.connection import Cluster
from trustrace.studies.clusters.dispatch import LIVES
from trustrace.studies.clusters.run import run_on_ray
from trustrace.studies.clusters.worker import TOKEN, Orders, versions
from trustrace.studies.config import TraceConfig
from trustrace.studies.planning import plan_trace
from trustrace.studies.settings import Settings


def workers() -> list[psutil.Process]:
    """The processes that measure, on whichever node."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or [""]
        if line[0].startswith("ray::Worker.work"):
            found.append(process)
    return found


def node_of(worker: psutil.Process) -> str:
    """The node that started `worker`: its parent is told which one it is."""
    parent = worker.parent()
    named = [one for one in (parent.cmdline() if parent else []) if one.startswith("--node_id=")]
    return named[0].removeprefix("--node_id=") if named else ""


def bring_code(checkpoint: Path, code: str) -> None:
    """Let the class of the model at `checkpoint` be `Model` of `code`, which is run when it is loaded by whoever trusts it."""
    (checkpoint / "brought.py").write_text(code)
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(
        json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "brought.Model"}})
    )


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


def rows(run: Path) -> str:
    return str(pq.read_table(run / "measurements.parquet").to_pylist())


def require_equal(run: Path, undisturbed: Path) -> None:
    assert units(run).keys() == units(undisturbed).keys()
    assert table(run) == table(undisturbed)
    assert leftovers(run) == []


def test_two_workers_leave_the_table_of_an_undivided_run_tell_whoever_comes_and_a_second_start_does_nothing(
    cluster: Any, study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = start(study, run, cluster=on(cluster))
    wait_for(lambda: (run / "plan.json").is_file(), first)
    assert ended(start(study, run)) == 3
    assert "in this run" in told(run)
    assert ended(start(study, run, shard="1/2")) == 3
    assert "divide this run among workers on Ray" in told(run)
    assert ended(first) == 0
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


HOLDING = """
import os, time
from pathlib import Path
from transformers import LlamaForCausalLM as Model

here = Path({folder!r})
(here / "holder").write_text(str(os.getpid()))
while not (here / "released").exists():
    time.sleep(0.1)
"""


def test_a_node_that_dies_with_what_all_others_wait_for_is_missed_and_the_others_do_its_part(
    cluster: Any, study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    """Its worker holds the last checkpoint, without which nothing can be measured; there is no other place for it to come again."""
    series = Path(study["checkpoints"]["source"])
    # Named as the undisturbed one, since its name stands in the table.
    copy = shutil.copytree(series, tmp_path / series.parent.name / series.name)
    bring_code(copy / "step_0000002", HOLDING.format(folder=str(tmp_path)))
    asked = study | {"checkpoints": {"source": str(copy)}, "trust_remote_code": True}
    run = tmp_path / "run"
    first = start(asked, run, cluster=on(cluster))
    wait_for(lambda: bool((tmp_path / "holder").is_file() and (tmp_path / "holder").read_text()), first)
    holder = psutil.Process(int((tmp_path / "holder").read_text()))
    [node] = [one for one in cluster.worker_nodes if one.node_id == node_of(holder)]
    cluster.remove_node(node, allow_graceful=False)
    # It outlives its node for as long as it takes to miss it.
    holder.wait(PATIENCE)
    (tmp_path / "released").touch()
    assert ended(first) == 0
    assert len(units(run)) == len(units(undisturbed))
    # Beside its rows, a table says of which study it is.
    assert rows(run) == rows(undisturbed)
    assert leftovers(run) == []
    assert len(json.loads((run / "manifest.json").read_text())["workers"]) >= 2


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


def test_a_checkpoint_that_kills_its_worker_is_given_up_and_the_others_are_measured(
    cluster: Any, study: dict[str, Any], tmp_path: Path
) -> None:
    """Its files bring code, which is trusted by name, and which ends the process."""
    shutil.copytree(study["checkpoints"]["source"], tmp_path / "checkpoints")
    bring_code(tmp_path / "checkpoints" / "step_0000001", "import os, signal\n\nos.kill(os.getpid(), signal.SIGKILL)\n")
    asked = study | {"checkpoints": {"source": str(tmp_path / "checkpoints")}, "trust_remote_code": True}
    run = tmp_path / "run"
    assert ended(start(asked, run, cluster=on(cluster, workers=1))) == 3
    assert "2 units failed" in told(run)
    assert f"the process that measured it died or ended {LIVES} times" in told(run)
    assert len([name for name in units(run) if name.startswith("trace")]) == 6
    assert leftovers(run) == []


@pytest.mark.parametrize("what", ["versions", "folder"])
def test_a_worker_that_would_compute_something_else_or_elsewhere_refuses(
    study: dict[str, Any], tmp_path: Path, what: str
) -> None:
    plan = plan_trace(TraceConfig.read(study, where="-"), settings=Settings(device="cpu"))
    orders = Orders(
        plan=plan,
        visits={},
        settings=Settings(device="cpu"),
        place=str(tmp_path),
        only_failed=False,
        versions=versions(),
        token="that",  # noqa: S106
    )
    (tmp_path / TOKEN).write_text("that")
    orders.require_the_same_versions()
    orders.require_the_same_folder()
    if what == "versions":
        with pytest.raises(ConfigError, match=r"torch .* in place of 1\.0; every node needs the versions"):
            replace(orders, versions=orders.versions | {"torch": "1.0"}).require_the_same_versions()
    else:
        (tmp_path / TOKEN).write_text("another run's")
        with pytest.raises(ConfigError, match=r"does not see the run in .*give --out a folder that all nodes share"):
            orders.require_the_same_folder()


def test_workers_stream_from_a_hub_each_within_its_budget(tmp_path: Path) -> None:
    """On a cluster that the run starts for itself, on this machine."""
    revisions = {f"step{step}": tiny.save(tmp_path / f"step{step}", "llama", seed=step) for step in (0, 1, 2, 4)}
    asked = processes.series(tmp_path) | {"checkpoints": {"source": "somebody/model"}}
    budget = int(2.5 * footprint(revisions["step0"]))
    with serving({"somebody/model": dict(revisions)}) as hub, watching(tmp_path / "cache") as sizes:
        source = {"hub": hub.url, "cache": str(tmp_path / "cache"), "budget": budget}
        assert ended(start(asked, tmp_path / "run", cluster={"address": "local", "workers": 2} | source)) == 0
        fetched = Counter(path.split("/")[-2] for path in hub.downloads("model.safetensors"))
    assert fetched == Counter(commit_of(name) for name in revisions)
    assert 0 < max(sizes) <= 2 * budget
    assert not list((tmp_path / "cache").glob("models--*/blobs/*"))


def test_options_that_contradict_each_other_and_clusters_that_are_not_there_are_one_message(tmp_path: Path) -> None:
    plan = tmp_path / "study.yaml"
    plan.write_text("study: trace\ncheckpoints: {source: nowhere}\ndatasets: [reliability/published]\n")
    for options, said in (
        (["--workers", "2"], "add --engine ray"),
        (["--engine", "ray", "--shard", "1/2"], "use either"),
        (["--engine", "ray", "--device", "balanced"], "each worker has one device"),
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
