from pathlib import Path

from trustrace.models.fetching import Fetching
from trustrace.models.shelf import HubFile, Shelf

WEIGHTS = HubFile(name="model.safetensors", size=1000, content="a" * 64)
AGAIN = HubFile(name="copy.safetensors", size=1000, content="a" * 64)
CONFIG = HubFile(name="config.json", size=10, content="b" * 40)


def fetching(cache: Path) -> Fetching:
    shelf = Shelf(cache=cache, repository="owner/name")
    shelf.blob("x").parent.mkdir(parents=True)
    return Fetching(checkpoint="owner--name@main", files=(WEIGHTS, AGAIN, CONFIG), shelf=shelf)


def test_a_content_under_two_names_counts_once(tmp_path: Path) -> None:
    assert fetching(tmp_path).size == 1010


def test_what_is_here_are_whole_files_and_the_largest_part_of_others(tmp_path: Path) -> None:
    download = fetching(tmp_path)
    assert download.fetched == 0
    blob = download.shelf.blob(CONFIG.content)
    blob.write_bytes(b"x" * 10)
    weights = download.shelf.blob(WEIGHTS.content)
    weights.with_name(f"{weights.name}.0a1b2c3d.incomplete").write_bytes(b"x" * 300)
    weights.with_name(f"{weights.name}.9f8e7d6c.incomplete").write_bytes(b"x" * 450)
    assert download.fetched == 460


def test_no_more_is_here_than_is_wanted(tmp_path: Path) -> None:
    download = fetching(tmp_path)
    download.shelf.blob(WEIGHTS.content).write_bytes(b"x" * 5000)
    assert download.fetched == 1000
