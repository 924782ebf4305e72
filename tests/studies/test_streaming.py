"""A trace of a suite on a hub that is larger than the disk: the same table, each model loaded once, the budget never exceeded."""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.models.fake_hub import FakeHub, Fault, commit_of, serving, visit
from tests.models.test_stream import footprint, watching
from trustrace.core.errors import ConfigError, RunError
from trustrace.models import tiny
from trustrace.studies import planning
from trustrace.studies.config import TraceConfig
from trustrace.studies.planning import plan_trace
from trustrace.studies.settings import Settings
from trustrace.studies.sharding import Shard
from trustrace.studies.streaming import Visit, ordered
from trustrace.studies.trace import run_trace

MODEL = "somebody/model"
STEPS = (0, 1, 2, 4, 8, 16)


@pytest.fixture(scope="module")
def revisions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("revisions")
    return {f"step{step}": tiny.save(root / f"step{step}", "llama", seed=step, n_blocks=1) for step in STEPS}


@pytest.fixture
def hub(revisions: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving({MODEL: dict(revisions)}) as served:
        visit(served, cache=tmp_path / "cache", monkeypatch=monkeypatch)
        yield served


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each model came into memory, in the order of the first time."""
    counted: Counter[str] = Counter()
    load, draw = planning.load, planning.random_init

    def counting(source: Any, checkpoint: Any, **options: Any) -> Any:
        counted[checkpoint.revision] += 1
        return load(source, checkpoint, **options)

    def counting_draws(source: Any, checkpoint: Any, **options: Any) -> Any:
        counted[f"random_init_{options['seed']}"] += 1
        return draw(source, checkpoint, **options)

    monkeypatch.setattr(planning, "load", counting)
    monkeypatch.setattr(planning, "random_init", counting_draws)
    return counted


def study(folder: Path, **changes: Any) -> TraceConfig:
    words = random.Random(0)
    rows = [
        (
            f"{words.choice('abcdefgh')}{i} is a {'cat' if i % 2 else 'dog'} of {words.choice('xyz')}",
            i % 2,
            f"g{i // 2}",
        )
        for i in range(40)
    ]
    lines = ["statement,label,group", *(f"{text},{label},{group}" for text, label, group in rows)]
    for name in ("one", "two"):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    values = {
        "name": "streamed",
        "checkpoints": {"source": MODEL},
        "datasets": [{"name": name, "path": str(folder / f"{name}.csv")} for name in ("one", "two")],
        "sites": ["block_0"],
        "protocols": ["rigorous"],
        "probing": {"folds": 3, "bootstrap_draws": 100, "control_draws": 1, "regularisers": [1.0]},
        "information": {"widths": [50.0], "permutations": 20, "bootstrap_draws": 100, "components": None},
    }
    return TraceConfig.read(values | changes, where="study.yaml")


def table(run: Path) -> bytes:
    return (run / "measurements.parquet").read_bytes()


def test_a_trace_within_a_budget_gives_the_same_table_and_loads_each_model_once(
    hub: FakeHub, revisions: dict[str, Path], loads: Counter[str], tmp_path: Path
) -> None:
    asked = study(tmp_path, protocols=["rigorous", "published"])
    budget = int(2.5 * footprint(revisions["step0"]))
    hub.rate = 2e6
    with watching(tmp_path / "cache") as sizes:
        run_trace(asked, out=tmp_path / "streamed", settings=Settings(device="cpu", disk_budget=budget))
    assert max(sizes) <= budget
    assert loads == Counter([f"step{step}" for step in STEPS] + ["random_init_0"])
    assert list(loads) == ["step16", "step0", "random_init_0", "step4", "step1", "step8", "step2"]
    assert len(hub.downloads("model.safetensors")) == len(STEPS)
    assert not list((tmp_path / "cache").glob("models--*/blobs/*"))
    hub.rate = None
    whole = Settings(device="cpu", order="series", ahead=0)
    run_trace(asked, out=tmp_path / "whole", settings=whole)
    assert table(tmp_path / "streamed") == table(tmp_path / "whole")


def test_a_trace_that_is_stopped_has_seen_both_ends(hub: FakeHub, tmp_path: Path) -> None:
    """And going on from there fetches only what is missing."""
    asked = study(tmp_path, information=None)
    settings = Settings(device="cpu", disk_budget=10**7)

    def stop(done: int, total: int, what: str) -> None:
        if (what, done) == ("units", 8):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trace(asked, out=tmp_path / "run", settings=settings, progress=stop)
    rows = pq.read_table(tmp_path / "run" / "measurements.parquet").to_pylist()
    measured = {row["checkpoint"].partition("@")[2] for row in rows if row["checkpoint"]}
    assert measured == {"step16", "step0", "random_init_0"}
    assert not list((tmp_path / "cache").glob("models--*/blobs/*"))
    before = len(hub.downloads("model.safetensors"))
    run_trace(asked, out=tmp_path / "run", settings=settings)
    assert not [one for one in hub.downloads("model.safetensors")[before:] if commit_of("step0") in one]


def test_what_all_are_compared_with_is_read_once_and_not_fetched_again(
    hub: FakeHub, loads: Counter[str], tmp_path: Path
) -> None:
    """A trace that goes on after the last checkpoint, and the shards of one that is divided."""
    asked, settings = study(tmp_path), Settings(device="cpu", disk_budget=10**7)

    def stop(done: int, total: int, what: str) -> None:
        if (what, done) == ("units", 6):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trace(asked, out=tmp_path / "run", settings=settings, progress=stop)
    assert list(loads) == ["step16", "step0"]
    for number in (1, 2):
        run_trace(asked, out=tmp_path / "run", settings=settings, shard=Shard(number=number, count=2))
    assert loads["step16"] == 1
    assert len([one for one in hub.downloads("model.safetensors") if commit_of("step16") in one]) == 1
    run_trace(asked, out=tmp_path / "whole", settings=settings)
    assert table(tmp_path / "run") == table(tmp_path / "whole")


def test_damaged_inputs_are_named(hub: FakeHub, tmp_path: Path) -> None:
    asked = study(tmp_path, checkpoints={"source": MODEL, "select": ["step1", "step16"]})
    run_trace(asked, out=tmp_path / "run", settings=Settings(device="cpu"))
    for path in (tmp_path / "run" / "units").glob("inputs-*/inputs.safetensors"):
        path.write_bytes(path.read_bytes()[:-9])
    shutil.rmtree(next((tmp_path / "run" / "units").glob("trace-*step1-*")))
    with pytest.raises(RunError, match=r"inputs\.safetensors holds no inputs"):
        run_trace(asked, out=tmp_path / "run", settings=Settings(device="cpu"))


def test_one_checkpoint_that_cannot_be_fetched_fails_alone(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.append(Fault(requests=f"GET */{commit_of('step2')}/model.safetensors", status=403))
    with pytest.raises(RunError, match=r"2 units failed.*\n.*step2/one.*could not be fetched"):
        run_trace(
            study(tmp_path, information=None), out=tmp_path / "run", settings=Settings(device="cpu", disk_budget=10**7)
        )
    rows = pq.read_table(tmp_path / "run" / "measurements.parquet").to_pylist()
    measured = {row["checkpoint"].partition("@")[2] for row in rows if row["checkpoint"]}
    assert measured == {f"step{step}" for step in STEPS if step != 2} | {"random_init_0"}


def test_a_hub_that_misbehaves_on_every_checkpoint_leaves_the_same_table(hub: FakeHub, tmp_path: Path) -> None:
    """Slow, cut off, told to wait, down, wrong bytes; and a revision that vanishes fails alone until it is there again."""
    one = [{"name": "one", "path": str(tmp_path / "one.csv")}]
    asked = study(tmp_path, information=None, datasets=one, random_init_seeds=[])
    settings = Settings(device="cpu", disk_budget=10**7)
    run_trace(asked, out=tmp_path / "whole", settings=settings)
    faults = {
        "step0": {"rate": 3e5},
        "step1": {"cut": 4096},
        "step4": {"status": 429, "retry_after": 0},
        "step8": {"status": 500},
        "step16": {"corrupt": True},
    }
    for name, fault in faults.items():
        hub.faults.append(Fault(requests=f"GET */{commit_of(name)}/model.safetensors", times=1, **fault))  # type: ignore[arg-type]
    vanished = hub.repositories[MODEL]["step2"]

    def take_away(done: int, total: int, what: str) -> None:
        hub.repositories[MODEL].pop("step2", None)

    with pytest.raises(RunError, match=r"1 units failed.*\n.*step2/one"):
        run_trace(asked, out=tmp_path / "run", settings=settings, progress=take_away)
    # Each of them was met.
    assert all(fault.times < 1 for fault in hub.faults)
    finished = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "units").iterdir()}
    hub.repositories[MODEL]["step2"] = vanished
    run_trace(asked, out=tmp_path / "run", settings=settings)
    assert (
        finished.items()
        <= {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "units").iterdir()}.items()
    )
    assert table(tmp_path / "run") == table(tmp_path / "whole")


def test_a_budget_too_small_is_one_message_before_anything_is_fetched(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more than the budget of 10 kB"):
        run_trace(study(tmp_path), out=tmp_path / "run", settings=Settings(device="cpu", disk_budget=10_000))
    assert not hub.downloads()


def test_what_is_not_kept_is_let_go_and_what_is_kept_stays(hub: FakeHub, tmp_path: Path) -> None:
    asked = study(tmp_path, information=None, checkpoints={"source": MODEL, "select": ["step1", "step16"]})
    run_trace(asked, out=tmp_path / "run", settings=Settings(device="cpu"))
    assert len(list((tmp_path / "cache").glob("models--*/snapshots/*/model.safetensors"))) == 2


def test_the_order_begins_with_the_last_where_all_are_compared_with_it(hub: FakeHub, tmp_path: Path) -> None:
    plan = plan_trace(study(tmp_path), settings=Settings(device="cpu"))

    def names(visits: tuple[Visit, ...]) -> list[str]:
        return [subject.checkpoint.revision for visit in visits for subject in visit.subjects]

    everyone = {subject.checkpoint.key for subject in plan.subjects}
    coarse = ordered(plan.subjects, waiting=everyone, last=None, order="coarse")
    assert names(coarse) == ["step16", "step0", "random_init_0", "step4", "step1", "step8", "step2"]
    series = ordered(plan.subjects, waiting=everyone, last=plan.last, order="series")
    assert names(series) == ["step16", "step0", "random_init_0", "step1", "step2", "step4", "step8"]
    floor = ordered(plan.subjects, waiting={"somebody--model@random_init_0"}, last=None, order="coarse")
    assert names(floor) == ["random_init_0"]
    some = {"somebody--model@step8", "somebody--model@step2"}
    assert names(ordered(plan.subjects, waiting=some, last=plan.last, order="coarse")) == ["step16", "step8", "step2"]
    assert names(ordered(plan.subjects, waiting=set(), last=None, order="coarse")) == []
