"""The privacy builder against a server that speaks the protocol: killed in the middle, and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from werkzeug import Request, Response

from trustrace.datasets.files import read_statements
from trustrace.datasets.journal import read_journal
from trustrace.datasets.privacy_builder import build, plan
from trustrace.datasets.privacy_prompts import PrivacyBuild
from trustrace.evaluation.endpoint import Endpoint

CONFIG = {"model": "writer", "generations": 1, "statements_per_generation": 2, "judgements": 2}
WORKERS = 4
KEY = "sk-builder-secret-42"

BUILD = """
import json, sys
from pathlib import Path
from trustrace.datasets.privacy_builder import build
from trustrace.datasets.privacy_prompts import PrivacyBuild
from trustrace.evaluation.endpoint import Endpoint
url, workers, config, folder = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), Path(sys.argv[4])
endpoint = Endpoint(base_url=url, model=config["model"], workers=workers)
build(PrivacyBuild(**config), answer_all=endpoint.answer_all, journal=folder / "journal.jsonl", out=folder / "set.csv")
"""


def reply(text: str) -> Response:
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "writer",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
    return Response(json.dumps(body), content_type="application/json")


class Writer:
    """Writes two statements for every request, and judges them by the word that it hid in them; every seventh request meets a 429."""

    def __init__(self):
        self.prompts, self.refused, self.delay = Counter(), 0, 0.0

    def __call__(self, request: Request) -> Response:
        prompt = request.get_json()["messages"][0]["content"]
        if (self.prompts.total() + self.refused) % 7 == 6:
            self.refused += 1
            return Response("slow down", status=429, headers={"Retry-After": "0.01"})
        time.sleep(self.delay)
        self.prompts[prompt] += 1
        statement = prompt.partition("Statement: ")[2].partition("\n")[0]
        if statement:
            return reply("VIOLATION" if "secretly" in statement else "ACCEPTABLE")
        how = "secretly" if "describes a violation" in prompt else "openly"
        about = prompt.partition(", ")[2].partition(" (")[0]
        return reply(f"- Ann {how} does {about} here.\n- Bob {how} does {about} there.")


@pytest.fixture
def writer(httpserver, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    writer = Writer()
    httpserver.expect_request("/v1/chat/completions").respond_with_handler(writer)
    return writer


def start(httpserver, folder) -> subprocess.Popen:
    arguments = [httpserver.url_for("/v1"), str(WORKERS), json.dumps(CONFIG), str(folder)]
    return subprocess.Popen([sys.executable, "-c", BUILD, *arguments], env=os.environ.copy())


def wait_for_lines(journal, n: int) -> None:
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < n:
        if time.monotonic() > deadline:
            pytest.fail(f"no {n} answers in a minute")
        time.sleep(0.01)


@pytest.mark.parametrize("lines", [5, 60])
def test_kill_and_start_again_loses_only_what_was_in_flight(writer, httpserver, tmp_path, lines):
    journal = tmp_path / "journal.jsonl"
    writer.delay = 0.02
    process = start(httpserver, tmp_path)
    wait_for_lines(journal, lines)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(read_journal(journal))
    time.sleep(0.2)
    asked_before = writer.prompts.total()
    assert asked_before - kept <= WORKERS
    planned = plan(PrivacyBuild(**CONFIG), journal=journal)
    writer.delay = 0.0
    endpoint = Endpoint(base_url=httpserver.url_for("/v1"), model="writer", workers=WORKERS)
    report = build(PrivacyBuild(**CONFIG), answer_all=endpoint.answer_all, journal=journal, out=tmp_path / "set.csv")
    assert writer.prompts.total() - asked_before == planned.generations + planned.judgements == 32 + 64 * 2 - kept
    assert (len(report.statements), report.prompt_tokens) == (64, (32 + 64 * 2) * 100)
    assert len(read_statements(tmp_path / "set.csv")) == 64
    assert writer.refused > 0


def test_the_key_is_in_nothing_that_a_build_writes(writer, httpserver, tmp_path):
    endpoint = Endpoint(base_url=httpserver.url_for("/v1"), model="writer", workers=WORKERS)
    report = build(
        PrivacyBuild(**CONFIG), answer_all=endpoint.answer_all, journal=tmp_path / "j.jsonl", out=tmp_path / "set.csv"
    )
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert KEY.encode() not in written
    assert KEY not in repr(report) + repr(endpoint)


def test_finished_means_no_request_at_all(writer, httpserver, tmp_path):
    endpoint = Endpoint(base_url=httpserver.url_for("/v1"), model="writer", workers=WORKERS)
    for _ in range(2):
        asked = writer.prompts.total()
        build(
            PrivacyBuild(**CONFIG),
            answer_all=endpoint.answer_all,
            journal=tmp_path / "j.jsonl",
            out=tmp_path / "set.csv",
        )
    assert writer.prompts.total() == asked
