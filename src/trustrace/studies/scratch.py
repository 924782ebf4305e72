"""The room that a comparison of checkpoints takes while it is made, known before anything is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from trustrace.core.sites import Position

WIDEST = 4
"""Bytes of a value of activations at the most."""

BYTES_PER_PREDICTION = 16
"""What a checkpoint says of one statement at one site: a log-odds and a deviation in float64."""


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """Bytes at the most, and what they are for.

    Attributes:
        paired: Checkpoints whose activations are kept, because they are compared pair by pair.
        of_one: Bytes of one of them.
        alone: Bytes of what all others say.
        passing: Bytes of one dataset's activations while they are read.
        sites: How many sites are read.
    """

    paired: int
    of_one: int
    alone: int
    passing: int
    sites: int

    @classmethod
    def of(
        cls,
        *,
        rows: Sequence[int],
        sites: int,
        d_model: int,
        bytes_per_value: int,
        position: Position,
        checkpoints: int,
        paired: int,
    ) -> "Scratch":
        """The room for `rows` statements of each dataset, in models that compute in `bytes_per_value`."""
        # A mean over tokens has more digits than the model's own values.
        value = WIDEST if position == "mean" else min(WIDEST, bytes_per_value)
        return cls(
            paired=paired,
            of_one=sum(rows) * sites * d_model * value,
            alone=(checkpoints - paired) * sum(rows) * sites * BYTES_PER_PREDICTION,
            passing=max(rows) * sites * d_model * WIDEST,
            sites=sites,
        )

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.paired * self.of_one + self.alone + self.passing

    def __str__(self) -> str:
        return (
            f"about {size(self.bytes)}: activations of {self.paired} checkpoints at {self.sites} sites, {size(self.of_one)} each; "
            f"what the others say alone, {size(self.alone)}; what is being read, {size(self.passing)}"
        )


def size(count: int) -> str:
    """Bytes for people, in powers of 1000 as ``60GB`` on the command line is."""
    amount, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.3g} {units[0]}"
