"""The account of a stream: room is taken before, given back after, and shared contents go with the last who needs them."""

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustrace.core.errors import CheckpointError, ConfigError
from trustrace.models.holdings import SPARE, Holdings
from trustrace.models.shelf import BLOCK, HubFile, Shelf


def file(content: str, *, size: int = BLOCK, name: str = "") -> HubFile:
    return HubFile(name=name or content, size=size, content=content)


def put(shelf: Shelf, commit: str, *files: HubFile) -> None:
    """What the hub's client would leave there."""
    for one in files:
        blob, link = shelf.blob(one.content), shelf.link(commit, one.name)
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(b"x" * one.size)
        link.symlink_to(blob)


@contextmanager
def opened(shelf: Shelf, *, budget: int | None = None) -> Iterator[Holdings]:
    with closing(Holdings(shelf, budget=budget, keep=False)) as holdings:
        yield holdings


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(cache=tmp_path, repository="somebody/model")


def test_a_content_that_another_claim_waits_for_stays_before_it_has_a_link(shelf: Shelf) -> None:
    with opened(shelf) as holdings:
        assert holdings.claim("first", [file("shared"), file("own")], name="first")
        put(shelf, "first", file("shared"), file("own"))
        assert holdings.claim("second", [file("shared"), file("other")], name="second")
        holdings.release("first")
        assert shelf.blob("shared").exists()
        assert not shelf.blob("own").exists()
        put(shelf, "second", file("other"))
        holdings.release("second")
        assert not shelf.blob("shared").exists()
        assert holdings.held == 0


def test_a_shared_content_takes_room_once(shelf: Shelf) -> None:
    with opened(shelf, budget=6 * BLOCK) as holdings:
        assert holdings.claim("first", [file("shared"), file("own")], name="first")
        assert holdings.claim("second", [file("shared"), file("other")], name="second")
        assert not holdings.claim("third", [file("shared"), file("more")], name="third")
        holdings.release("first")
        assert holdings.claim("third", [file("shared"), file("more")], name="third")


def test_a_content_of_another_revision_stays_when_its_claim_ends(shelf: Shelf) -> None:
    with opened(shelf) as holdings:
        assert holdings.claim("first", [file("shared")], name="first")
        put(shelf, "first", file("shared"))
        shelf.link("somebody", "").mkdir(parents=True)
        shelf.link("somebody", "file").symlink_to(shelf.blob("shared"))
        holdings.release("first")
        assert shelf.link("somebody", "file").read_bytes()
        assert not shelf.link("first", "shared").is_symlink()


def test_what_was_there_before_takes_no_room_and_stays(shelf: Shelf) -> None:
    put(shelf, "first", file("old", size=100 * BLOCK))
    with opened(shelf, budget=2 * BLOCK) as holdings:
        assert holdings.claim("first", [file("old", size=100 * BLOCK), file("new")], name="first")
        put(shelf, "first", file("new"))
        holdings.release("first")
        assert shelf.link("first", "old").is_file()
        assert not shelf.link("first", "new").exists()


def test_what_can_never_fit_is_refused_and_what_can_waits(shelf: Shelf) -> None:
    with opened(shelf, budget=4 * BLOCK) as holdings:
        with pytest.raises(ConfigError, match=r"m@first: 20.5 kB on the disk, more than the budget of 16.4 kB"):
            holdings.claim("first", [file("large", size=4 * BLOCK)], name="m@first")
        assert holdings.claim("second", [file("one")], name="m@second")
        assert not holdings.claim("third", [file("two", size=3 * BLOCK)], name="m@third")


