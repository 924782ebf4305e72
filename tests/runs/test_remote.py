"""A run that is kept at a URL as well; the URL's file system is a real one of fsspec's: files, memory, or a server that speaks S3."""

import contextlib
import json
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.report.tables import Shape, rows, write_run
from tests.runs.test_ledger import STUDY, row, unit
from trustrace.cli.app import app
from trustrace.core.errors import MissingExtraError, RunError
from trustrace.runs.ledger import Ledger
from trustrace.runs.remote import Mirror, at_hand, glimpsed, placed
from trustrace.studies.status import read_status


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A server on this machine that speaks S3, and a bucket of it."""
    server_of = pytest.importorskip(
        "moto.server", reason="a local S3 needs moto, flask, flask-cors: pip install 'trustrace[dev]'"
    )
    pytest.importorskip("s3fs", reason="S3 needs s3fs: pip install 'trustrace[s3]'")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "planted-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        bucket = f"s3://bucket-{uuid.uuid4().hex[:8]}"
        fsspec.core.url_to_fs(bucket)[0].mkdir(bucket)
        yield bucket
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        server.stop()


@pytest.fixture(params=["file", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    match request.param:
        case "file":
            yield f"file://{tmp_path}/there"
        case "memory":
            yield f"memory://{uuid.uuid4().hex}/run"
        case _:
            yield f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}/run"


def there(url: str) -> dict[str, bytes]:
    """All files at `url`."""
    system, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return {path.removeprefix(root).strip("/"): system.cat_file(path) for path in system.find(root)}


def here(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def opened(folder: Path, url: str, **options: Any) -> contextlib.AbstractContextManager[Ledger]:
    return Ledger.open(folder, study=STUDY, mirror=Mirror(url), **options)


def test_the_url_holds_what_the_folder_holds(tmp_path: Path, url: str) -> None:
    with opened(tmp_path / "here", url) as ledger:
        ledger.fail(unit(1), ValueError("no luck"))
        assert f"failures/{unit(1).folder}.json" in there(url)
        for number in (1, 2):
            ledger.finish(unit(number), [row(number / 10)], seconds=1.0, files={"samples.json": b"[]"})
            assert here(tmp_path / "here") == there(url)
        ledger.collect([unit(1), unit(2)])
        ledger.write("manifest.json", {"rows": 2})
    assert here(tmp_path / "here") == there(url)
    assert {"study.json", "manifest.json", "measurements.parquet"} <= there(url).keys()


def test_another_machine_goes_on_where_the_first_one_stopped(tmp_path: Path, url: str) -> None:
    with opened(tmp_path / "first", url) as ledger:
        ledger.finish(unit(1), [row(0.1)], seconds=1.0)
    with opened(tmp_path / "second", url) as ledger:
        assert ledger.count_finished([unit(1), unit(2)]) == 1
        ledger.finish(unit(2), [row(0.2)], seconds=1.0)
        with ledger.concluding():
            ledger.collect([unit(1), unit(2)])
    assert pq.read_table(tmp_path / "second" / "measurements.parquet")["value"].to_pylist() == [0.1, 0.2]
    assert here(tmp_path / "second") == there(url)


def test_shards_on_two_machines_meet_at_the_url(tmp_path: Path, url: str) -> None:
    with opened(tmp_path / "a", url, share="1-of-2") as one, opened(tmp_path / "b", url, share="2-of-2") as other:
        one.finish(unit(1), [row(0.1)], seconds=1.0)
        other.fail(unit(2), ValueError("no luck"))
        assert not one.has_news()
        assert other.has_news()
        with one.concluding():
            assert [failure["message"] for failure in one.failures([unit(2)])] == ["no luck"]
        other.finish(unit(2), [row(0.2)], seconds=1.0)
        assert one.has_news()
        with one.concluding():
            assert one.collect([unit(1), unit(2)]) == 2
        assert not one.has_news()
    assert not [name for name in there(url) if name.startswith("failures")]


def test_processes_of_one_machine_that_bring_the_same_units_do_not_hinder_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, number = (tmp_path / "kept").as_uri(), 4
    with opened(tmp_path / "elsewhere", url) as ledger:
        for one in range(number):
            ledger.finish(unit(one), [row(one / 10)], seconds=1.0)
    # All of them have looked what is absent, and have it all fetched, before the first one publishes it.
    together = threading.Barrier(number)
    usual = Path.rename

    def rename(path: Path, target: Path) -> Path:
        together.wait(5)
        return usual(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    mirror, folder = Mirror(url), tmp_path / "here"
    with ThreadPoolExecutor(number) as pool:
        ways = [pool.submit(mirror.bring, folder, owner=f"{one}-of-{number}") for one in range(number)]
        assert [len(one.result()) for one in ways] == [number] * number
    assert here(folder).items() <= there(url).items()
    assert len(here(folder)) == 2 * number


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of runs in memory that are fetched, as they are."""
    names: list[str] = []
    system = fsspec.filesystem("memory")
    usual = type(system).get_file

    def get_file(self: Any, there: str, here: str, **options: Any) -> None:
        names.append(there.partition("/run/")[2])
        usual(self, there, here, **options)

    monkeypatch.setattr(type(system), "get_file", get_file)
    return names


