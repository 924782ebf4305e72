"""A judge behind a local server that misbehaves in every way we know."""

import json
import logging
import math
import time
import traceback

import numpy as np
import pytest
from werkzeug import Request, Response

from trustrace.core.errors import ConfigError, EndpointError
from trustrace.datasets.journal import read_journal
from trustrace.evaluation.endpoint import Endpoint
from trustrace.evaluation.judges.endpoint import EndpointJudge, read_log_probs, read_verdict
from trustrace.evaluation.judges.judge import Answered, Judge

KEY = "sk-planted-secret-987654321"
PAIRS = [Answered(f"Question {i}?", f"Answer {i}.") for i in range(6)]
PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)


@pytest.fixture
def judge(httpserver, tmp_path):
    def of(mode="chat", *, max_tokens_spent=None, journal=tmp_path / "journal.jsonl", aspect="truth", **changes):
        settings = {
            "base_url": httpserver.url_for("/v1"),
            "key_variable": "TEST_KEY",
            "max_retries": 2,
            "timeout": 5.0,
            "workers": 1,
        }
        endpoint = Endpoint(model="m", **(settings | changes))
        return EndpointJudge(
            endpoint=endpoint, aspect=aspect, mode=mode, journal=journal, max_tokens_spent=max_tokens_spent
        )

    return of


def reply(body: dict) -> Response:
    return Response(json.dumps(body), content_type="application/json")


def said(text: str | None, usage: bool = True) -> Response:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    counted = {"usage": {"prompt_tokens": 40, "completion_tokens": 1, "total_tokens": 41}} if usage else {}
    return reply({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], **counted})


def continued(log_probs: object) -> Response:
    choice = {"index": 0, "finish_reason": "length", "text": " yes", "logprobs": log_probs}
    return reply(
        {"id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": [choice], "usage": None}
    )


def listed(yes: float, no: float) -> dict:
    return {"tokens": [" yes"], "token_logprobs": [yes], "top_logprobs": [{" yes": yes, " no": no, "\n": -6.0}]}


def number_of(request: Request) -> int:
    body = request.get_json()
    text = body["prompt"] if "prompt" in body else body["messages"][0]["content"]
    return int(text.partition("Question ")[2].partition("?")[0])


def test_completions_are_asked_with_the_prompt_of_fine_tuned_judges_and_read_by_log_probabilities(judge, httpserver):
    sent = []

    def handle(request):
        sent.append(request.get_json())
        return continued(listed(-0.1 * (1 + number_of(request)), -2.0))

    httpserver.expect_request(PATHS["completions"], method="POST").respond_with_handler(handle)
    found = judge("completions", aspect="info")
    yes = np.exp(-0.1 * (1 + np.arange(6)))
    np.testing.assert_allclose(found.probabilities(PAIRS), yes / (yes + np.exp(-2.0)), rtol=1e-12)
    assert isinstance(found, Judge)
    assert sent[0]["prompt"] == "Q: Question 0?\nA: Answer 0.\nHelpful:"
    assert (sent[0]["max_tokens"], sent[0]["temperature"], sent[0]["logprobs"], sent[0]["model"]) == (1, 0.0, 5, "m")


def test_the_other_form_of_log_probabilities_is_read_too(judge, httpserver):
    tops = [{"token": " no", "logprob": -0.5}, {"token": "yes", "logprob": -1.5}]
    httpserver.expect_request(PATHS["completions"]).respond_with_handler(
        lambda request: continued({"content": [{"token": " no", "logprob": -0.5, "top_logprobs": tops}]})
    )
    expected = math.exp(-1.5) / (math.exp(-1.5) + math.exp(-0.5))
    assert judge("completions").probabilities(PAIRS[:1])[0] == pytest.approx(expected)


def test_chat_is_read_strictly_and_what_is_neither_yes_nor_no_is_nan(judge, httpserver):
    replies = [" Yes.", "no", "I cannot judge that.", "Yes and no", "", "**YES**"]
    httpserver.expect_request(PATHS["chat"]).respond_with_handler(lambda request: said(replies[number_of(request)]))
    np.testing.assert_array_equal(judge().probabilities(PAIRS), [1, 0, np.nan, np.nan, np.nan, 1])


