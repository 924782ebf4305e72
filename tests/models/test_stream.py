"""Checkpoints that stream through a bounded disk, from a hub that misbehaves."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import snapshot_download

from tests.models.fake_hub import FakeHub, Fault, commit_of, etag_of
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError, ConfigError
from trustrace.models import tiny
from trustrace.models.holdings import SPARE
from trustrace.models.loading import load
from trustrace.models.sources import CheckpointSource, open_source
from trustrace.models.stream import FOLLOWING, CheckpointStream, State

Serve = Callable[[dict[str, dict[str, Path]]], FakeHub]
MODEL, WEIGHTS = "somebody/model", "model.safetensors"
STEPS = 5
AT_ONCE = (0.0, 0.0)


@pytest.fixture(scope="module")
def revisions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of one size, with weights of their own and one tokenizer."""
    root = tmp_path_factory.mktemp("revisions")
    return {f"step{step}": tiny.save(root / f"step{step}", "gpt_neox", seed=step) for step in range(STEPS)}


@pytest.fixture
def served(hub: Serve, revisions: dict[str, Path]) -> FakeHub:
    return hub({MODEL: dict(revisions)})


def size_of(folder: Path) -> int:
    """What the files below `folder` take, each counted once; files come and go meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(root) / name).lstat().st_blocks * 512
    return total


def cache() -> Path:
    return Path(huggingface_hub.constants.HF_HUB_CACHE)


def blobs() -> set[str]:
    return {path.name for path in cache().glob("models--*/blobs/*")}


@contextmanager
def watching(folder: Path) -> Iterator[list[int]]:
    """The sizes of `folder`, sampled all the time."""
    sizes, over = [0], threading.Event()

    def sample() -> None:
        while not over.is_set():
            sizes.append(size_of(folder))
            time.sleep(0.002)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


def footprint(folder: Path) -> int:
    """The most that a checkpoint takes: its files in whole blocks, a block for each link."""
    return sum(-(-path.stat().st_size // 4096) * 4096 + 4096 for path in folder.iterdir())


def seen(source: CheckpointSource, *, using: float = 0.0, **options: object) -> list[tuple[str, str]]:
    """Each checkpoint of a stream and what became of it, its content compared while it was there."""
    told = []
    with CheckpointStream(source, source.checkpoints(), patience=AT_ONCE, **options) as stream:  # type: ignore[arg-type]
        for arrival in stream:
            if arrival.error:
                told.append((arrival.checkpoint.revision, str(arrival.error)))
                continue
            with arrival.path(arrival.checkpoint) as folder:
                told.append((arrival.checkpoint.revision, etag_of(folder / WEIGHTS)))
                time.sleep(using)
    return told


def as_published(revisions: dict[str, Path]) -> list[tuple[str, str]]:
    return [(name, etag_of(folder / WEIGHTS)) for name, folder in revisions.items()]


def test_every_checkpoint_arrives_in_order_and_nothing_is_left(served: FakeHub, revisions: dict[str, Path]) -> None:
    assert seen(open_source(MODEL)) == as_published(revisions)
    assert len(served.downloads(WEIGHTS)) == STEPS
    assert not blobs()
    assert not list(cache().rglob("snapshots/*/*"))
    assert not list(cache().glob(".locks/trustrace/*"))


def test_a_checkpoint_loads_from_its_arrival(served: FakeHub) -> None:
    source = open_source(MODEL)
    with CheckpointStream(source, source.checkpoints()[:1]) as stream:
        [model] = [load(arrival, arrival.checkpoint) for arrival in stream]
    assert model.checkpoint.revision == "step0"


@pytest.mark.parametrize("fits", [1.0, 2.5])
def test_the_disk_never_holds_more_than_the_budget(fits: float, served: FakeHub, revisions: dict[str, Path]) -> None:
    budget = int(fits * footprint(revisions["step0"]))
    served.rate = 4e6
    with watching(cache()) as sizes:
        assert seen(open_source(MODEL), using=0.6, budget=budget, ahead=3) == as_published(revisions)
    assert max(sizes) <= budget
    # The control: room that was given was used.
    assert max(sizes) > 0.7 * int(fits) * footprint(revisions["step0"])


def test_without_a_budget_the_control_holds_more(served: FakeHub, revisions: dict[str, Path]) -> None:
    with watching(cache()) as sizes:
        seen(open_source(MODEL), ahead=STEPS, keep=True)
    assert max(sizes) > 0.9 * STEPS * (revisions["step0"] / WEIGHTS).stat().st_size


def test_the_next_checkpoint_is_fetched_while_one_is_in_use(served: FakeHub) -> None:
    source = open_source(MODEL)
    with CheckpointStream(source, source.checkpoints(), ahead=1) as stream:
        arrivals = iter(stream)
        first = next(arrivals)
        deadline = time.monotonic() + 20
        while stream.states["somebody--model@step1"] is not State.READY and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        states = [state.value for state in stream.states.values()]
        assert states == ["in use", "ready"]
        assert first.folder is not None
        assert (first.folder / WEIGHTS).is_file()
        next(arrivals)
        assert stream.states["somebody--model@step0"] is State.EVICTED
        assert not (first.folder / WEIGHTS).exists()


def test_two_streams_share_a_queue_and_ask_for_no_more_than_they_fetch(served: FakeHub) -> None:
    asked = []

    def queue() -> Iterator[Checkpoint]:
        for checkpoint in source.checkpoints():
            asked.append(checkpoint.revision)
            yield checkpoint

    source = open_source(MODEL)
    coming = queue()
    with CheckpointStream(source, coming, ahead=1) as one, CheckpointStream(source, coming, ahead=0) as other:
        first, second = iter(one), iter(other)
        next(first)
        wait_until(lambda: len(asked) == 2)
        assert next(second).checkpoint.revision == "step2"
        time.sleep(0.1)
        assert asked == ["step0", "step1", "step2"]
        rest = [arrival.checkpoint.revision for arrival in (*second, *first)]
    assert sorted(rest) == ["step1", "step3", "step4"]
    assert not blobs()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_was_in_the_cache_before_is_not_touched(served: FakeHub, revisions: dict[str, Path]) -> None:
    """A whole checkpoint, and of another one a single file."""
    whole = Path(snapshot_download(MODEL, revision=commit_of("step1")))
    single = Path(snapshot_download(MODEL, revision=commit_of("step3"), allow_patterns=["config.json"]))
    before = {path: path.stat().st_mtime_ns for path in cache().rglob("*") if path.is_file()}
    assert seen(open_source(MODEL)) == as_published(revisions)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path.name for path in whole.iterdir()} == {path.name for path in revisions["step1"].iterdir()}
    assert [path.name for path in single.iterdir()] == ["config.json"]
    assert len(served.downloads(f"{commit_of('step1')}/{WEIGHTS}")) == 1


def test_contents_that_checkpoints_share_are_fetched_once_and_go_with_the_last(
    hub: Serve, revisions: dict[str, Path], tmp_path: Path
) -> None:
    """Equal tokenizers, and an equal shard, are one content."""
    twin = shutil.copytree(revisions["step0"], tmp_path / "twin")
    (twin / "generation_config.json").write_text("{}")
    served = hub({MODEL: {"step0": revisions["step0"], "step1": twin, "step2": revisions["step2"]}})
    told = seen(open_source(MODEL), using=0.3, ahead=2)
    assert [revision for revision, _ in told] == ["step0", "step1", "step2"]
    assert told[0][1] == told[1][1]
    assert len(served.downloads(WEIGHTS)) == 2
    assert len(served.downloads("tokenizer.json")) == 1
    assert not blobs()


def test_a_checkpoint_beyond_the_budget_is_one_error_before_anything_is_fetched(served: FakeHub) -> None:
    source = open_source(MODEL)
    with pytest.raises(ConfigError, match=r"somebody--model@step0: \d+ kB on the disk, more than the budget of 100 kB"):
        seen(source, budget=100_000)
    assert not served.downloads()


def test_one_larger_checkpoint_among_others_fails_alone(hub: Serve, revisions: dict[str, Path], tmp_path: Path) -> None:
    large = tiny.save(tmp_path / "large", "gpt_neox", n_blocks=9)
    hub({MODEL: {"step0": revisions["step0"], "step1": large, "step2": revisions["step2"]}})
    told = dict(seen(open_source(MODEL), budget=footprint(revisions["step0"])))
    assert "more than the budget" in told["step1"]
    assert told["step2"] == etag_of(revisions["step2"] / WEIGHTS)


def test_a_full_disk_is_told_before_anything_is_fetched(served: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, SPARE + 1000))
    told = seen(open_source(MODEL))
    assert all("has no room for them" in why for _, why in told)
    assert not served.downloads()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(requests="GET */model.safetensors", status=500, times=2),
        Fault(requests="GET */model.safetensors", status=503, times=1, after=1),
        Fault(requests="GET api/models/*/tree/*", status=500, times=1),
        Fault(requests="GET */model.safetensors", corrupt=True, times=1),
        Fault(requests="GET */model.safetensors", cut=4096, times=1),
        Fault(requests="GET */model.safetensors", status=429, retry_after=0, times=1),
    ],
    ids=["500 twice", "503", "500 of the listing", "wrong bytes", "cut off", "429"],
)
def test_what_passes_is_survived(fault: Fault, served: FakeHub, revisions: dict[str, Path]) -> None:
    served.faults.append(fault)
    assert seen(open_source(MODEL)) == as_published(revisions)
    assert not blobs()


def test_what_does_not_pass_is_that_checkpoints_failure_alone(served: FakeHub, revisions: dict[str, Path]) -> None:
    """Wrong bytes for good, an error for good, and a revision that vanishes between its listing and its turn."""
    wrong, down, gone = (commit_of(f"step{step}") for step in (1, 2, 3))
    source = open_source(MODEL)
    del served.repositories[MODEL]["step3"]
    served.faults += [
        Fault(requests=f"GET */{wrong}/{WEIGHTS}", corrupt=True),
        Fault(requests=f"GET */{down}/{WEIGHTS}", status=500),
    ]
    told = dict(seen(source))
    published = dict(as_published(revisions))
    assert [told[name] for name in ("step0", "step4")] == [published[name] for name in ("step0", "step4")]
    assert f"model.safetensors differs from {published['step1']}, the hash that the hub lists" in told["step1"]
    assert "could not be fetched" in told["step2"]
    assert "not this revision" in told["step3"]
    assert len(served.downloads(f"{wrong}/{WEIGHTS}")) == 2
    assert len(served.downloads(f"{down}/{WEIGHTS}")) == 1 + len(AT_ONCE)
    assert gone not in " ".join(served.downloads())
    assert not blobs()


def test_damage_that_was_in_the_cache_before_is_named_and_left(served: FakeHub, revisions: dict[str, Path]) -> None:
    place = Path(snapshot_download(MODEL, revision=commit_of("step1"))) / WEIGHTS
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    place.resolve().write_bytes(content)
    told = dict(seen(open_source(MODEL)))
    assert f"it was in the cache before; remove {place.resolve()}" in told["step1"]
    assert place.read_bytes() == content


def test_leaving_early_stops_the_thread_and_leaves_nothing(served: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    source = open_source(MODEL)
    for arrival in CheckpointStream(source, source.checkpoints(), ahead=3):
        served.rate = 20_000
        assert arrival.checkpoint.revision == "step0"
        time.sleep(0.2)
        started = time.monotonic()
        break
    # A checkpoint takes nine seconds at this rate.
    assert time.monotonic() - started < 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("trustrace-stream")]
    assert not blobs()
    assert not list(cache().rglob("*.incomplete"))


def _interrupted(_: object) -> None:
    raise KeyboardInterrupt


def test_an_exception_in_the_body_closes_the_stream(served: FakeHub) -> None:
    source = open_source(MODEL)
    with pytest.raises(KeyboardInterrupt), CheckpointStream(source, source.checkpoints()) as stream:
        _interrupted(next(iter(stream)))
    assert not blobs()
    with pytest.raises(CheckpointError, match="this stream is closed"):
        next(iter(stream))


KILLED = """
import os, signal, sys
import huggingface_hub.constants as constants
from pathlib import Path
constants.DOWNLOAD_CHUNK_SIZE = 1000
from trustrace.models.sources import open_source
from trustrace.models.stream import CheckpointStream
source = open_source("somebody/model")
stream = CheckpointStream(source, source.checkpoints(), ahead=2)
arrivals = iter(stream)
print(next(arrivals).checkpoint.revision, flush=True)
import time
time.sleep(60)
"""


def test_what_a_killed_stream_left_goes_with_the_next_one(served: FakeHub, revisions: dict[str, Path]) -> None:
    served.faults.append(Fault(requests=f"GET */{commit_of('step1')}/{WEIGHTS}", rate=20_000, times=1))
    environment = {
        "HF_ENDPOINT": served.url,
        "HF_HUB_CACHE": str(cache()),
        "HF_HUB_OFFLINE": "0",
        "PATH": "/usr/bin:/bin",
    }
    killed = subprocess.Popen([sys.executable, "-c", KILLED], env=environment, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "step0\n"
    while not list(cache().rglob("*.incomplete")):
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    killed.stdout.close()
    left = blobs()
    assert any(name.endswith(".incomplete") for name in left)
    assert etag_of(revisions["step0"] / WEIGHTS) in left
    budget = int(1.5 * footprint(revisions["step0"]))
    assert seen(open_source(MODEL), budget=budget) == as_published(revisions)
    # What the first checkpoint needs was taken over.
    assert len(served.downloads(f"{commit_of('step0')}/{WEIGHTS}")) == 1
    assert not blobs()
    assert not list(cache().glob(".locks/trustrace/*"))


def test_a_stream_at_work_keeps_its_own_from_another(served: FakeHub, revisions: dict[str, Path]) -> None:
    source = open_source(MODEL)
    with CheckpointStream(source, source.checkpoints()[:1]) as one:
        for arrival in one:
            assert seen(source) == as_published(revisions)
            assert arrival.folder is not None
            assert etag_of(arrival.folder / "tokenizer.json") == etag_of(revisions["step0"] / "tokenizer.json")


def test_without_a_connection_what_is_complete_in_the_cache_passes(
    served: FakeHub, revisions: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seen(open_source(MODEL), keep=True) == as_published(revisions)
    (Path(snapshot_download(MODEL, revision=commit_of("step2"))) / WEIGHTS).unlink()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    told = dict(seen(open_source(MODEL)))
    assert {name for name, said in told.items() if said == dict(as_published(revisions))[name]} == {
        "step0",
        "step1",
        "step3",
        "step4",
    }
    assert "could not be fetched" in told["step2"]


def test_folders_pass_untouched(series: Path) -> None:
    source = open_source(str(series))
    before = sorted(series.rglob("*"))
    with CheckpointStream(source, source.checkpoints(), budget=1) as stream:
        keys = [load(arrival, arrival.checkpoint, prove=False).checkpoint.key for arrival in stream]
    assert keys == [one.key for one in source.checkpoints()]
    assert sorted(series.rglob("*")) == before


def test_every_state_but_the_last_ones_leads_on() -> None:
    assert set(FOLLOWING) == set(State)
    assert {state for state, following in FOLLOWING.items() if not following} == {
        State.EVICTED,
        State.KEPT,
        State.FAILED,
    }
    assert {state for following in FOLLOWING.values() for state in following} | {State.WANTED} == set(State)
