"""Beats of processes that there are, or not."""

import os
import time
from typing import Any

from trustrace.runs.beats import Beat, hostname

NOBODY = 2**31 - 2
"""A process that no system has."""


def beat(worker: str = "alone", **changes: Any) -> Beat:
    """What this process would say while it captures a data set and the next checkpoint is fetched."""
    said: Beat = {
        "worker": worker,
        "host": hostname(),
        "pid": os.getpid(),
        "written": time.time(),
        "stage": "capturing",
        "checkpoint": "EleutherAI--pythia-6.9b@step1000",
        "dataset": "reliability/defined",
        "lasted": 2.5,
        "done": 3400,
        "total": 12_000,
        "counted": "tokens",
        "rate": 1360.0,
        "download": {
            "checkpoint": "EleutherAI--pythia-6.9b@step512",
            "fetched": 12 * 10**8,
            "size": 27 * 10**9,
            "rate": 8.5e7,
        },
        "held": 54 * 10**9,
        "budget": 80 * 10**9,
        "finished": 12,
        "units": 45,
        "failed": 0,
        "here": 10,
        "spent": {"floors": 5.0, "loading": 20.0, "capturing": 30.0, "measuring": 50.0, "concluding": 3.0},
    }
    return said | changes  # type: ignore[return-value]
