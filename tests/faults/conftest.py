from pathlib import Path
from typing import Any

import pytest

from tests.faults import processes


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return processes.series(tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="session")
def undisturbed(study: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to which nothing happened."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    assert processes.done(study, run) == 0
    return run