def test_of_what_is_finished_elsewhere_a_worker_has_the_names_and_fetches_what_it_reads(
    tmp_path: Path, fetched: list[str]
) -> None:
    url, units = f"memory://{uuid.uuid4().hex}/run", [unit(number) for number in range(3)]
    with opened(tmp_path / "elsewhere", url) as ledger:
        ledger.write("plan.json", [{"unit": one.folder, "name": one.name} for one in units])
        for number, one in enumerate(units):
            ledger.finish(one, [row(number / 10)], seconds=1.0, files={"inputs.bin": bytes([number])})
    with opened(tmp_path / "here", url) as ledger:
        ledger.write("plan.json", [{"unit": one.folder, "name": one.name} for one in units])
        ledger.look_again()
        assert ledger.count_finished(units) == 3
        assert all(map(ledger.is_finished, units))
        assert not ledger.has_news()
        assert read_status(tmp_path / "here").finished == 3
        assert fetched == []
        assert ledger.file_of(units[1], "inputs.bin").read_bytes() == b"\1"
        assert ledger.rows_of(units[1])["value"].to_pylist() == [0.1]
        assert ledger.unit_in(units[1].folder) == units[1]
        own = [f"units/{units[1].folder}/{name}" for name in ("inputs.bin", "measurements.parquet", "record.json")]
        assert fetched == own
        with ledger.concluding():
            assert ledger.collect(units) == 3
        assert len(fetched) == len(set(fetched)) == 9
    assert here(tmp_path / "here") == there(url)


def test_a_unit_that_vanished_at_the_url_is_not_finished(tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}/run"
    system, root = fsspec.core.url_to_fs(url)
    with opened(tmp_path / "elsewhere", url) as ledger:
        for number in (1, 2):
            ledger.finish(unit(number), [row(0.1)], seconds=1.0)
    with opened(tmp_path / "here", url) as ledger:
        system.rm(f"{root}/units/{unit(1).folder}", recursive=True)
        with pytest.raises(RunError, match=r"was finished and is gone; the same command computes it again"):
            ledger.rows_of(unit(1))
        assert not ledger.is_finished(unit(1))
        assert ledger.is_finished(unit(2))
        system.rm(f"{root}/units/{unit(2).folder}", recursive=True)
        ledger.look_again()
        assert not ledger.is_finished(unit(2))
        ledger.finish(unit(2), [row(0.2)], seconds=1.0)
        assert ledger.rows_of(unit(2))["value"].to_pylist() == [0.2]


