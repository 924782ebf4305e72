"""What the hub's client makes of a hub that misbehaves: the ground on which the stream's own retries and checks stand."""

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from tests.models.fake_hub import FakeHub, Fault, commit_of, etag_of

Serve = Callable[[dict[str, dict[str, Path]]], FakeHub]
MODEL, WEIGHTS = "somebody/model", "model.safetensors"


def fetched(name: str = WEIGHTS) -> Path:
    return Path(hf_hub_download(MODEL, name, revision=commit_of("main")))


def test_a_file_is_kept_under_the_hash_that_the_hub_lists(hub: Serve, checkpoint: Path) -> None:
    hub({MODEL: {"main": checkpoint}})
    listed = {file.path: file for file in HfApi().list_repo_tree(MODEL, revision="main")}
    snapshot_download(MODEL, revision="main")
    assert fetched().resolve().name == listed[WEIGHTS].lfs.sha256 == etag_of(checkpoint / WEIGHTS)
    assert fetched("config.json").resolve().name == listed["config.json"].blob_id


def test_the_client_goes_on_at_the_last_whole_chunk_where_a_connection_broke_off(
    hub: Serve, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 300)
    served = hub({MODEL: {"main": checkpoint}})
    served.faults.append(Fault(requests=f"GET */{WEIGHTS}", cut=1000, times=1))
    assert fetched().read_bytes() == (checkpoint / WEIGHTS).read_bytes()
    assert served.ranges == [f"{WEIGHTS} bytes=900-"]


def test_the_client_waits_as_long_as_it_is_told(hub: Serve, checkpoint: Path) -> None:
    served = hub({MODEL: {"main": checkpoint}})
    served.faults.append(Fault(requests=f"GET */{WEIGHTS}", status=429, retry_after=0, times=1))
    assert fetched().read_bytes() == (checkpoint / WEIGHTS).read_bytes()
    assert len(served.downloads(WEIGHTS)) == 2


def test_the_client_gives_up_at_the_first_error_of_the_server_and_keeps_no_half_file(
    hub: Serve, checkpoint: Path
) -> None:
    served = hub({MODEL: {"main": checkpoint}})
    served.faults.append(Fault(requests=f"GET */{WEIGHTS}", status=500, times=1))
    with pytest.raises(HfHubHTTPError):
        fetched()
    assert len(served.downloads(WEIGHTS)) == 1
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete"))


def test_the_client_does_not_look_at_the_bytes(hub: Serve, checkpoint: Path) -> None:
    served = hub({MODEL: {"main": checkpoint}})
    served.faults.append(Fault(requests=f"GET */{WEIGHTS}", corrupt=True))
    assert fetched().read_bytes() != (checkpoint / WEIGHTS).read_bytes()


def test_a_revision_can_vanish(hub: Serve, checkpoint: Path) -> None:
    served = hub({MODEL: {"main": checkpoint, "step1": checkpoint}})
    del served.repositories[MODEL]["step1"]
    with pytest.raises(RevisionNotFoundError):
        snapshot_download(MODEL, revision=commit_of("step1"))


def test_a_slow_hub_is_slow(hub: Serve, checkpoint: Path) -> None:
    import time

    served = hub({MODEL: {"main": checkpoint}})
    served.rate = 4.0 * (checkpoint / WEIGHTS).stat().st_size
    started = time.perf_counter()
    fetched()
    assert 0.2 < time.perf_counter() - started < 2
