"""Links in a checkpoint's folder that lead elsewhere: what they lead to is read as weights or refused, and never removed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models import fake_hub
from tests.models.fake_hub import FakeHub, serving
from trustrace.core.errors import CheckpointError, TrustraceError
from trustrace.models import tiny
from trustrace.models.hub import open_hub
from trustrace.models.loading import load
from trustrace.models.shelf import Shelf
from trustrace.models.sources import open_source
from trustrace.models.stream import CheckpointStream


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    revisions = {name: tiny.save(tmp_path / name, "llama", seed=seed) for seed, name in enumerate(["main", "step1"])}
    with serving({"owner/name": revisions}) as served:
        fake_hub.visit(served, cache=tmp_path / "cache", monkeypatch=monkeypatch)
        yield served


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file of somebody else's, with something in it that no message may repeat."""
    file = tmp_path / "elsewhere" / "passwd"
    file.parent.mkdir()
    file.write_text("root:x:0:0:secret-of-somebody:/root:/bin/sh\n" * 20)
    return file


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "config.json", "tokenizer.json"])
def test_a_link_to_a_file_elsewhere_is_a_damaged_file(name: str, outside: Path, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "checkpoint", "llama")
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    before = outside.read_bytes()
    with pytest.raises(TrustraceError) as caught:
        load(source := open_source(str(folder)), source.checkpoints()[0])
    assert "secret-of-somebody" not in str(caught.value)
    assert outside.read_bytes() == before


def test_steps_that_are_links_are_steps(tmp_path: Path) -> None:
    """As people do it who keep some checkpoints on another disk."""
    elsewhere = tiny.save_series(tmp_path / "disk", "llama", steps=(0, 1))
    series = tmp_path / "series"
    series.mkdir()
    for folder in (elsewhere / "checkpoints").iterdir():
        (series / folder.name).symlink_to(folder)
    source = open_source(str(series))
    with CheckpointStream(source, source.checkpoints()) as stream:
        assert [load(one, one.checkpoint).checkpoint.step for one in stream] == [0, 1]
    assert len(list((elsewhere / "checkpoints").rglob("model.safetensors"))) == 2


def test_a_link_of_no_end_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "step_1").symlink_to(tmp_path / "series" / "step_1")
    with pytest.raises(CheckpointError, match="no checkpoints"):
        open_source(str(tmp_path / "series"))


@pytest.mark.parametrize("place", ["content", "file of a revision", "revision"])
@pytest.mark.usefixtures("hub")
def test_what_links_in_the_cache_lead_to_stays_when_a_stream_lets_go(place: str, outside: Path, tmp_path: Path) -> None:
    """Links that somebody put into the cache before the stream came, or while a checkpoint was in use."""
    source = open_hub("owner/name", revision="main")
    shelf = Shelf.of("owner/name")
    before = outside.read_bytes()
    with CheckpointStream(source, source.checkpoints()) as stream:
        for arrival in stream:
            with arrival.path(arrival.checkpoint) as folder:
                weights = folder / "model.safetensors"
                target = (
                    weights.resolve() if place == "content" else weights if place == "file of a revision" else folder
                )
            assert target.is_relative_to(shelf.cache)
            shutil.rmtree(target) if place == "revision" else target.unlink()
            target.symlink_to(outside.parent if place == "revision" else outside)
    assert outside.read_bytes() == before
    assert sorted(path.name for path in outside.parent.iterdir()) == ["passwd"]
