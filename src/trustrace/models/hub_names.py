"""Names that a hub gives, which become paths in the cache: taken where they stay there, refused where they could lead out of it.

The hub's client checks the names of files. Those of revisions, and the hashes under which contents are kept, it takes as they come.
"""

import re

import httpx2
from huggingface_hub import RepoFile, get_session

from trustrace.core.errors import CheckpointError
from trustrace.models.shelf import HubFile

LONGEST = 255

_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONTENT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ETAG = re.compile(r'(W/)?"?[A-Za-z0-9_+=-]{1,255}"?')
# What separates folders elsewhere, and every sign that is not to be seen or that turns the direction of writing.
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]|^[A-Za-z]:")
# What git refuses in a branch's name, too.
_REFUSED = re.compile(r"[ :~^?*\[]|@\{|\.\.")


def is_revision(name: object) -> bool:
    """Whether `name` can be that of a branch or a tag, and is a path that stays where it is put."""
    return isinstance(name, str) and _stays(name) and not _REFUSED.search(name) and not name.endswith((".", ".lock"))


def is_commit(name: object) -> bool:
    """Whether `name` is a commit's hash."""
    return isinstance(name, str) and _COMMIT.fullmatch(name) is not None


def hub_file(entry: RepoFile, *, where: str) -> HubFile:
    """A file as the hub lists it.

    Raises:
        CheckpointError: its name or its hash is no name of a file in the cache.
    """
    # The client passes on whatever the hub's document holds.
    large: object = entry.lfs
    name, size = entry.path, entry.size
    content: str = getattr(large, "sha256", "") if large else entry.blob_id
    is_plain = isinstance(name, str) and isinstance(content, str) and isinstance(size, int) and size >= 0
    if not is_plain or not _stays(name) or not _CONTENT.fullmatch(content):
        raise CheckpointError(
            f"{where}: the hub lists a file {str(name)[:80]!r} with the hash {str(content)[:80]!r}, which could not be kept in the cache; "
            "nothing of it is fetched: ask another hub"
        )
    return HubFile(name=name, size=size, content=content)


def require_commit(commit: object, *, where: str) -> str:
    """`commit`, which the hub gave.

    Raises:
        CheckpointError: it is none.
    """
    if not isinstance(commit, str) or not is_commit(commit):
        raise CheckpointError(f"{where}: the hub gives the commit {str(commit)[:80]!r}, which is none; ask another hub")
    return commit


def watch_answers() -> None:
    """Have every answer to the hub's client looked at before the client makes a path of what it says."""
    session = get_session()
    hooks = session.event_hooks
    if _require_plain not in hooks["response"]:
        session.event_hooks = {**hooks, "response": [*hooks["response"], _require_plain]}


def _require_plain(response: httpx2.Response) -> None:
    for header, known in (("ETag", _ETAG), ("X-Linked-ETag", _ETAG), ("X-Repo-Commit", _COMMIT)):
        said = response.headers.get(header)
        if said is not None and not known.fullmatch(said):
            raise CheckpointError(
                f"{response.request.url.host} answers with {header} {said[:80]!r}, which could not be kept inside the cache; nothing is "
                "fetched: ask another hub"
            )


def _stays(name: str) -> bool:
    parts = name.split("/")
    is_short = len(name.encode("utf-8", "surrogatepass")) <= LONGEST
    return is_short and not _HIDDEN.search(name) and not any(part in ("", ".", "..") for part in parts)