@settings(deadline=None)
@given(
    checkpoints=st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True), max_size=12),
    data=st.data(),
)
def test_whatever_comes_and_goes_the_account_is_the_sum_of_the_claims(
    checkpoints: list[list[str]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shelf = Shelf(cache=tmp_path_factory.mktemp("cache"), repository="somebody/model")
    with opened(shelf, budget=12 * BLOCK) as holdings:
        open_claims: dict[str, set[str]] = {}
        for number, contents in enumerate(checkpoints):
            if holdings.claim(str(number), [file(one) for one in contents], name=str(number)):
                open_claims[str(number)] = set(contents)
            while open_claims and data.draw(st.booleans()):
                gone = data.draw(st.sampled_from(sorted(open_claims)))
                holdings.release(gone)
                del open_claims[gone]
            held = set().union(*open_claims.values())
            assert holdings.held == 2 * BLOCK * len(held) <= 12 * BLOCK


def test_streams_that_share_a_shelf_come_and_go_beside_each_other(shelf: Shelf) -> None:
    def stream(name: str) -> int:
        with opened(shelf, budget=4 * BLOCK) as holdings:
            for number in range(40):
                one = f"{name}-{number}"
                assert holdings.claim(one, [file(one)], name=one)
                put(shelf, one, file(one))
                holdings.release(one)
            return holdings.held

    with ThreadPoolExecutor(max_workers=6) as pool:
        assert set(pool.map(stream, "abcdef")) == {0}
    assert shelf.used() == frozenset()
    assert not list(shelf.root.glob("blobs/*"))


def test_a_journal_that_its_stream_just_removed_is_nobodys(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Holdings(shelf, budget=None, keep=False)
    listed = Path.glob

    def glob(folder: Path, pattern: str) -> Iterator[Path]:
        found = list(listed(folder, pattern))
        first.close()
        return iter(found)

    monkeypatch.setattr(Path, "glob", glob)
    with opened(shelf) as second:
        assert second.held == 0
    assert not list(listed(shelf.cache, ".locks/trustrace/*"))


def test_an_end_that_fails_leaves_the_claim_for_another_try(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(shelf) as holdings:
        assert holdings.claim("first", [file("own")], name="first")
        put(shelf, "first", file("own"))
        with monkeypatch.context() as patch:
            patch.setattr(Shelf, "remove", _refused)
            with pytest.raises(PermissionError):
                holdings.release("first")
        holdings.release("first")
        assert not shelf.blob("own").exists()
        assert holdings.held == 0


def test_what_several_streams_share_goes_with_the_last_of_them(shelf: Shelf) -> None:
    with opened(shelf) as first, opened(shelf) as second:
        assert first.claim("one", [file("shared"), file("own")], name="one")
        put(shelf, "one", file("shared"), file("own"))
        assert second.claim("two", [file("shared")], name="two")
        first.release("one")
        assert shelf.blob("shared").exists()
        assert not shelf.blob("own").exists()
        put(shelf, "two", file("shared"))
        second.release("two")
        assert not list(shelf.root.glob("blobs/*"))


def test_a_revision_that_another_stream_uses_keeps_its_files(shelf: Shelf) -> None:
    with opened(shelf) as first, opened(shelf) as second:
        assert first.claim("one", [file("weights")], name="one")
        put(shelf, "one", file("weights"))
        assert second.claim("one", [file("weights")], name="one")
        second.release("one")
        assert shelf.link("one", "weights").read_bytes()
        first.release("one")
    assert not list(shelf.root.glob("blobs/*"))
    assert not list(shelf.root.glob("snapshots/*"))


def test_what_a_killed_stream_left_stays_while_another_one_uses_it(shelf: Shelf) -> None:
    killed = Holdings(shelf, budget=None, keep=False)
    assert killed.claim("one", [file("weights")], name="one")
    put(shelf, "one", file("weights"))
    with opened(shelf) as other:
        assert other.claim("one", [file("weights")], name="one")
        killed.close()
        with opened(shelf) as again:
            assert again.claim("two", [file("more")], name="two")
            assert shelf.link("one", "weights").read_bytes()
            again.release("two")
        other.release("one")
    assert not list(shelf.root.glob("blobs/*"))
    assert not list(shelf.root.glob("snapshots/*"))


def test_a_cache_that_locks_no_files_is_refused_with_the_way_out(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("trustrace.models.holdings.fcntl.flock", flock)
    with pytest.raises(ConfigError, match=r"locks no files \(Function not implemented\).*set HF_HOME to a folder on a"):
        Holdings(shelf, budget=None, keep=True)
    assert not list(shelf.cache.glob(".locks/trustrace/*"))


def test_what_streams_of_another_machine_wrote_down_is_theirs(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "node-7.cluster")
        far = Holdings(shelf, budget=None, keep=False)
        assert far.claim("one", [file("weights")], name="one")
        put(shelf, "one", file("weights"))
        # Its lock holds there and not here.
        far.close()
    with opened(shelf) as near:
        assert near.held == 0
        assert near.claim("two", [file("weights"), file("own")], name="two")
        near.release("two")
        assert shelf.link("one", "weights").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "node-7.cluster")
        with opened(shelf) as again:
            assert again.held == file("weights").footprint


def test_a_repository_takes_over_nothing_of_another_one_whose_name_goes_on(shelf: Shelf) -> None:
    longer = Holdings(Shelf(cache=shelf.cache, repository="somebody/model.v2"), budget=None, keep=False)
    assert longer.claim("one", [file("weights")], name="one")
    longer.close()
    with opened(shelf) as shorter:
        assert shorter.held == 0


@pytest.mark.parametrize("keep", [True, False])
def test_streams_share_the_room_that_the_disk_has_and_one_waits_while_another_will_give_some_back(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, *, keep: bool
) -> None:
    free = SPARE + 10 * BLOCK
    monkeypatch.setattr("trustrace.models.holdings.shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    large = file("large", size=6 * BLOCK)
    other = Shelf(cache=shelf.cache, repository="somebody/other")
    with closing(Holdings(shelf, budget=None, keep=keep)) as first, opened(other) as second:
        assert first.claim("one", [large], name="one")
        # Nothing of the first one's seven blocks is fetched yet, and the disk looks empty.
        assert not second.claim("two", [file("own", size=3 * BLOCK)], name="two")
        assert second.claim("two", [file("own", size=2 * BLOCK)], name="two")
        second.release("two")
        put(shelf, "one", large)
        free -= large.footprint
        assert second.claim("two", [file("own", size=2 * BLOCK)], name="two")
        second.release("two")
        assert not second.claim("two", [file("own", size=3 * BLOCK)], name="two")
        first.release("one")
        with pytest.raises(CheckpointError, match="has no room for them"):
            second.claim("two", [file("own", size=3 * BLOCK)], name="two")


def test_what_a_dead_stream_was_to_fetch_takes_no_room(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=SPARE + 10 * BLOCK)
    monkeypatch.setattr("trustrace.models.holdings.shutil.disk_usage", lambda _: usage)
    dead = Holdings(Shelf(cache=shelf.cache, repository="somebody/other"), budget=None, keep=False)
    assert dead.claim("one", [file("large", size=6 * BLOCK)], name="one")
    dead.close()
    with opened(shelf) as alive:
        assert alive.claim("two", [file("own", size=9 * BLOCK)], name="two")


def _refused(*_: object, **__: object) -> None:
    raise PermissionError
