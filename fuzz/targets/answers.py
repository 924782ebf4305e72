"""What servers answer: a model's endpoint, and a hub. A real server on this machine answers whatever it is told to."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from fuzz.driving import Target
from fuzz.mutation import of_json
from trustrace.evaluation.endpoint import Endpoint
from trustrace.evaluation.judges.endpoint import read_log_probs, read_verdict
from trustrace.models.hub import open_hub

_COMMIT = "a" * 40
_CHAT = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
_COMPLETION = {
    "id": "1",
    "object": "text_completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "length",
            "text": " yes",
            "logprobs": {"tokens": [" yes"], "token_logprobs": [-0.1], "top_logprobs": [{" yes": -0.1, " no": -2.5}]},
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
_LLAMA_CPP = _COMPLETION | {
    "choices": [
        {
            "index": 0,
            "text": " yes",
            "logprobs": {
                "content": [{"token": " yes", "logprob": -0.1, "top_logprobs": [{"token": " no", "logprob": -3.0}]}]
            },
        }
    ]
}
_REFS = {
    "branches": [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": _COMMIT} for name in ("main", "step10")],
    "tags": [],
    "converts": [],
}
_TREE = [
    {"type": "file", "path": "config.json", "size": 3, "oid": "b" * 40},
    {
        "type": "file",
        "path": "model.safetensors",
        "size": 9,
        "oid": "c" * 40,
        "lfs": {"oid": "d" * 64, "size": 9, "pointerSize": 134},
    },
]


@dataclass
class Server:
    """Answers by the end of a path; everything else is not found."""

    url: str
    answers: dict[str, bytes]


@cache
def _server() -> Server:
    served = Server(url="", answers={})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer()

        def _answer(self) -> None:
            found = next((body for end, body in served.answers.items() if end in self.path), None)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

    # Small answers in two pieces would wait for each other's acknowledgement.
    Handler.wbufsize = -1
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    return served


@dataclass(frozen=True)
class _Asked:
    prompt: str = "?"
    temperature: float = 0.0
    max_tokens: int = 1


@cache
def _endpoint() -> tuple[Endpoint, Any]:
    endpoint = Endpoint(base_url=f"{_server().url}/v1", model="m", max_retries=0, timeout=5.0)
    return endpoint, endpoint._client()


def _chat(folder: Path, content: bytes) -> object:
    endpoint, client = _endpoint()
    _server().answers["/chat/completions"] = content
    answer = endpoint._ask(client, _Asked())
    return read_verdict(answer.text), answer.prompt_tokens + answer.completion_tokens


def _completion(folder: Path, content: bytes) -> object:
    endpoint, client = _endpoint()
    _server().answers.pop("/chat/completions", None)
    _server().answers["/completions"] = content
    answer = endpoint._next_token(client, "?")
    return read_log_probs(dict(answer.log_probs)), answer.prompt_tokens + answer.completion_tokens


def _hub(mutated: str) -> Callable[[Path, bytes], object]:
    def read(folder: Path, content: bytes) -> object:
        server = _server()
        server.answers |= {"/refs": json.dumps(_REFS).encode(), "/tree/": json.dumps(_TREE).encode()}
        server.answers[mutated] = content
        constants.ENDPOINT, constants.HF_HUB_OFFLINE, constants.HF_HUB_CACHE = server.url, False, str(folder / "cache")
        source = open_hub("owner/name")
        found = source.checkpoints()[-1]
        return [source.files(found)], found.key, source.notices

    return read


def _documents(*documents: Any) -> Callable[[Path], Sequence[bytes]]:
    return lambda folder: [json.dumps(document).encode() for document in documents]


ANSWERS: tuple[Target, ...] = (
    Target(name="endpoint_chat", prepare=_documents(_CHAT), read=_chat, mutate=of_json),
    Target(name="endpoint_completion", prepare=_documents(_COMPLETION, _LLAMA_CPP), read=_completion, mutate=of_json),
    Target(name="hub_refs", prepare=_documents(_REFS), read=_hub("/refs"), mutate=of_json),
    Target(name="hub_tree", prepare=_documents(_TREE), read=_hub("/tree/"), mutate=of_json),
)
