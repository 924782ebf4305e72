import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.models.fake_hub import FakeHub, serving, visit
from trustrace.models import tiny


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-training run of three checkpoints; read only."""
    return tiny.save_series(tmp_path_factory.mktemp("runs") / "run", "llama", steps=(0, 10, 100))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """One checkpoint, to be damaged."""
    return tiny.save(tmp_path / "checkpoint", "gpt_neox")


@pytest.fixture
def edit() -> Callable[..., None]:
    """Change keys of a JSON file; None takes a key out."""

    def change(path: Path, **changes: object) -> None:
        values = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))

    return change


@pytest.fixture
def hub(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, dict[str, Path]]], FakeHub]]:
    """Serve repositories as the hub, with an empty cache; the environment's being offline does not hold for it."""
    from contextlib import ExitStack

    with ExitStack() as servers:

        def serve(repositories: dict[str, dict[str, Path]]) -> FakeHub:
            served = servers.enter_context(serving(repositories))
            visit(served, cache=tmp_path / "hub-cache", monkeypatch=monkeypatch)
            return served

        yield serve
