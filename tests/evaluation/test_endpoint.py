"""The endpoint against real local servers that misbehave in every way we know."""

import json
import logging
import socket
import threading
import time
import traceback
from dataclasses import dataclass

import pytest
from werkzeug import Request, Response

from trustrace.core.errors import ConfigError, EndpointError
from trustrace.evaluation.endpoint import Completion, Endpoint

KEY = "sk-very-secret-0123456789"
PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Ask:
    prompt: str
    temperature: float = 0.0
    max_tokens: int = 8


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)


@pytest.fixture
def endpoint(httpserver):
    def of(**changes):
        settings = {"base_url": httpserver.url_for("/v1"), "key_variable": "TEST_KEY", "max_retries": 2, "timeout": 5.0}
        return Endpoint(model="judge", **(settings | changes))

    return of


def completion_of(text: str | None) -> dict:
    message = {"role": "assistant", "content": text}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "judge",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }


def echo(request: Request) -> Response:
    return Response(
        json.dumps(completion_of(request.get_json()["messages"][0]["content"].upper())), content_type="application/json"
    )


def failing(times: int, response: Response):
    """A handler that answers `response` so many times, then well."""
    left = [times]
    lock = threading.Lock()

    def handle(request: Request) -> Response:
        with lock:
            left[0] -= 1
            bad = left[0] >= 0
        return response if bad else echo(request)

    return handle


def test_a_question_is_sent_as_it_is_and_its_answer_read(endpoint, httpserver):
    sent = []

    def handle(request):
        sent.append((request.get_json(), request.headers["Authorization"]))
        return echo(request)

    httpserver.expect_request(PATH, method="POST").respond_with_handler(handle)
    assert endpoint().answer(Ask("hello", temperature=0.5)) == Completion(
        text="HELLO", prompt_tokens=7, completion_tokens=2
    )
    body, authorization = sent[0]
    assert (body["model"], body["temperature"], body["max_tokens"], len(body["messages"])) == ("judge", 0.5, 8, 1)
    assert authorization == f"Bearer {KEY}"


def test_all_questions_are_answered_and_keep_their_places_while_several_are_in_flight(endpoint, httpserver):
    flying, most, lock = [0], [0], threading.Lock()

    def handle(request):
        with lock:
            flying[0] += 1
            most[0] = max(most[0], flying[0])
        time.sleep(0.05)
        with lock:
            flying[0] -= 1
        return echo(request)

    httpserver.expect_request(PATH).respond_with_handler(handle)
    answers = dict(endpoint(workers=4).answer_all([Ask(f"q{i}") for i in range(16)]))
    assert {place: answer.text for place, answer in answers.items()} == {i: f"Q{i}" for i in range(16)}
    assert 2 <= most[0] <= 4


def test_no_questions_need_no_server():
    assert list(Endpoint(base_url="http://127.0.0.1:9/v1", model="m").answer_all([])) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_overcome(endpoint, httpserver, status):
    httpserver.expect_request(PATH).respond_with_handler(
        failing(2, Response("later", status=status, headers={"Retry-After": "0.01"}))
    )
    assert endpoint().answer(Ask("hi")).text == "HI"


def test_retry_after_is_obeyed(endpoint, httpserver):
    httpserver.expect_request(PATH).respond_with_handler(
        failing(1, Response("later", status=429, headers={"Retry-After": "1"}))
    )
    start = time.monotonic()
    endpoint().answer(Ask("hi"))
    # The waits of its own would be half a second at most.
    assert time.monotonic() - start >= 1


def test_endless_429_is_an_error_that_says_so(endpoint, httpserver):
    httpserver.expect_request(PATH).respond_with_data("slow down", status=429, headers={"Retry-After": "0.01"})
    with pytest.raises(EndpointError, match=r"judge at http.*too many requests \(429\) in 3 tries; lower `workers`"):
        endpoint().answer(Ask("hi"))


def test_a_slow_server_is_an_error_that_names_the_limit(endpoint, httpserver):
    httpserver.expect_request(PATH).respond_with_handler(lambda request: time.sleep(0.4) or echo(request))
    with pytest.raises(EndpointError, match=r"no answer within 0.1 s in 1 tries; raise `timeout`"):
        endpoint(timeout=0.1, max_retries=0).answer(Ask("hi"))