@pytest.mark.parametrize("text", ["yes no", "yesterday", "No, wait, yes", "y", "true", "1"])
def test_what_only_looks_like_a_verdict_is_none(text):
    assert math.isnan(read_verdict(text))


def test_log_probabilities_without_yes_and_no_are_no_verdict():
    assert math.isnan(read_log_probs({" maybe": -0.1}))
    assert read_log_probs({" yes": -0.1}) == 1.0
    assert read_log_probs({" yes": -1.0, "Yes": -1.0, " no": -1.0}) == pytest.approx(2 / 3)


def test_a_next_word_that_is_neither_is_no_verdict_however_the_two_compare():
    assert math.isnan(read_log_probs({" The": -0.01, " no": -12.0}))
    assert math.isnan(read_log_probs({" yes": -12.0, " no": -13.0}))
    # A twentieth is the least: 0.02 + 0.03 counts, 0.02 + 0.029 does not.
    assert read_log_probs({" yes": math.log(0.02), " no": math.log(0.0301)}) == pytest.approx(0.02 / 0.0501)
    assert math.isnan(read_log_probs({" yes": math.log(0.02), " no": math.log(0.0299)}))


def test_what_the_journal_holds_is_not_asked_again_and_equal_pairs_once(judge, httpserver):
    asked = []

    def handle(request):
        asked.append(number_of(request))
        return said("yes")

    httpserver.expect_request(PATHS["chat"]).respond_with_handler(handle)
    judge().probabilities(PAIRS[:3])
    found = judge().probabilities([*PAIRS[:5], *PAIRS[:5]])
    assert sorted(asked) == [0, 1, 2, 3, 4]
    assert found.tolist() == [1.0] * 10
    # Another aspect, mode or model is another question.
    judge(aspect="info").probabilities(PAIRS[:1])
    assert asked[5:] == [0]


@pytest.mark.parametrize("counted", [True, False])
def test_the_limit_of_tokens_stops_asking_keeps_what_was_answered_and_can_be_raised(
    judge, httpserver, tmp_path, counted
):
    asked = []

    def handle(request):
        asked.append(number_of(request))
        return said("no", usage=counted)

    httpserver.expect_request(PATHS["chat"]).respond_with_handler(handle)
    with pytest.raises(
        EndpointError, match=r"has spent \d+ tokens of at most 100; 3 of 6 answers are kept|2 of 6 answers"
    ):
        judge(max_tokens_spent=100).probabilities(PAIRS)
    kept = len(read_journal(tmp_path / "journal.jsonl"))
    assert 0 < kept == len(asked) < 6
    with pytest.raises(EndpointError, match="raise max_tokens_spent"):
        judge(max_tokens_spent=100).probabilities(PAIRS)
    assert len(asked) == kept
    assert judge(max_tokens_spent=10**6).probabilities(PAIRS).tolist() == [0.0] * 6
    assert len(asked) == 6
    # All that is needed is there: nothing is sent, so nothing stops it.
    assert judge(max_tokens_spent=1).probabilities(PAIRS).tolist() == [0.0] * 6


def test_a_limit_below_one_is_refused(judge):
    with pytest.raises(ConfigError, match="max_tokens_spent"):
        judge(max_tokens_spent=0)


def test_a_failure_in_the_middle_keeps_what_was_answered(judge, httpserver, tmp_path):
    httpserver.expect_request(PATHS["chat"]).respond_with_handler(
        lambda request: (
            said("yes") if number_of(request) < 3 else Response("broken", status=500, headers={"Retry-After": "0.01"})
        )
    )
    with pytest.raises(EndpointError, match=r"the server failed \(500\)"):
        judge().probabilities(PAIRS)
    assert len(read_journal(tmp_path / "journal.jsonl")) == 3


@pytest.mark.parametrize("mode", ["chat", "completions"])
def test_429_is_waited_out(judge, httpserver, mode):
    answers = [Response("slow down", status=429, headers={"Retry-After": "0.02"})] * 2
    good = {"chat": lambda: said("yes"), "completions": lambda: continued(listed(-0.1, -3.0))}[mode]
    httpserver.expect_request(PATHS[mode]).respond_with_handler(lambda request: answers.pop() if answers else good())
    assert judge(mode).probabilities(PAIRS[:1])[0] > 0.5


