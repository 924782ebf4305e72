"""One thread, no hub, jaxtyping checked: what every test stands on."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["RUST_BACKTRACE"] = "0"

from jaxtyping import install_import_hook

install_import_hook("trustrace", "beartype.beartype")

import pytest
import torch
from jaxtyping import config

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    folder = os.environ.get("TRUSTRACE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data is absent: set TRUSTRACE_DATA to the folder that holds paper/, originals/, models/ ...")
    return Path(folder)


@pytest.fixture
def untyped() -> Iterator[None]:
    """What a user meets, whose calls no type checker guards: the hook looks at one item of a tuple, drawn by chance."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
