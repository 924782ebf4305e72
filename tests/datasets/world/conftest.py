"""One corpus for all tests of the world."""

import subprocess
import sys

import pytest

_WRITE = "from trustrace.datasets import world; print(*world.corpus(seed=0, n_tokens=300_000), sep='\\n')"


@pytest.fixture(scope="session")
def documents() -> list[str]:
    """World 0, long enough to hold every word; written by a process of its own, where the type checks of tests cost nothing."""
    return subprocess.run(
        [sys.executable, "-c", _WRITE], check=True, capture_output=True, text=True
    ).stdout.splitlines()
