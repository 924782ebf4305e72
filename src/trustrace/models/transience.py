"""Which failures of a download may pass, and how long to wait for that.

The hub's client itself goes on where a connection broke off (five times without a byte), and asks again after status 408 and 429 for as
long as ``Retry-After`` says. It gives up at the first 5xx status of a file, at a connection that is reset, and when the hub is down for
longer; it never looks at the bytes. Those are what is tried again here.
"""

import errno
from collections.abc import Iterator

import httpx2
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from trustrace.core.errors import CheckpointError, IntegrityError

PATIENCE = (2.0, 10.0, 60.0, 300.0)
"""Seconds between attempts, where the hub names none."""

MOST_PATIENCE = 3600.0
"""The most that the hub can ask to wait."""

_PASSING = frozenset({408, 425, 429})
_LASTING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})


def is_transient(error: CheckpointError) -> bool:
    """Whether the same download may succeed later: the hub or the way to it is at fault, and not what was asked."""
    cause = _cause(error)
    match cause:
        case OfflineModeIsEnabled():
            return False
        case HfHubHTTPError():
            return cause.response.status_code in _PASSING or cause.response.status_code >= 500
        case IntegrityError() | httpx2.TransportError():
            return True
        case OSError():
            return cause.errno not in _LASTING
    return False


def is_damage(error: CheckpointError) -> bool:
    """Whether what arrived is not what the hub lists: where it is so again, the hub's own copy is damaged."""
    return isinstance(_cause(error), IntegrityError)


def asked_wait(error: CheckpointError) -> float:
    """The seconds that the hub asks to wait; 0 where it asks for none."""
    cause = _cause(error)
    if not isinstance(cause, HfHubHTTPError):
        return 0.0
    try:
        return min(MOST_PATIENCE, max(0.0, float(cause.response.headers.get("Retry-After", 0))))
    except ValueError:
        # The header can hold a date as well; the hub's does not.
        return 0.0


def _cause(error: BaseException) -> BaseException | None:
    """What the hub's client met, out of everything that it and its own client wrapped it in."""
    causes = list(_causes(error))
    known = (OfflineModeIsEnabled, HfHubHTTPError, IntegrityError, httpx2.TransportError)
    told = [cause for cause in causes if isinstance(cause, known)]
    # Without a reason of its own, "not in the cache" says nothing of the hub.
    others = [one for one in causes if isinstance(one, OSError) and not isinstance(one, FileNotFoundError)]
    return next(iter([*told, *others]), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