def test_a_failure_that_goes_while_it_is_fetched_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://{uuid.uuid4().hex}/run"
    with opened(tmp_path / "a", url) as first, opened(tmp_path / "b", url) as second:
        first.fail(unit(1), ValueError("no luck"))
        system = fsspec.filesystem("memory")
        usual = type(system).get_file

        def get_file(self: Any, path: str, here: str, **options: Any) -> None:
            if "/failures/" in path:
                self.rm_file(path)
            usual(self, path, here, **options)

        monkeypatch.setattr(type(system), "get_file", get_file)
        second.look_again()
        assert second.failures([unit(1)]) == []


def test_a_failure_that_was_mended_on_another_machine_is_none_any_more(cache: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}/run"
    with opened(cache / "a", url) as first, opened(cache / "b", url) as second:
        first.write("plan.json", [{"unit": unit(1).folder, "name": unit(1).name}])
        first.fail(unit(1), ValueError("no luck"))
        second.finish(unit(1), [row(0.1)], seconds=1.0)
        # The other one had not heard of the failure, and leaves it at the URL.
        assert f"failures/{unit(1).folder}.json" in there(url)
        assert read_status(glimpsed(url)).failures == ()
        assert first.failures([unit(1)]) != []
        first.look_again()
        assert first.failures([unit(1)]) == []
        assert not list((cache / "a" / "failures").iterdir())
    with opened(cache / "a", url) as first:
        assert first.failures([unit(1)]) == []


def test_a_unit_without_its_record_is_not_there_and_is_sent_whole_by_the_next_start(tmp_path: Path, url: str) -> None:
    with opened(tmp_path / "here", url) as ledger:
        ledger.finish(unit(1), [row(0.1)], seconds=1.0)
    # The first machine was killed before the record went out.
    system, root = fsspec.core.url_to_fs(url)
    system.rm_file(f"{root}/units/{unit(1).folder}/record.json")
    with opened(tmp_path / "elsewhere", url) as ledger:
        assert not ledger.is_finished(unit(1))
    with opened(tmp_path / "here", url) as ledger:
        assert ledger.is_finished(unit(1))
    assert f"units/{unit(1).folder}/record.json" in there(url)


def test_the_record_of_a_unit_goes_out_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, sent = f"memory://{uuid.uuid4().hex}/run", []
    system = fsspec.filesystem("memory")
    usual = type(system).put_file

    def put_file(self: Any, here: str, there: str, **options: Any) -> None:
        sent.append(there.rpartition("/")[2])
        usual(self, here, there, **options)

    monkeypatch.setattr(type(system), "put_file", put_file)
    with opened(tmp_path, url) as ledger:
        ledger.finish(unit(1), [row(0.1)], seconds=1.0, files={"zzz.json": b"[]"})
    assert sent == ["study.json", "measurements.parquet", "zzz.json", "record.json"]


def test_a_url_of_another_study_or_with_other_files_is_refused_and_left_as_it_was(tmp_path: Path, url: str) -> None:
    with opened(tmp_path / "here", url):
        pass
    before = there(url)
    with (
        pytest.raises(RunError, match="belongs to another study"),
        Ledger.open(tmp_path / "other", study=STUDY | {"seed": 1}, mirror=Mirror(url)),
    ):
        pass
    assert there(url) == before
    system, root = fsspec.core.url_to_fs(url)
    system.makedirs(f"{root}/thesis", exist_ok=True)
    system.pipe_file(f"{root}/thesis/thesis.tex", b"years of work")
    with (
        pytest.raises(RunError, match=r"is not a run and holds other files \(thesis.tex\)"),
        opened(tmp_path / "x", f"{url}/thesis"),
    ):
        pass


def test_names_at_the_url_cannot_leave_the_folder(tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}/run"
    with opened(tmp_path / "a", url):
        pass
    system, root = fsspec.core.url_to_fs(url)
    for name in (
        "units/../record.json",
        "units/.hidden/record.json",
        "failures/.x.json",
        "units/ok/record.json",
        "units/ok/.lock",
    ):
        system.store[f"{root}/{name}"] = fsspec.implementations.memory.MemoryFile(system, name, b"{}")
    with opened(tmp_path / "b", url) as ledger, ledger.concluding():
        pass
    assert sorted(path for path in here(tmp_path / "b") if path != "study.json") == ["units/ok/record.json"]


