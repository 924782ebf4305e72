"""The command line in processes of their own, which can be stopped and killed like any other."""

import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.forking import context

PATIENCE = 540


def command(*arguments: object) -> list[str]:
    """What a shell would be given."""
    return [sys.executable, "-m", "trustrace", *map(str, arguments)]


def in_a_shell(*arguments: object, code: int = 0, cwd: Path | None = None) -> str:
    """Run the command line in an interpreter of its own; its output, standard error included. The exit code must be `code`."""
    answer = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=cwd)
    assert answer.returncode == code, answer.stdout + answer.stderr
    return answer.stdout + answer.stderr


def trustrace(*arguments: object, code: int = 0, cwd: Path | None = None) -> str:
    """The same, in a process for which everything is imported already."""
    with tempfile.NamedTemporaryFile() as said:
        process = started(*arguments, said=said.name, cwd=cwd)
        process.join(PATIENCE)
        text = Path(said.name).read_text("utf-8")
    assert process.exitcode == code, text
    return text


def started(*arguments: object, said: str = os.devnull, cwd: Path | None = None) -> BaseProcess:
    """A process that runs the command line and writes what it says to the file `said`."""
    process = context.Process(target=_main, args=([str(one) for one in arguments], said, cwd))
    process.start()
    return process


def _main(arguments: list[str], said: str, cwd: Path | None) -> None:
    from trustrace.cli import main

    with Path(said).open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # A suite started in a shell's background ignores Ctrl-C, and what it starts would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = ["trustrace", *arguments]
    main()
