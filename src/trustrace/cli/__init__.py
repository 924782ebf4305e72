"""The command line: arguments in, study, exit code out."""

from trustrace.cli.entry import main

__all__ = ["main"]
