"""Streaming a suite through a small disk: time against what the slower of network and computer takes alone, and disk against its budget.

The hub is a server on this machine with a throttled connection; checkpoints are random bytes, and sleeping stands for computing.
"""

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import snapshot_download
from huggingface_hub.utils import tqdm
from tests.models.fake_hub import serving, visit

from benchmarks.rows import Row, seconds
from trustrace.models.hub import open_hub
from trustrace.models.stream import CheckpointStream

MODEL, CHECKPOINTS, SIZE = "somebody/model", 12, 6_000_000
DOWNLOAD_SECONDS = 1.5
BUDGET = int(2.5 * SIZE)
REPEATS = 2


def run() -> list[Row]:
    """Where the network is slower, where both take as long, and where the computer is slower."""
    return [row for compute in (1.2, DOWNLOAD_SECONDS, 1.9) for row in _rows(compute)]


def _rows(compute: float) -> list[Row]:
    bounds, times, peaks = [], [], []
    for _ in range(REPEATS):
        with _throttled():
            bounds.append(max(seconds(_fetch), CHECKPOINTS * compute))
        with _throttled() as cache, _watching(cache) as sizes:
            times.append(seconds(lambda: _stream(compute)))
            peaks.append(max(sizes))
    case = f"{CHECKPOINTS} checkpoints, {DOWNLOAD_SECONDS:g} s to fetch and {compute:g} s to compute each"
    taken = ", ".join(f"{one:.1f} of {bound:.1f}" for one, bound in zip(times, bounds, strict=True))
    return [
        Row.of(
            [bound / one for bound, one in zip(bounds, times, strict=True)],
            what=f"streaming {case}",
            baseline="the larger of fetching all of them, by the hub's client alone, and all computing",
            reach=1 / 1.15,
            detail=f"{taken} s; one after the other at least {CHECKPOINTS * (DOWNLOAD_SECONDS + compute):.1f} s",
            threads=1,
        ),
        Row.of(
            [BUDGET / peak for peak in peaks],
            what=f"most of the disk at any time, {case}",
            baseline=f"a budget of 2.5 checkpoints, {BUDGET / 1e6:.1f} MB",
            reach=1.0,
            detail=f"{max(peaks) / 1e6:.2f} MB, sampled every 5 ms",
            threads=1,
        ),
    ]


def _fetch() -> None:
    for step in range(CHECKPOINTS):
        snapshot_download(MODEL, revision=f"step{step}", tqdm_class=_Unseen)


class _Unseen(tqdm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"disable": True})


def _stream(compute: float) -> None:
    source = open_hub(MODEL)
    with CheckpointStream(source, source.checkpoints(), budget=BUDGET) as stream:
        for arrival in stream:
            with arrival.path(arrival.checkpoint):
                time.sleep(compute)


@contextmanager
def _throttled() -> Iterator[Path]:
    """A hub of random checkpoints behind a slow connection; the cache that its client fills."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        revisions = {f"step{step}": _checkpoint(folder, step) for step in range(CHECKPOINTS)}
        hub = stack.enter_context(serving({MODEL: revisions}))
        hub.rate = SIZE / DOWNLOAD_SECONDS
        visit(hub, cache=folder / "cache", monkeypatch=patch)
        yield folder / "cache"


def _checkpoint(root: Path, step: int) -> Path:
    folder = root / f"step{step}"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(os.urandom(SIZE))
    (folder / "config.json").write_text(f'{{"model_type": "llama", "step": {step}}}')
    return folder


@contextmanager
def _watching(folder: Path) -> Iterator[list[int]]:
    sizes, over = [1], threading.Event()

    def sample() -> None:
        while not over.wait(0.005):
            sizes.append(_taken(folder))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


def _taken(folder: Path) -> int:
    """Bytes of the disk's blocks; files come and go meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(root) / name).lstat().st_blocks * 512
    return total
