"""JSON that somebody else may have written: parsed, or refused in one sentence."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from trustrace.core.errors import TrustraceError

DEEPEST = 64
"""Levels of nesting: far more than any file of ours has, far fewer than exhaust the interpreter's stack."""

_A_NAME = r"^[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*$"
FolderName = Annotated[str, StringConstraints(pattern=_A_NAME, max_length=255)]
"""The name of a folder or file that stays where it is put: no separator, no leading dot."""


class RecordedCheckpoint(TypedDict):
    """A :class:`~trustrace.core.checkpoints.Checkpoint` in a document."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    family: str
    model: str
    revision: str
    step: NotRequired[int | None]
    tokens_seen: NotRequired[int | None]
    commit: NotRequired[str]


_NAMES = {dict: "object", list: "array", str: "text", type(None): "null"}
_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def is_folder_name(name: str) -> bool:
    """Whether `name` is a :data:`FolderName`."""
    return len(name) <= 255 and re.fullmatch(_A_NAME[1:-1], name) is not None


def parsed(content: bytes | str, kind: type, *, where: object, error: type[TrustraceError], way_out: str) -> Any:
    """The JSON document in `content`, whose outermost value must be a `kind`.

    Args:
        content: The document; bytes are UTF-8.
        kind: ``dict``, ``list`` or ``object`` (anything).
        where: Which file or line it is, for messages.
        error: What to raise.
        way_out: What a user can do about it, for messages.

    Raises:
        TrustraceError: as `error`: it is no JSON, no `kind`, nested more than 64 levels deep, or holds half of a surrogate pair, which
            no file that is made of it could hold.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        document = json.loads(text)
        if _HALF_A_PAIR.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise error(f"{where} is nested more than {DEEPEST} levels deep; {way_out}") from None
    except UnicodeEncodeError:
        raise error(f"{where} holds half of a surrogate pair, which is no character; {way_out}") from None
    # Not UTF-8, no JSON, and numbers of thousands of digits are all ValueErrors.
    except ValueError as problem:
        raise error(f"{where} is not JSON ({problem}); {way_out}") from None
    if not isinstance(document, kind):
        wanted, found = (_NAMES.get(one, one.__name__) for one in (kind, type(document)))
        raise error(f"{where} is not a JSON {wanted} but {found}; {way_out}")
    if is_deep(document):
        raise error(f"{where} is nested more than {DEEPEST} levels deep; {way_out}")
    return document


def shaped(content: bytes | str, shape: Any, *, where: object, error: type[TrustraceError], way_out: str) -> Any:
    """The JSON document in `content`, every value that `shape` names being of the type that it says; what it does not name stays.

    Args:
        content: The document; bytes are UTF-8.
        shape: A type that pydantic checks, such as a ``TypedDict``; texts are no numbers, and numbers are no texts.
        where: Which file it is, for messages.
        error: What to raise.
        way_out: What a user can do about it, for messages.

    Raises:
        TrustraceError: as `error`: as :func:`parsed`, or a value is missing or of another type.
    """
    document = parsed(content, object, where=where, error=error, way_out=way_out)
    require_shape(document, shape, where=where, error=error, way_out=way_out)
    return document


def require_shape(document: Any, shape: Any, *, where: object, error: type[TrustraceError], way_out: str) -> None:
    """Do nothing where every value of a parsed `document` that `shape` names is of the type that it says. See :func:`shaped`.

    Raises:
        TrustraceError: as `error`: a value is missing or of another type.
    """
    try:
        _checker(shape).validate_json(json.dumps(document), strict=True)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:200]
        raise error(f"{where}: {place or 'the document'}: {first['msg']}; {way_out}") from None


@cache
def _checker(shape: Any) -> Any:
    return TypeAdapter(shape)


def is_deep(document: Any) -> bool:
    """Whether a level below the deepest holds anything; level by level, since a stack of calls is what would overflow."""
    level = [document]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _inside(document: Any) -> Any:
    return document.values() if isinstance(document, Mapping) else document if isinstance(document, list) else ()
