"""Source files: pinned, verified wherever they come from, downloaded whole or not at all."""

import hashlib
import json
import re
from dataclasses import replace

import pytest
from werkzeug import Response

from trustrace.core.errors import DataError, IntegrityError
from trustrace.datasets import sources
from trustrace.datasets.sources import SourceFile, read_bytes, read_text

CONTENT = b"statement,label\r\n" + b"a line of data,1\r\n" * 5_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHIPPED = [value for value in vars(sources).values() if isinstance(value, SourceFile)] + list(
    sources.STEREOSET.values()
)
PINNED = [file for file in SHIPPED if file.sha256]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, no data folder, and no patience."""
    monkeypatch.delenv("TRUSTRACE_DATA", raising=False)
    monkeypatch.setenv("TRUSTRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "ATTEMPTS", 1)
    return tmp_path / "cache"


@pytest.fixture
def file(httpserver):
    return SourceFile(
        local="paper/set.csv", url=httpserver.url_for("/set.csv"), sha256=SHA256, title="a set", licence="Apache-2.0"
    )


def _files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("file", PINNED, ids=lambda file: file.local)
def test_every_pinned_file_names_a_commit_and_a_hash(file):
    assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    assert re.fullmatch(r"[0-9a-f]{40}", file.commit)
    assert file.url.startswith("https://raw.githubusercontent.com/")
    assert f"/{file.commit}/" in file.url
    assert file.licence


def test_seventeen_files_are_pinned_each_once():
    assert len(PINNED) == len({file.local for file in PINNED}) == len({file.sha256 for file in PINNED}) == 17


@pytest.mark.parametrize("file", PINNED, ids=lambda file: file.local)
def test_the_local_copy_of_every_pinned_file_has_its_hash(file, data_dir):
    assert hashlib.sha256(read_bytes(file, data_dir=data_dir)).hexdigest() == file.sha256


def test_a_file_is_downloaded_once_and_then_read_from_the_cache(cache, file, httpserver):
    httpserver.expect_request("/set.csv").respond_with_data(CONTENT)
    assert read_bytes(file) == read_bytes(file) == CONTENT
    assert len(httpserver.log) == 1
    assert _files_in(cache) == ["paper/set.csv"]


def test_a_cached_file_that_was_damaged_is_downloaded_again(cache, file, httpserver):
    httpserver.expect_request("/set.csv").respond_with_data(CONTENT)
    read_bytes(file)
    (cache / file.local).write_bytes(CONTENT[:100])
    assert read_bytes(file) == CONTENT
    assert len(httpserver.log) == 2


def test_a_file_with_another_hash_is_refused_and_not_kept(cache, file, httpserver):
    httpserver.expect_request("/set.csv").respond_with_data(CONTENT.replace(b"data", b"dada", 1))
    with pytest.raises(IntegrityError, match=f"never hashed to {SHA256}.*put a good copy at .*paper/set.csv"):
        read_bytes(file)
    assert _files_in(cache) == []


def test_a_file_that_is_cut_short_is_refused_and_not_kept(cache, file, httpserver):
    cut = Response(iter([CONTENT[:1000]]), headers={"Content-Length": str(len(CONTENT)), "Connection": "close"})
    httpserver.expect_request("/set.csv").respond_with_response(cut)
    with pytest.raises(DataError, match="cannot be downloaded"):
        read_bytes(file)
    assert _files_in(cache) == []


def test_a_file_without_a_hash_that_is_cut_short_is_refused_and_not_recorded(cache, file, httpserver):
    cut = Response(iter([CONTENT[:1000]]), headers={"Content-Length": str(len(CONTENT)), "Connection": "close"})
    httpserver.expect_request("/set.csv").respond_with_response(cut)
    with pytest.raises(DataError, match="cannot be downloaded"):
        read_bytes(replace(file, sha256=""))
    assert _files_in(cache) == []


def test_a_failed_download_is_tried_again(cache, file, httpserver, monkeypatch):
    monkeypatch.setattr(sources, "ATTEMPTS", 2)
    httpserver.expect_ordered_request("/set.csv").respond_with_data("busy", status=503)
    httpserver.expect_ordered_request("/set.csv").respond_with_data(CONTENT)
    assert read_bytes(file) == CONTENT


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_refuses_is_named_with_the_way_out(cache, file, httpserver, status):
    httpserver.expect_request("/set.csv").respond_with_data("no", status=status)
    with pytest.raises(
        DataError, match=rf"cannot be downloaded .*{status}.*<data folder>/paper/set.csv and set TRUSTRACE_DATA"
    ):
        read_bytes(file)


def test_a_server_that_is_not_there_is_named(cache, file):
    with pytest.raises(DataError, match="cannot be downloaded"):
        read_bytes(replace(file, url="http://127.0.0.1:9/set.csv"))


def test_a_local_copy_is_used_before_any_download(cache, file, tmp_path, httpserver, monkeypatch):
    (tmp_path / "data" / "paper").mkdir(parents=True)
    (tmp_path / "data" / file.local).write_bytes(CONTENT)
    assert read_bytes(file, data_dir=tmp_path / "data") == CONTENT
    monkeypatch.setenv("TRUSTRACE_DATA", str(tmp_path / "data"))
    assert read_bytes(file) == CONTENT
    assert httpserver.log == []


def test_a_local_copy_with_another_hash_is_refused(cache, file, tmp_path):
    (tmp_path / "paper").mkdir()
    (tmp_path / file.local).write_bytes(CONTENT.replace(b"\r\n", b"\n"))
    with pytest.raises(IntegrityError, match=r"expected .*line ends"):
        read_bytes(file, data_dir=tmp_path)


def test_what_a_data_folder_lacks_is_downloaded(cache, file, tmp_path, httpserver):
    httpserver.expect_request("/set.csv").respond_with_data(CONTENT)
    assert read_bytes(file, data_dir=tmp_path) == CONTENT


def test_a_data_folder_that_does_not_exist_is_named(cache, file, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"the given data folder, .*absent, is not a folder"):
        read_bytes(file, data_dir=tmp_path / "absent")
    monkeypatch.setenv("TRUSTRACE_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"TRUSTRACE_DATA, .*absent, is not a folder"):
        read_bytes(file)


def test_a_file_without_a_hash_is_held_to_what_it_was_on_first_use(cache, file, httpserver):
    unknown = replace(file, sha256="")
    httpserver.expect_ordered_request("/set.csv").respond_with_data(CONTENT)
    httpserver.expect_ordered_request("/set.csv").respond_with_data(CONTENT + b"more,0\r\n")
    assert read_bytes(unknown) == CONTENT
    assert json.loads((cache / "first_use.json").read_text()) == {unknown.url: SHA256}
    assert read_bytes(unknown) == CONTENT
    assert len(httpserver.log) == 1
    (cache / unknown.local).unlink()
    with pytest.raises(IntegrityError, match=f"never hashed to {SHA256}"):
        read_bytes(unknown)


def test_an_unrecorded_leftover_in_the_cache_is_not_trusted(cache, file, httpserver):
    httpserver.expect_request("/set.csv").respond_with_data(CONTENT)
    (cache / "paper").mkdir(parents=True)
    (cache / file.local).write_bytes(b"half a file")
    assert read_bytes(replace(file, sha256="")) == CONTENT


def test_text_loses_its_byte_order_mark_and_nothing_else(cache, file, tmp_path):
    (tmp_path / "paper").mkdir()
    (tmp_path / file.local).write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert read_text(replace(file, sha256=""), data_dir=tmp_path) == "a\r\nb"


def test_text_that_is_not_utf8_is_told_by_offset(cache, file, tmp_path):
    (tmp_path / "paper").mkdir()
    (tmp_path / file.local).write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="not UTF-8 at byte 3"):
        read_text(replace(file, sha256=""), data_dir=tmp_path)


def test_a_changed_format_is_told_by_its_columns(file):
    with pytest.raises(DataError, match=r"has no columns \['label'\], only \['statement', 'truth'\]"):
        sources.parse_rows("statement,truth\na,1\n", file, columns=("statement", "label"))


def test_the_cache_is_in_the_users_cache_folder_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("TRUSTRACE_CACHE", raising=False)
    assert sources.cache_folder().name == "trustrace"
