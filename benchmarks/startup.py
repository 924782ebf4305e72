"""How long the command line takes to answer, beyond the interpreter's own start."""

import subprocess
import sys

from benchmarks.rows import Row, seconds

REPEATS = 9
ALLOWED_SECONDS = 0.5


def run() -> list[Row]:
    """`trustrace --help` and `python -c pass`, in turn."""
    extra = [_start("-m", "trustrace", "--help") - _start("-c", "pass") for _ in range(REPEATS + 1)][1:]
    return [
        Row.of(
            [ALLOWED_SECONDS / second for second in extra],
            what="trustrace --help, seconds beyond the interpreter's start",
            baseline=f"{ALLOWED_SECONDS} s, both measured against python -c pass in turn",
            reach=1.0,
            detail=f"{sorted(extra)[len(extra) // 2]:.2f} s more",
            threads=1,
        )
    ]


def _start(*arguments: str) -> float:
    return seconds(lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL))
