"""The checkpoint axis: training on a logarithmic scale that keeps an honest zero at its left edge."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trustrace.core.checkpoints import Checkpoint

_ZERO_GAP = 0.09
"""Where zero stands left of the first positive checkpoint, as a share of the axis."""

_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, kw_only=True)
class CheckpointAxis:
    """Where each checkpoint stands on a horizontal axis.

    Attributes:
        title: What the axis counts.
        positions: One place per checkpoint; log10 of its count, zero (whose logarithm does not exist) a gap left of the rest.
        labels: What to call each checkpoint in a sentence.
        ticks: Places and their labels.
        unit: ``tokens``, ``steps``, or empty where it counts neither.
        zero_break: Where the axis is broken between zero and the first positive count; None where nothing is at zero.
    """

    title: str
    positions: tuple[float, ...]
    labels: tuple[str, ...]
    ticks: tuple[tuple[float, str], ...]
    unit: str = ""
    zero_break: float | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the axis, with room for the outermost marks."""
        first, last = min(self.positions, default=0.0), max(self.positions, default=0.0)
        margin = 0.03 * (last - first) or 0.5
        return first - margin, last + margin

    def place(self, count: float, unit: str) -> float:
        """Where `count` of `unit` stands, within the limits; NaN where the axis counts something else."""
        if not self.unit or unit != self.unit or math.isnan(count):
            return math.nan
        low, high = self.limits
        if count <= 0:
            return low if self.zero_break is None else self.positions[0]
        return min(high, max(low if self.zero_break is None else self.zero_break, math.log10(count)))


def checkpoint_axis(checkpoints: Sequence[Checkpoint]) -> CheckpointAxis:
    """The axis of an ordered series: tokens where all are known, else steps, else plain order."""
    tokens = [checkpoint.tokens_seen for checkpoint in checkpoints]
    steps = [checkpoint.step for checkpoint in checkpoints]
    labels = tuple(label(checkpoint) for checkpoint in checkpoints)
    if checkpoints and all(count is not None for count in tokens):
        return _logarithmic(
            [count for count in tokens if count is not None], labels, title="Training tokens", unit="tokens"
        )
    if checkpoints and all(count is not None for count in steps):
        return _logarithmic(
            [count for count in steps if count is not None], labels, title="Optimizer steps", unit="steps"
        )
    return _ordinal(checkpoints, labels)


def label(checkpoint: Checkpoint) -> str:
    """How far training had come: ``1.0 M tokens``, ``step 3000`` or the revision's name."""
    if checkpoint.tokens_seen is not None:
        return f"{amount(checkpoint.tokens_seen)} tokens"
    if checkpoint.step is not None:
        return f"step {checkpoint.step}"
    return checkpoint.revision


def amount(count: int | float) -> str:
    """A count at reading precision: ``0``, ``512``, ``1.0 M``, ``262 k``, ``1.26 T``; number and unit never part at a line's end."""
    for size, unit in _UNITS:
        if count >= size * 0.9995:
            return f"{_three_digits(count / size)}\u00a0{unit}"
    return f"{count:.0f}"


def _three_digits(value: int | float) -> str:
    decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    text = f"{value:.{decimals}f}"
    return text[:-1] if decimals == 2 and text.endswith("0") else text


def map_ticks(n_columns: int, most: int = 12) -> list[int]:
    """Evenly spaced columns that carry a label."""
    return list(range(0, n_columns, max(1, math.ceil(n_columns / most))))


def _ordinal(checkpoints: Sequence[Checkpoint], labels: tuple[str, ...]) -> CheckpointAxis:
    positions = tuple(float(place) for place in range(len(checkpoints)))
    stride = max(1, math.ceil(len(checkpoints) / 8))
    ticks = [(positions[i], checkpoints[i].revision) for i in range(0, len(checkpoints), stride)]
    return CheckpointAxis(title="Checkpoint", positions=positions, labels=labels, ticks=tuple(ticks))


def _logarithmic(counts: Sequence[int], labels: tuple[str, ...], *, title: str, unit: str) -> CheckpointAxis:
    places = [math.log10(count) for count in counts if count > 0]
    first, last = min(places, default=0.0), max(places, default=0.0)
    gap = max(_ZERO_GAP * (last - first), 0.12)
    has_zero = len(places) < len(counts)
    zero = first - gap
    return CheckpointAxis(
        title=title,
        unit=unit,
        positions=tuple(math.log10(count) if count > 0 else zero for count in counts),
        labels=labels,
        ticks=(((zero, "0"),) if has_zero else ()) + _decades(first, last, bool(places)),
        zero_break=first - gap / 2 if has_zero and places else None,
    )


def _decades(first: float, last: float, exist: bool) -> tuple[tuple[float, str], ...]:
    """Powers of ten between the ends; 1-2-5 steps where there are fewer than three of them; every n-th where there are many."""
    if not exist:
        return ()
    powers = range(math.floor(first), math.ceil(last) + 1)
    inside = [float(power) for power in powers if first - 1e-9 <= power <= last + 1e-9]
    if len(inside) < 3:
        steps = [power + math.log10(factor) for power in powers for factor in (1, 2, 5)]
        inside = [step for step in steps if first - 1e-9 <= step <= last + 1e-9] or [first]
    inside = inside[:: math.ceil(len(inside) / 8)]
    return tuple((place, _tick(place)) for place in inside)


def _tick(place: float) -> str:
    """A tick's label: round counts lose their trailing zero (``1 M``, not ``1.0 M``)."""
    number, separator, unit = amount(round(10**place)).partition("\u00a0")
    return f"{number.removesuffix('.0')}{separator}{unit}"
