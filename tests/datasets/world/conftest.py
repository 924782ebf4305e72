"""One corpus for all tests of the world, since writing it takes seconds."""

import pytest

from trustrace.datasets import world


@pytest.fixture(scope="session")
def documents() -> list[str]:
    """World 0, long enough to hold every word."""
    return list(world.corpus(seed=0, n_tokens=300_000))
