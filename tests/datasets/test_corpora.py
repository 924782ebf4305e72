"""Corpora: the same documents in the same order, from a folder or the hub, and a held-out part that depends on nothing else."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from trustrace.core.errors import ConfigError, DataError
from trustrace.datasets.corpora import documents, is_held_out, is_local


def _folder(path, **texts):
    for name, text in texts.items():
        file = path / f"{name.replace('__', '/')}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_documents_come_in_the_order_of_their_paths(tmp_path):
    folder = _folder(tmp_path, b="two", a__z="one", a__b__c="zero", c="three")
    (tmp_path / "notes.md").write_text("not a document")
    assert list(documents(folder)) == list(documents(str(folder))) == ["zero", "one", "two", "three"]


def test_one_file_is_one_document(tmp_path):
    assert list(documents(_folder(tmp_path, only="text") / "only.txt")) == ["text"]


def test_line_ends_and_byte_order_marks_are_made_one_kind(tmp_path):
    folder = _folder(tmp_path, a=b"\xef\xbb\xbfone\r\ntwo", b="one\ntwo")
    assert len(set(documents(folder))) == 1


def test_documents_without_text_are_left_out_and_a_corpus_without_text_is_refused(tmp_path):
    assert list(documents(_folder(tmp_path / "some", a="", b="text", c=" \n"))) == ["text"]
    with pytest.raises(DataError, match=r"every \.txt file is empty"):
        list(documents(_folder(tmp_path / "none", a="", b="\n")))


def test_documents_are_read_one_at_a_time(tmp_path):
    stream = documents(_folder(tmp_path, a="text", b=b"caf\xe9"))
    assert next(stream) == "text"
    with pytest.raises(DataError, match=r"b\.txt: not UTF-8 at byte 3 \(0xe9\)"):
        next(stream)


def test_a_folder_that_is_absent_or_holds_no_text_is_told_at_once(tmp_path):
    with pytest.raises(DataError, match=r"no such folder; a corpus is"):
        documents(tmp_path / "absent")
    with pytest.raises(DataError, match=r"no \.txt file"):
        documents(tmp_path)


@pytest.mark.parametrize(
    ("source", "local"),
    [
        ("roneneldan/TinyStories", False),
        ("wikitext", False),
        ("./corpus", True),
        ("/corpus", True),
        ("a/b/c", True),
        ("book.txt", True),
    ],
)
def test_a_path_is_told_from_a_hub_name(source, local):
    assert is_local(source) is local


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
def test_about_the_asked_share_is_held_out(fraction):
    held = np.mean([is_held_out(f"document {i}", fraction=fraction) for i in range(20_000)])
    assert held == pytest.approx(fraction, abs=4 * np.sqrt(fraction * (1 - fraction) / 20_000))


def test_a_larger_fraction_holds_out_all_that_a_smaller_one_does_and_none_holds_out_nothing():
    texts = [f"document {i}" for i in range(2_000)]
    small, large = ({text for text in texts if is_held_out(text, fraction=fraction)} for fraction in (0.05, 0.2))
    assert small < large
    assert not any(is_held_out(text, fraction=0.0) for text in texts)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_that_leaves_nothing_is_refused(fraction):
    with pytest.raises(ConfigError, match="held-out fraction"):
        is_held_out("text", fraction=fraction)


def test_the_book_corpus_is_read_whole_and_alike_each_time(data_dir):
    folder = data_dir / "corpora" / "litbank"
    sizes = [len(text) for text in documents(folder)]
    assert len(sizes) == 100
    assert sizes == [len(text) for text in documents(folder)]


def _run(script, environment):
    """Run `script` in a process of its own, since the hub's client reads its environment once."""
    command = [sys.executable, "-c", f"from trustrace.datasets.corpora import documents\n{script}"]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.fixture
def hub(httpserver, tmp_path):
    """An environment in which the hub is a local server that holds one dataset, in the hub's own protocol."""
    commit, content = "a" * 40, b'{"text": "one"}\n{"text": " "}\n{"text": "two"}\n'
    files = [{"type": "file", "oid": "b" * 40, "size": len(content), "path": "train.jsonl"}]
    info = {
        "id": "owner/corpus",
        "sha": commit,
        "private": False,
        "tags": [],
        "siblings": [{"rfilename": "train.jsonl"}],
    }
    headers = {"X-Repo-Commit": commit}
    missing = headers | {"X-Error-Code": "EntryNotFound"}
    httpserver.expect_request(re.compile("/api/datasets/owner/corpus(/revision/[a-z]+)?$")).respond_with_json(info)
    httpserver.expect_request(re.compile("/api/datasets/owner/corpus/tree/.*")).respond_with_json(files)
    httpserver.expect_request(re.compile("/datasets/owner/corpus/resolve/[a-z]+/train.jsonl")).respond_with_data(
        content, headers=headers | {"ETag": '"b"'}
    )
    httpserver.expect_request(re.compile("/.*")).respond_with_data("{}", status=404, headers=missing)
    return {"HF_ENDPOINT": httpserver.url_for("/").rstrip("/"), "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}


def test_a_hub_dataset_is_streamed_in_order_and_told_by_its_columns(hub):
    done = _run("print(list(documents('owner/corpus'))); list(documents('owner/corpus', column='body'))", hub)
    assert done.stdout == "['one', 'two']\n", done.stderr
    assert "AlignmentError: owner/corpus: no text in column 'body'; the columns are ['text']" in done.stderr


def test_a_hub_dataset_that_cannot_be_reached_is_named():
    with pytest.raises(DataError, match="nobody/nothing: neither a folder here nor a hub dataset that can be read"):
        documents("nobody/nothing")