@pytest.mark.parametrize("mode", ["chat", "completions"])
def test_slow_down_and_nonsense_are_errors_and_never_a_number(judge, httpserver, mode, tmp_path):
    httpserver.expect_request(PATHS[mode]).respond_with_handler(lambda request: time.sleep(0.4) or said("yes"))
    with pytest.raises(EndpointError, match="no answer within"):
        judge(mode, timeout=0.1, max_retries=0).probabilities(PAIRS[:1])
    httpserver.clear()
    httpserver.expect_request(PATHS[mode]).respond_with_data("{cut off", content_type="application/json")
    with pytest.raises(EndpointError, match="answered, but not with"):
        judge(mode, max_retries=0).probabilities(PAIRS[:1])
    with pytest.raises(EndpointError, match="no connection"):
        judge(mode, max_retries=0, base_url="http://127.0.0.1:9/v1").probabilities(PAIRS[:1])
    assert read_journal(tmp_path / "journal.jsonl") == {}


@pytest.mark.parametrize(
    "log_probs",
    [
        None,
        {},
        {"top_logprobs": None},
        {"top_logprobs": [None]},
        {"content": []},
        {"content": [{"top_logprobs": 3}]},
        "x",
    ],
)
def test_a_server_without_log_probabilities_is_told_apart(judge, httpserver, log_probs):
    httpserver.expect_request(PATHS["completions"]).respond_with_handler(lambda request: continued(log_probs))
    with pytest.raises(EndpointError, match=r"not with log-probabilities.*or ask it by chat"):
        judge("completions", max_retries=0).probabilities(PAIRS[:1])


def forms(log_probs: dict) -> list[dict]:
    """The same list in both forms that servers send."""
    rows = [{"token": token, "logprob": value} for token, value in log_probs.items()]
    return [{"top_logprobs": [log_probs]}, {"content": [{"top_logprobs": rows}]}]


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize(("yes", "no", "expected"), [(1e-7, -12.0, 1.0), (-12.0, 9e-4, 0.0), (0, -1.0, 0.7310585786)])
def test_a_word_whose_probability_a_server_rounds_above_1_keeps_it(judge, httpserver, form, yes, no, expected):
    httpserver.expect_request(PATHS["completions"]).respond_with_handler(
        lambda request: continued(forms({" yes": yes, " no": no})[form])
    )
    assert judge("completions").probabilities(PAIRS[:1])[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize("value", [0.01, 97.0, math.nan, math.inf, None, "likely", True])
def test_a_list_that_holds_what_is_no_log_probability_gives_no_word_all_of_it(judge, httpserver, form, value):
    httpserver.expect_request(PATHS["completions"]).respond_with_handler(
        lambda request: continued(forms({" yes": value, " no": -12.0})[form])
    )
    with pytest.raises(EndpointError, match="not with log-probabilities"):
        judge("completions", max_retries=0).probabilities(PAIRS[:1])


@pytest.mark.parametrize("mode", ["chat", "completions"])
def test_the_key_is_in_no_message_log_or_file_even_if_the_server_repeats_it(judge, httpserver, mode, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    good = {
        "chat": lambda: said(f"your key is {KEY}"),
        "completions": lambda: continued({"top_logprobs": [{KEY: -0.1, " yes": -3.0}]}),
    }[mode]
    httpserver.expect_request(PATHS[mode]).respond_with_handler(
        lambda request: good() if number_of(request) == 0 else Response(f"bad key {KEY}", status=401)
    )
    found = judge(mode)
    found.probabilities(PAIRS[:1])
    with pytest.raises(EndpointError) as caught:
        found.probabilities(PAIRS)
    shown = "".join(traceback.format_exception(caught.value)) + repr(found) + found.name + caplog.text
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in shown
    assert KEY.encode() not in written
    assert b"[key]" in written


def test_without_a_journal_nothing_is_left_behind(judge, httpserver, tmp_path):
    httpserver.expect_request(PATHS["chat"]).respond_with_handler(lambda request: said("yes"))
    assert judge(journal=None).probabilities(PAIRS).tolist() == [1.0] * 6
    assert list(tmp_path.iterdir()) == []