def test_a_place_that_cannot_be_reached_is_one_clear_error_without_the_password(tmp_path: Path) -> None:
    (tmp_path / "wall").write_text("a file where a folder is needed")
    with (
        pytest.raises(RunError, match=r"could not be read: .*Not a directory"),
        opened(tmp_path / "run", f"file://{tmp_path}/wall/run"),
    ):
        pass
    assert Mirror("s3://key:secret@bucket/run").name == "s3://bucket/run"
    assert "secret" not in str(Mirror("s3://key:secret@bucket/run").folder_in(tmp_path))


def test_an_unknown_scheme_and_a_missing_package_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="expected a folder, or a URL"), opened(tmp_path / "a", "nowhere://bucket/run"):
        pass
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(RunError, match="gcsfs"), opened(tmp_path / "a", "gs://bucket/run"):
        pass
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(MissingExtraError, match=r"trustrace\[s3\]"), opened(tmp_path / "b", "s3://bucket/run"):
        pass


def test_a_folder_is_a_folder_and_a_url_always_has_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert placed("runs/one") == (Path("runs/one"), None)
    folder, mirror = placed("s3://bucket/one")
    assert mirror is not None
    assert mirror.name == "s3://bucket/one"
    assert folder == placed("s3://bucket/one/")[0]
    assert folder != placed("s3://bucket/two")[0]
    assert folder.is_relative_to(tmp_path)
    assert json.dumps(folder.name).isascii()


def known_as(url: str, folder: Path) -> str:
    """Make all of `folder` lie at `url`, as it would after a trace."""
    system, root = fsspec.core.url_to_fs(url)
    for name, content in here(folder).items():
        system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{root}/{name}", content)
    return url


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.usefixtures("cache")
def test_the_status_of_a_url_is_that_of_the_run_and_takes_no_more_than_records(tmp_path: Path, url: str) -> None:
    planned = [{"unit": unit(number).folder, "name": unit(number).name} for number in (1, 2, 3)]
    with opened(tmp_path / "here", url) as ledger:
        ledger.write("plan.json", planned)
        ledger.finish(unit(1), [row(0.1)], seconds=60.0)
        ledger.fail(unit(2), ValueError("no luck"))
        assert read_status(glimpsed(url)) == read_status(tmp_path / "here")
        ledger.finish(unit(2), [row(0.2)], seconds=30.0)
        state = read_status(glimpsed(url))
    assert (state.finished, state.total, state.failures, state.seconds_left) == (2, 3, (), 45.0)
    assert state == read_status(tmp_path / "here")
    assert {path.name for path in glimpsed(url).glob("units/*/*")} == {"record.json"}
    # What was looked at is no run: a trace to that URL would otherwise take a unit without rows for finished.
    assert not placed(url)[0].exists()


def test_records_that_were_seen_before_are_not_fetched_again(cache: Path, fetched: list[str]) -> None:
    url = f"memory://{uuid.uuid4().hex}/run"
    with opened(cache / "here", url) as ledger:
        ledger.write("plan.json", [{"unit": unit(number).folder, "name": unit(number).name} for number in (1, 2)])
        ledger.finish(unit(1), [row(0.1)], seconds=1.0)
        glimpsed(url)
        ledger.finish(unit(2), [row(0.2)], seconds=1.0)
        fetched.clear()
        glimpsed(url)
    assert fetched == ["plan.json", "study.json", f"units/{unit(2).folder}/record.json"]


