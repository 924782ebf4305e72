"""A line the size of a word beside each finding: the site in focus over training, its interval, and the strongest floor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trustrace.report.axis import checkpoint_axis
from trustrace.report.findings import UNCHOSEN, Finding, focus_site, strongest
from trustrace.report.grids import Grid, Trace

WIDTH, HEIGHT = 160.0, 56.0


@dataclass(frozen=True, kw_only=True)
class Spark:
    """Places in a drawing of `width` x `height`, as SVG writes them."""

    width: float
    height: float
    line: str
    band: str
    floor: float | None
    first: tuple[float, float] | None


def spark(trace: Trace, found: Finding, *, limits: tuple[float, float]) -> Spark | None:
    """The small line of `found`, its vertical axis running over `limits`; None where no site is in focus or nothing is defined."""
    grid, site = trace.grid(found.view, found.method, "accuracy"), focus_site(trace, found.view)
    if grid is None or site == UNCHOSEN or found.n_checkpoints < 2:
        return None
    frame = _Frame(left_right=checkpoint_axis(trace.series[found.view.model].checkpoints).limits, low_high=limits)
    floor = strongest(found.final_floors)
    places = checkpoint_axis(trace.series[found.view.model].checkpoints).positions
    return Spark(
        width=WIDTH,
        height=HEIGHT,
        line=_points(frame, places, grid, "value", site),
        band=_points(frame, places, grid, "upper", site)
        + " "
        + _points(frame, places, grid, "lower", site, backwards=True),
        floor=frame.y(floor.value) if floor else None,
        first=(frame.x(places[found.first.column]), frame.y(found.first.value)) if found.first else None,
    )


def spark_limits(trace: Trace, found: Sequence[Finding]) -> tuple[float, float]:
    """One vertical range for all small lines: heights must compare."""
    ends = [
        float(end)
        for at in found
        if (grid := trace.grid(at.view, at.method, "accuracy")) is not None
        and (site := focus_site(trace, at.view)) != UNCHOSEN
        for plane in (grid.value, grid.lower, grid.upper)
        for end in plane[: len(trace.series[at.view.model].checkpoints), site]
        if math.isfinite(end)
    ]
    ends += [floor.value for at in found if (floor := strongest(at.final_floors))]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class _Frame:
    left_right: tuple[float, float]
    low_high: tuple[float, float]

    def x(self, place: float) -> float:
        left, right = self.left_right
        return round(WIDTH * (place - left) / (right - left), 1)

    def y(self, value: float) -> float:
        low, high = self.low_high
        return round(HEIGHT * (1 - (value - low) / (high - low or 1.0)), 1)


def _points(
    frame: _Frame, places: tuple[float, ...], grid: Grid, plane: str, site: int, *, backwards: bool = False
) -> str:
    values = getattr(grid, plane)[: len(places), site]
    points = [f"{frame.x(x)},{frame.y(float(y))}" for x, y in zip(places, values, strict=True) if math.isfinite(y)]
    return " ".join(reversed(points) if backwards else points)
