"""Names from a hub, a study or a plan: none of them leads out of the place where it is kept."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.models import fake_hub
from tests.models.fake_hub import FakeHub, serving
from trustrace.core.documents import is_folder_name
from trustrace.core.errors import CheckpointError
from trustrace.models import hub_names, tiny
from trustrace.models.hub import open_hub
from trustrace.models.sources import open_source
from trustrace.report.steering_folder import read_steering
from trustrace.runs.identity import Unit

LEADING_OUT = (
    *("../../x", "..", "a/../../b", "/etc/passwd", "a//b", "./a", "C:\\x", "C:x", "a\\b", "a\0b", "a\nb", "x" * 300),
    *("a\u202eb", "a\u2028b", "\u200bmain", "\ud800", ""),
)
EVIL = "../../../../evil"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, Path]], FakeHub]]:
    from contextlib import ExitStack

    with ExitStack() as servers:

        def serve(revisions: dict[str, Path]) -> FakeHub:
            served = servers.enter_context(serving({"owner/name": revisions}))
            fake_hub.visit(served, cache=tmp_path / "a" / "b" / "cache", monkeypatch=monkeypatch)
            return served

        yield serve


def written(tmp_path: Path) -> set[str]:
    """Every file outside the cache."""
    places = (path.relative_to(tmp_path) for path in tmp_path.rglob("*") if not path.is_dir())
    return {str(path) for path in places if path.parts[:3] != ("a", "b", "cache")}


def fetch_all() -> None:
    """List, pin and fetch, as a stream and as a single load do."""
    source = open_hub("owner/name", revision="main")
    source.files(source.pin(source.checkpoints()[0]))
    with source.path(source.checkpoints()[0]):
        pass


@pytest.mark.parametrize("name", LEADING_OUT)
def test_no_such_name_is_a_revision_or_a_folder(name: str) -> None:
    assert not hub_names.is_revision(name)
    assert not is_folder_name(name)


@pytest.mark.parametrize("name", ["main", "step3000", "ckpt_179", "stage1-step1000-tokens5B", "v1.0", "refs/pr/1"])
def test_names_of_known_suites_are_revisions(name: str) -> None:
    assert hub_names.is_revision(name)


@pytest.mark.parametrize("name", [name for name in LEADING_OUT if name and "\0" not in name])
def test_a_revision_that_is_asked_for_cannot_lead_out(
    hub: Callable[[dict[str, Path]], FakeHub], tmp_path: Path, name: str
) -> None:
    served = hub({"main": tiny.save(tmp_path / "model", "llama")})
    before = written(tmp_path)
    with pytest.raises(CheckpointError):
        open_source(f"owner/name@{name}")
    assert served.downloads() == []
    assert written(tmp_path) == before


def test_revisions_that_a_hub_lists_cannot_lead_out(hub: Callable[[dict[str, Path]], FakeHub], tmp_path: Path) -> None:
    model = tiny.save(tmp_path / "model", "llama")
    hub({"main": model, EVIL: model, "/tmp/evil": model, "step\u202e10": model})  # noqa: S108
    before = written(tmp_path)
    source = open_hub("owner/name")
    assert [one.revision for one in source.checkpoints()] == ["main"]
    assert any("3 revisions are left out" in notice for notice in source.notices)
    with source.path(source.checkpoints()[0]) as folder:
        assert (folder / "config.json").is_file()
    assert written(tmp_path) == before


@pytest.mark.parametrize("part", ["etag_of", "commit_of", "git_hash"])
def test_hashes_that_a_hub_gives_cannot_lead_out(
    hub: Callable[[dict[str, Path]], FakeHub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(fake_hub, part, lambda _: EVIL)
    hub({"main": tiny.save(tmp_path / "model", "llama")})
    before = written(tmp_path)
    with pytest.raises(CheckpointError):
        fetch_all()
    assert written(tmp_path) == before


def test_files_that_a_hub_lists_cannot_lead_out(
    hub: Callable[[dict[str, Path]], FakeHub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fake_hub._entry
    monkeypatch.setattr(fake_hub, "_entry", lambda file: real(file) | {"path": f"{EVIL}/{file.name}"})
    hub({"main": tiny.save(tmp_path / "model", "llama")})
    before = written(tmp_path)
    with pytest.raises(CheckpointError, match="could not be kept in the cache"):
        fetch_all()
    assert written(tmp_path) == before


@pytest.mark.parametrize("name", LEADING_OUT)
def test_the_folder_of_a_unit_stands_in_the_run(name: str) -> None:
    unit = Unit(step="trace", name=name, inputs={})
    assert is_folder_name(unit.folder)


def test_a_plan_cannot_send_the_report_elsewhere(tmp_path: Path) -> None:
    units = [{"unit": name, "name": "x"} for name in ("../../etc", "/etc", "search-1")]
    (tmp_path / "plan.json").write_text(json.dumps(units))
    assert read_steering(tmp_path).units == (("search-1", "x"),)
