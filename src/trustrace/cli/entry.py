"""Where the program starts and how it ends."""

import errno
import sys
import warnings
from typing import Any

from trustrace.core.errors import TrustraceError

INTERRUPTED = 130
DISK_FULL = 5


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
    except KeyboardInterrupt:
        _stop("stopped; what was finished is kept, and the same command goes on from there", INTERRUPTED)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _stop(
            f"error: no space left on the disk ({error.filename}); free some and run the same command again", DISK_FULL
        )


def _stop(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Warnings of ours are for the user, one line each; those of libraries are for their developers."""
    if category.__module__.startswith("trustrace."):
        print(f"warning: {message}", file=sys.stderr)