def test_a_server_that_is_down_is_an_error_that_names_the_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        EndpointError, match=rf"127.0.0.1:{port}/v1: no connection in 1 tries .*check that the server runs"
    ):
        Endpoint(base_url=f"http://127.0.0.1:{port}/v1", model="m", max_retries=0).answer(Ask("hi"))


def test_a_connection_cut_in_the_middle_of_an_answer_is_an_error():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def cut():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"choices": ['
                )

        thread = threading.Thread(target=cut)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        with pytest.raises(EndpointError, match="no connection in 1 tries"):
            Endpoint(base_url=url, model="m", max_retries=0).answer(Ask("hi"))
        thread.join()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<html>Welcome</html>", "text/html"),
        ("{cut off", "application/json"),
        ("[]", "application/json"),
        ('{"choices": []}', "application/json"),
        ('{"choices": [{"message": null}]}', "application/json"),
        ('{"choices": [{"message": {"role": "assistant", "content": null}}]}', "application/json"),
        ('"just a string"', "application/json"),
        ("", "application/json"),
    ],
)
def test_nonsense_is_an_error_and_never_an_answer(endpoint, httpserver, body, content_type):
    httpserver.expect_request(PATH).respond_with_data(body, content_type=content_type)
    with pytest.raises(EndpointError, match="answered, but not with a chat completion"):
        endpoint(max_retries=0).answer(Ask("hi"))


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "set the environment variable TEST_KEY"),
        (403, "refuses the key"),
        (404, "no such model or path"),
        (400, "refuses the request"),
        (500, "server failed"),
    ],
)
def test_each_refusal_says_what_to_do_and_never_shows_the_key(endpoint, httpserver, status, message, caplog):
    caplog.set_level(logging.DEBUG)
    httpserver.expect_request(PATH).respond_with_json(
        {"error": {"message": f"Incorrect API key provided: {KEY}"}}, status=status
    )
    with pytest.raises(EndpointError, match=message) as caught:
        endpoint(max_retries=0).answer(Ask("hi"))
    shown = "".join(traceback.format_exception(caught.value)) + repr(endpoint()) + caplog.text
    assert KEY not in shown
    assert caught.value.__cause__ is None


def test_nonsense_that_repeats_the_key_does_not_show_it(endpoint, httpserver):
    httpserver.expect_request(PATH).respond_with_data(f"<p>{KEY}</p>", content_type="text/html")
    with pytest.raises(EndpointError) as caught:
        endpoint().answer(Ask("hi"))
    assert KEY not in str(caught.value)
    assert "[key]" in str(caught.value)


def test_without_a_key_a_server_of_ones_own_is_asked_all_the_same(endpoint, httpserver, monkeypatch):
    monkeypatch.delenv("TEST_KEY")
    httpserver.expect_request(PATH, headers={"Authorization": "Bearer none"}).respond_with_handler(echo)
    assert endpoint().answer(Ask("hi")).text == "HI"


def test_what_was_in_flight_when_one_question_failed_is_still_yielded_and_nothing_more_is_sent(endpoint, httpserver):
    seen = []

    def handle(request):
        prompt = request.get_json()["messages"][0]["content"]
        seen.append(prompt)
        if prompt == "q1":
            return Response("no", status=400)
        time.sleep(0.2)
        return echo(request)

    httpserver.expect_request(PATH).respond_with_handler(handle)
    answers = []

    def collect():
        for place, answer in endpoint(workers=2).answer_all([Ask(f"q{i}") for i in range(20)]):
            answers.append((place, answer.text))

    with pytest.raises(EndpointError, match="refuses the request"):
        collect()
    assert (0, "Q0") in answers
    assert len(answers) == len(seen) - 1
    assert len(seen) < 5


@pytest.mark.parametrize(
    "changes", [{"base_url": "localhost:8000"}, {"workers": 0}, {"max_retries": -1}, {"timeout": 0.0}]
)
def test_settings_that_cannot_work_are_refused(changes):
    with pytest.raises(ConfigError):
        Endpoint(**({"base_url": "http://localhost/v1", "model": "m"} | changes))


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{KEY}@localhost/v1",
        f"http://{KEY}@localhost/v1",
        f"user:{KEY}@localhost/v1",
        f"http://localhost/v1?key={KEY}",
        f"localhost/v1?key={KEY}",
        f"http://localhost/v1#{KEY}",
    ],
)
def test_an_address_that_holds_a_secret_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        Endpoint(base_url=url, model="m")
    assert KEY not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__cause__ is caught.value.__context__ is None
