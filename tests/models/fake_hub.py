"""A hub of our own on this machine: the part of the protocol that listing, pinning and fetching revisions needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


def commit_of(revision: str) -> str:
    return hashlib.sha1(revision.encode(), usedforsecurity=False).hexdigest()


@dataclass
class FakeHub:
    """Repositories by name, their revisions by name, each a folder; and every request that was served."""

    repositories: dict[str, dict[str, Path]]
    url: str = ""
    requests: list[str] = field(default_factory=list)

    def downloads(self) -> list[str]:
        return [request for request in self.requests if request.startswith("GET") and "/resolve/" in request]

    def folder(self, repository: str, revision: str) -> tuple[str, Path] | None:
        for name, folder in self.repositories.get(repository, {}).items():
            if revision in (name, commit_of(name)):
                return commit_of(name), folder
        return None


@contextmanager
def serving(repositories: dict[str, dict[str, Path]]) -> Iterator[FakeHub]:
    hub = FakeHub(repositories)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


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
        self.hub.requests.append(f"{self.command} {path}")
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
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
            self._json(
                [
                    {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _hash(file)}
                    for file in sorted(found[1].iterdir())
                ]
            )

    def _resolve(self, repository: str, revision: str, name: str) -> None:
        found = self.hub.folder(repository, revision)
        if not found or not (found[1] / name).is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit_of(revision)})
            return
        commit, folder = found
        self._send(200, (folder / name).read_bytes(), {"ETag": f'"{_hash(folder / name)}"', "X-Repo-Commit": commit})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _hash(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
