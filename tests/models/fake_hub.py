"""A hub of our own on this machine: what listing, pinning and fetching revisions needs of the protocol, and what goes wrong with it.

It misbehaves on command: a :class:`Fault` names which requests it meets, how often, and what they meet.
"""

import fnmatch
import hashlib
import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

LFS = (".safetensors", ".bin")
CHUNK = 1 << 14
BUFFER_SECONDS = 0.05


def commit_of(revision: str) -> str:
    return hashlib.sha1(revision.encode(), usedforsecurity=False).hexdigest()


@dataclass
class Fault:
    """What requests meet whose ``METHOD path`` matches `requests`: the first `after` go well, the next `times` do not.

    Attributes:
        requests: A glob, such as ``GET */resolve/*/model.safetensors``.
        status: This status and no content.
        retry_after: With it, what the header of that name says.
        cut: Only so many bytes of the content, then the connection is closed.
        corrupt: One byte of the content is another one.
        rate: Bytes a second.
        times: How often.
        after: How many requests go well first.
    """

    requests: str
    status: int | None = None
    retry_after: float | None = None
    cut: int | None = None
    corrupt: bool = False
    rate: float | None = None
    times: float = math.inf
    after: int = 0

    def takes(self, request: str) -> bool:
        if not fnmatch.fnmatchcase(request, self.requests):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return self.times >= 0


@dataclass
class FakeHub:
    """Repositories by name, their revisions by name, each a folder; every request that was served, and what is to go wrong.

    `rate` is the bandwidth of the whole hub in bytes a second, shared by all connections.
    """

    repositories: dict[str, dict[str, Path]]
    url: str = ""
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    rate: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    free_at: float = 0.0

    def downloads(self, name: str = "") -> list[str]:
        return [one for one in self.requests if one.startswith("GET") and "/resolve/" in one and one.endswith(name)]

    def folder(self, repository: str, revision: str) -> tuple[str, Path] | None:
        for name, folder in self.repositories.get(repository, {}).items():
            if revision in (name, commit_of(name)):
                return commit_of(name), folder
        return None

    def fault_of(self, request: str) -> Fault | None:
        with self.lock:
            return next((fault for fault in self.faults if fault.takes(request)), None)

    def wait_for(self, count: int) -> None:
        """Sleep until the hub's bandwidth has room for `count` bytes after all that were asked for before."""
        if self.rate is None:
            return
        with self.lock:
            # What sleeping too long has lost is made up for, as a connection's buffers do.
            self.free_at = max(self.free_at, time.monotonic() - BUFFER_SECONDS) + count / self.rate
            until = self.free_at
        time.sleep(max(0.0, until - time.monotonic()))


@contextmanager
def serving(repositories: dict[str, dict[str, Path]]) -> Iterator[FakeHub]:
    hub = FakeHub(repositories)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def visit(hub: FakeHub, *, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's client ask `hub` and keep what it fetches in `cache`; the environment's being offline does not hold for it."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        request = f"{self.command} {path}"
        self.hub.requests.append(request)
        self.fault = self.hub.fault_of(request)
        parts = path.split("/")
        if self.fault is not None and self.fault.status is not None:
            after = self.fault.retry_after
            self._send(self.fault.status, b"", {} if after is None else {"Retry-After": str(after)})
        elif parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:])
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _api(self, repository: str, rest: list[str]) -> None:
        if repository not in self.hub.repositories:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif rest == ["refs"]:
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit_of(name)}
                for name in self.hub.repositories[repository]
            ]
            self._json({"branches": branches, "tags": [], "converts": []})
        elif not (found := self.hub.folder(repository, rest[1] if len(rest) > 1 else "main")):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif rest[0] == "revision":
            names = [{"rfilename": file.name} for file in sorted(found[1].iterdir())]
            self._json({"id": repository, "modelId": repository, "sha": found[0], "siblings": names, "tags": []})
        else:
            self._json([_entry(file) for file in sorted(found[1].iterdir())])

    def _resolve(self, repository: str, revision: str, name: str) -> None:
        found = self.hub.folder(repository, revision)
        if not found:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif not (found[1] / name).is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": found[0]})
        else:
            commit, folder = found
            self._file(folder / name, {"ETag": f'"{etag_of(folder / name)}"', "X-Repo-Commit": commit})

    def _file(self, path: Path, headers: dict[str, str]) -> None:
        size = path.stat().st_size
        asked = self.headers.get("Range", "")
        if self.command == "GET" and asked:
            self.hub.ranges.append(f"{path.name} {asked}")
            first = int(asked.removeprefix("bytes=").split("-")[0])
            content = {"Content-Range": f"bytes {first}-{size - 1}/{size}"}
            self._send(206, path.read_bytes()[first:], headers | content)
        else:
            self._send(200, path.read_bytes() if self.command == "GET" else b"", headers, length=size)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str], *, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self._write(body)
            except OSError:
                # Whoever asked has gone.
                self.close_connection = True

    def _write(self, body: bytes) -> None:
        fault = self.fault or Fault(requests="")
        if fault.corrupt and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        end = len(body) if fault.cut is None else min(fault.cut, len(body))
        for start in range(0, end, CHUNK):
            chunk = body[start : min(start + CHUNK, end)]
            self.hub.wait_for(len(chunk))
            if fault.rate is not None:
                time.sleep(len(chunk) / fault.rate)
            self.wfile.write(chunk)
        if end < len(body):
            self.close_connection = True


def _entry(file: Path) -> dict[str, object]:
    """A file as the hub lists it: by its git hash, and large ones by the hash of their content as well."""
    size = file.stat().st_size
    entry: dict[str, object] = {"type": "file", "path": file.name, "size": size, "oid": git_hash(file)}
    if file.suffix in LFS:
        entry["lfs"] = {"oid": sha256_of(file), "size": size, "pointerSize": 134}
    return entry


def etag_of(file: Path) -> str:
    return sha256_of(file) if file.suffix in LFS else git_hash(file)


def sha256_of(file: Path) -> str:
    return _digest(file, file.stat().st_size, file.stat().st_mtime_ns, "sha256")


def git_hash(file: Path) -> str:
    return _digest(file, file.stat().st_size, file.stat().st_mtime_ns, "git")


@lru_cache(maxsize=1024)
def _digest(file: Path, size: int, modified: int, kind: str) -> str:
    content = file.read_bytes()
    if kind == "sha256":
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False).hexdigest()