def test_of_a_run_that_was_started_anew_at_its_url_nothing_old_is_told_and_no_table_is_fetched(cache: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}/run"
    planned = [{"unit": unit(number).folder, "name": unit(number).name} for number in (1, 2, 3)]
    with opened(cache / "first", url) as ledger:
        ledger.write("plan.json", planned)
        ledger.write("quarantine.json", [{"unit": "m@step1", "error": "IntegrityError", "message": "of another step"}])
        ledger.write("manifest.json", {})
        for number in (1, 2, 3):
            ledger.finish(unit(number), [row(0.1)], seconds=1.0)
        ledger.collect([unit(number) for number in (1, 2, 3)])
    seen = glimpsed(url)
    assert read_status(seen).finished == 3
    assert {path.name for path in seen.iterdir()} == {"study.json", "plan.json", "quarantine.json", "units"}
    system, root = fsspec.core.url_to_fs(url)
    system.rm(root, recursive=True)
    with opened(cache / "second", url) as ledger:
        ledger.write("plan.json", planned)
        ledger.finish(unit(1), [row(0.1)], seconds=1.0)
    state = read_status(glimpsed(url))
    assert (state.finished, state.total, state.failures) == (1, 3, ())
    assert [path.name for path in (seen / "units").iterdir()] == [unit(1).folder]
    system.rm(f"{root}/plan.json")
    with pytest.raises(RunError, match=r"plan\.json is missing"):
        read_status(glimpsed(url))


def test_the_commands_read_a_url(tmp_path: Path, cache: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trustrace.report.page.write_figures", lambda trace, folder: ())
    traced = write_run(tmp_path / "traced", rows(Shape(datasets=("reliability/defined",), n_checkpoints=3)))
    (traced / "plan.json").write_text(json.dumps([{"unit": unit(1).folder, "name": unit(1).name}]))
    url = known_as(f"{s3}/{uuid.uuid4().hex}/run", traced)
    answer = CliRunner().invoke(app, ["status", url])
    assert "0 of 1 units finished" in answer.output, answer.output
    answer = CliRunner().invoke(app, ["report", url])
    page = placed(url)[0] / "report" / "index.html"
    assert answer.output.replace("\n", "").endswith(f"report: {page}"), answer.output
    assert page.is_relative_to(cache)
    answer = CliRunner().invoke(app, ["report", url, "--out", str(tmp_path / "mine")])
    assert (tmp_path / "mine" / "index.html").read_bytes() == page.read_bytes(), answer.output
    # The trace itself may go on in that folder.
    with Ledger.open(placed(url)[0], study=json.loads((traced / "study.json").read_text()), mirror=Mirror(url)):
        pass


@pytest.mark.usefixtures("cache")
def test_a_report_fetches_whole_units_and_only_those_that_hold_more_than_rows(tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}/run"
    with opened(tmp_path / "here", url) as ledger:
        ledger.finish(unit(1), [row(0.1)], seconds=1.0)
        ledger.finish(unit(2), [row(0.2)], seconds=1.0, files={"trajectories.json": b"{}"})
        ledger.collect([unit(1), unit(2)])
        # A report that was written before the run went on is no longer true.
        folder = at_hand(url)
        ledger.write("manifest.json", {"rows": 2})
    assert at_hand(url) == folder == placed(url)[0]
    kept = here(tmp_path / "here")
    assert here(folder) == {name: kept[name] for name in kept if unit(1).folder not in name}


@pytest.mark.usefixtures("cache")
def test_a_place_without_a_run_or_with_another_one_than_here_is_one_clear_error(url: str) -> None:
    for look in (glimpsed, at_hand):
        with pytest.raises(RunError, match=r"no run here \(study\.json is missing\)"):
            look(url)
        assert not placed(url)[0].exists()
    system, root = fsspec.core.url_to_fs(url)
    for seed in (0, 1):
        system.makedirs(root, exist_ok=True)
        system.pipe_file(f"{root}/study.json", json.dumps(STUDY | {"seed": seed}).encode())
        if seed == 0:
            at_hand(url)
    with pytest.raises(RunError, match="holds another study than"):
        at_hand(url)


def test_a_folder_is_looked_at_where_it_is(tmp_path: Path) -> None:
    assert glimpsed(str(tmp_path)) == at_hand(str(tmp_path)) == tmp_path
