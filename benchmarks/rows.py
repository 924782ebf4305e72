"""A row of the benchmark table, and the table."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        what: What is measured.
        baseline: What it is measured against.
        ratio: How many times better than the baseline it is; the median of interleaved repeats.
        spread: The smallest and the largest ratio among the repeats.
        reach: The ratio to be reached.
        detail: The numbers behind the ratio, with their units.
        threads: Threads that both sides used.
    """

    what: str
    baseline: str
    ratio: float
    spread: tuple[float, float]
    reach: float
    detail: str
    threads: int

    @classmethod
    def of(cls, ratios: Sequence[float], *, what: str, baseline: str, reach: float, detail: str, threads: int) -> "Row":
        """The row of repeated `ratios`."""
        return cls(
            what=what,
            baseline=baseline,
            ratio=statistics.median(ratios),
            spread=(min(ratios), max(ratios)),
            reach=reach,
            detail=detail,
            threads=threads,
        )

    @property
    def is_reached(self) -> bool:
        return self.ratio >= self.reach

    def __str__(self) -> str:
        verdict = "reached" if self.is_reached else "MISSED"
        low, high = self.spread
        return (
            f"{self.what}\n"
            f"    {self.ratio:.2f}x ({low:.2f} .. {high:.2f}), to reach {self.reach:.2f}x: {verdict}\n"
            f"    against {self.baseline}\n"
            f"    {self.detail}; {self.threads} thread{'s' if self.threads > 1 else ''}"
        )


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[1])


def peak() -> int:
    """Most bytes of memory that this process ever held.

    `getrusage` would tell the peak of the process that started this one, if that was higher.
    """
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
