"""A model behind an endpoint that speaks the OpenAI protocol: a server of your own (vLLM, llama.cpp, Ollama ...) or a hosted one."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from trustrace.core.errors import ConfigError, EndpointDownError, EndpointError, MissingExtraError

if TYPE_CHECKING:
    from openai import OpenAI, OpenAIError

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

NO_KEY = "none"
"""Sent where the variable holds no key: servers of one's own ask for none, but the protocol wants the header."""


LISTED = 5
"""Likeliest next tokens asked for: the most that hosted servers list."""

ROUNDING = 1e-3
"""How far above 0 a server's rounding may put a log-probability; a larger value is none."""


@runtime_checkable
class Question(Protocol):
    """One prompt and how to answer it."""

    @property
    def prompt(self) -> str:
        """What the user says."""

    @property
    def temperature(self) -> float:
        """0 for the likeliest answer."""

    @property
    def max_tokens(self) -> int:
        """Where the answer is cut."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What the model answered, and what the server counted; 0 where it does not count."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """How a model would go on with a text.

    Attributes:
        log_probs: ln p of the likeliest next tokens, as the server lists them, at most 0.
        prompt_tokens: As the server counts; 0 where it does not.
        completion_tokens: Likewise.
    """

    log_probs: Mapping[str, float]
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a model answers, and how patiently to ask.

    The key is read from the environment when it is needed. It is no field, so that it is in no printed value, record or message.

    Attributes:
        base_url: The server's address up to and with ``/v1``, without user, password, query or fragment: it is shown in messages.
        model: The model's name there.
        key_variable: The environment variable that holds the key.
        timeout: Seconds to wait for one answer.
        max_retries: How often a request is sent again after 408, 409, 429, 5xx, a cut connection or a timeout. Waits double from half a
            second to eight, and obey Retry-After up to two minutes.
        workers: Requests in flight at once.
    """

    base_url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = 60.0
    max_retries: int = 6
    workers: int = 4

    def __post_init__(self) -> None:
        if any(sign in self.base_url for sign in "@?#"):
            raise ConfigError(
                "base_url holds a user, a query or a fragment ('@', '?' or '#'), and addresses are shown in messages; give the bare "
                f"address, such as http://localhost:8000/v1, and the key in the environment variable {self.key_variable}"
            )
        if not self.base_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"base_url is {self.base_url!r}; give the address of the server, such as http://localhost:8000/v1"
            )
        if self.workers < 1 or self.max_retries < 0 or self.timeout <= 0:
            raise ConfigError(
                f"workers is {self.workers}, max_retries {self.max_retries}, timeout {self.timeout}; "
                "workers must be at least 1, max_retries at least 0, timeout above 0 seconds"
            )

    @property
    def name(self) -> str:
        """Which model where."""
        return f"{self.model} at {self.base_url}"

    def answer(self, question: Question) -> Completion:
        """The model's answer to one question.

        Raises:
            EndpointError: no readable answer came, after all retries; the message says why.
        EndpointDownError: no answer at all.
            MissingExtraError: the package openai is not installed.
        """
        with self._client() as client:
            return self._ask(client, question)

    def answer_all(self, questions: Iterable[Question]) -> Iterator[tuple[int, Completion]]:
        """Each answer as it comes, with the place of its question; `workers` questions are in flight at once.

        Questions are taken only when they can be sent. When one fails for good, no further one is sent; what was in flight is still
        waited for and yielded, since it is paid for.

        Raises:
            EndpointError: some question got no readable answer, after all retries.
            MissingExtraError: the package openai is not installed.
        """
        return self._all(self._ask, questions)

    def next_tokens(self, prompts: Iterable[str]) -> Iterator[tuple[int, NextToken]]:
        """How the model would go on with each of `prompts`, by the completions protocol; otherwise as :meth:`answer_all`.

        Raises:
            EndpointError: some prompt got no log-probabilities, after all retries.
            MissingExtraError: the package openai is not installed.
        """
        return self._all(self._next_token, prompts)

    def without_key(self, text: str) -> str:
        """`text` with the key blotted out: a server may repeat it, and what it says may be written down."""
        key = os.environ.get(self.key_variable)
        return text.replace(key, "[key]") if key else text

    def _all(self, ask: "Callable[[OpenAI, Asked], Answer]", asked: Iterable[Asked]) -> Iterator[tuple[int, Answer]]:
        queue = enumerate(asked)
        flying: dict[Future[Answer], int] = {}
        failure: EndpointError | None = None
        with ThreadPoolExecutor(self.workers) as pool, self._client() as client:
            while True:
                while len(flying) < self.workers and not failure and (one := next(queue, None)) is not None:
                    flying[pool.submit(ask, client, one[1])] = one[0]
                if not flying:
                    break
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    place = flying.pop(future)
                    try:
                        answer = future.result()
                    except EndpointError as error:
                        failure = failure or error
                    else:
                        yield place, answer
        if failure:
            raise failure

    def _client(self) -> "OpenAI":
        try:
            from openai import OpenAI
        except ImportError:
            raise MissingExtraError.of("openai", extra="judge", purpose="asking a model behind an endpoint") from None
        key = os.environ.get(self.key_variable) or NO_KEY
        return OpenAI(base_url=self.base_url, api_key=key, timeout=self.timeout, max_retries=self.max_retries)

    def _ask(self, client: "OpenAI", question: Question) -> Completion:
        answer = self._sent(
            lambda: client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": question.prompt}],
                temperature=question.temperature,
                max_tokens=question.max_tokens,
            )
        )
        return self._read(answer)

    def _next_token(self, client: "OpenAI", prompt: str) -> NextToken:
        answer = self._sent(
            lambda: client.completions.create(
                model=self.model, prompt=prompt, max_tokens=1, temperature=0.0, logprobs=LISTED
            )
        )
        choices = getattr(answer, "choices", None)
        log_probs = (
            _first_log_probs(getattr(choices[0], "logprobs", None)) if isinstance(choices, list) and choices else {}
        )
        if not log_probs:
            raise EndpointError(
                f"{self.name} answered, but not with log-probabilities of the next token: "
                f"{self._shown(str(answer))!r}; serve it with completions and logprobs, or ask it by chat"
            )
        return NextToken(log_probs=log_probs, **_usage(answer))

    def _sent(self, request: Callable[[], Any]) -> object:
        from openai import OpenAIError

        try:
            return request()
        except OpenAIError as error:
            explained = self._explained(error)
        except (ValueError, RecursionError):
            explained = self._unreadable("bytes that are not the JSON they claim to be")
        # Out of the handlers: what was caught holds the request with its headers, and so the key, and would be a variable of this frame.
        raise explained

    def _read(self, answer: object) -> Completion:
        """The text of a chat completion; servers may send anything, so every step is checked."""
        choices = getattr(answer, "choices", None)
        message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
        text = getattr(message, "content", None)
        if not isinstance(text, str):
            raise self._unreadable(repr(self._shown(str(answer))))
        return Completion(text=text, **_usage(answer))

    def _unreadable(self, what: str) -> EndpointError:
        return EndpointError(
            f"{self.name} answered, but not with a chat completion: {what}; check that base_url ends where the "
            "server's paths begin, mostly with /v1"
        )

    def _explained(self, error: "OpenAIError") -> EndpointError:
        """What happened, and the way out, without the key even where the server repeats it."""
        import openai

        tries, said = f"in {self.max_retries + 1} tries", self._shown(getattr(error, "message", ""))
        match error:
            case openai.APITimeoutError():
                what = f"no answer within {self.timeout:g} s {tries}; raise `timeout` or lower `workers`"
            case openai.APIConnectionError():
                why = self._shown(str(error.__cause__ or error))
                what = f"no connection {tries} ({why}); check that the server runs and that base_url is right"
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                what = f"the server refuses the key ({error.status_code}); set the environment variable {self.key_variable}"
            case openai.NotFoundError():
                what = f"the server knows no such model or path (404: {said}); check model and base_url"
            case openai.RateLimitError():
                what = f"too many requests (429) {tries}; lower `workers`, raise `max_retries`, or try later: {said}"
            case openai.APIStatusError(status_code=status) if status >= 500:
                what = f"the server failed ({status}) {tries}; look at its log: {said}"
            case openai.APIStatusError():
                what = f"the server refuses the request ({error.status_code}): {said}"
            case _:
                what = f"{type(error).__name__}: {self._shown(str(error))}"
        is_down = isinstance(error, openai.APIConnectionError | openai.RateLimitError | openai.InternalServerError)
        message = f"{self.name}: {what}"
        return EndpointDownError(message, endpoint=self.name) if is_down else EndpointError(message)

    def _shown(self, text: str) -> str:
        """The beginning of what the server said, on one line, with the key blotted out."""
        return " ".join(self.without_key(text).split())[:200]


def _usage(answer: object) -> dict[str, int]:
    """What the server counted."""
    usage = getattr(answer, "usage", None)
    counted = {name: getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")}
    return {name: count if isinstance(count, int) else 0 for name, count in counted.items()}


def _first_log_probs(listed: object) -> dict[str, float]:
    """The listed tokens of the first place, in the form of OpenAI and vLLM or in that of llama.cpp; none where there are none.

    A list is read whole or not at all: without one of its words the others would have its probability.
    """
    tops, content = getattr(listed, "top_logprobs", None), getattr(listed, "content", None)
    found: dict[object, object] = {}
    if isinstance(tops, list) and tops and isinstance(tops[0], dict):
        found = tops[0]
    elif isinstance(content, list) and content and isinstance(content[0], dict):
        rows = content[0].get("top_logprobs")
        rows = rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else []
        found = {row.get("token"): row.get("logprob") for row in rows}
    read = {
        token: min(float(value), 0.0)
        for token, value in found.items()
        if isinstance(token, str) and isinstance(value, int | float) and value is not True and value <= ROUNDING
    }
    return read if len(read) == len(found) else {}
