"""Where the program starts and how it ends."""

import errno
import sys
import warnings
from typing import Any

from trustrace.core.errors import TrustraceError

INTERRUPTED = 130
DISK_FULL = 5
UNUSABLE = 2


def main() -> None:
    """Run the command line and exit: 0 when all went well, the error's own code when the user can mend it, 130 after Ctrl-C.

    Errors that a user can mend are one message without a traceback; anything else is a bug and keeps its traceback.
    """
    from trustrace.cli.app import app

    warnings.showwarning = _show_warning
    try:
        app()
    except TrustraceError as error:
        _stop(f"error: {error}", error.exit_code)
    except SystemExit as exit_:
        # Typer turns Ctrl-C into its own exit code without a word.
        if exit_.code == INTERRUPTED:
            _stop("stopped; what was finished is kept, and the same command goes on from there", INTERRUPTED)
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _stop(f"error: {where}{error.strerror or error}", DISK_FULL if error.errno == errno.ENOSPC else UNUSABLE)


def _stop(message: str, code: int) -> None:
    _tell(message)
    sys.exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Warnings of ours are for the user, one line each; those of libraries are for their developers."""
    if category.__module__.startswith("trustrace."):
        _tell(f"warning: {message}")


def _tell(message: str) -> None:
    """Write `message`, which may repeat what a file says, as text."""
    from trustrace.cli.view import plain

    print(plain(message), file=sys.stderr)
