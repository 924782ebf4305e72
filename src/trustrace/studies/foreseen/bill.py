"""A forecast: lines of work with their seconds, what is fetched and kept, and everything that was taken for granted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trustrace.studies.foreseen.machines import Machine, assumed
from trustrace.studies.foreseen.sizes import CHARACTERS_PER_TOKEN

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One kind of work.

    Attributes:
        what: What it is.
        amount: How much of it, with its unit.
        seconds: How long one device takes.
        is_shared: Whether all devices share what it waits for, so that more of them do not shorten it.
    """

    what: str
    amount: str
    seconds: float
    is_shared: bool = False

    def seconds_on(self, devices: int) -> float:
        """Its time where `devices` of them share the work."""
        return self.seconds if self.is_shared else self.seconds / devices


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What a study takes.

    Attributes:
        study: Its name.
        machine: On what.
        lines: The work.
        parts: Into how many independent parts the study can be cut: more devices than that stand idle.
        cut: How it is cut.
        download_bytes: What is fetched.
        held_bytes: What must lie on the disk for each device at once, where fetched weights are let go; 0 where they never are.
        kept_bytes: What lies there in the end if nothing that was fetched or made is let go.
        assumptions: What, how much, and where that is from; those of the machine come on top.
        left_out: What is not counted.
        too_large: What does not fit the device's memory, and the way out.
    """

    study: str
    machine: Machine
    lines: tuple[Line, ...]
    parts: int
    cut: str
    download_bytes: float
    held_bytes: float
    kept_bytes: float
    assumptions: tuple[tuple[str, str, str], ...] = ()
    left_out: tuple[str, ...] = ()
    too_large: tuple[str, ...] = ()

    def devices(self, wanted: int) -> int:
        """How many of `wanted` devices find work."""
        return max(1, min(wanted, self.parts))

    def hours(self, devices: int) -> float:
        """From beginning to end, one thing after another on each device."""
        busy = self.devices(devices)
        # The unit that is largest waits for nobody: parts that do not divide evenly leave some devices idle at the end.
        rounds = -(-self.parts // busy) * busy / self.parts
        return sum(line.seconds_on(busy) * (1 if line.is_shared else rounds) for line in self.lines) / HOUR

    def rows(self, devices: Sequence[int] = (1, 8)) -> list[dict[str, Any]]:
        """The lines, and what they sum to, for each number of devices."""

        def row(what: str, amount: str, hours: Sequence[float | str]) -> dict[str, Any]:
            columns = {f"hours, {count} x {self.machine.name}": one for count, one in zip(devices, hours, strict=True)}
            return {"what": what, "amount": amount, **{name: _hours(one) for name, one in columns.items()}}

        lines = [
            row(line.what, line.amount, [line.seconds_on(self.devices(count)) / HOUR for count in devices])
            for line in self.lines
        ]
        held = [size(self.held_bytes * self.devices(count)) for count in devices]
        let_go = [row("disk at once where fetched weights are let go", "", held)] if self.held_bytes else []
        return [
            *lines,
            row("in all", f"{self.parts} parts, {self.cut}", [self.hours(count) for count in devices]),
            row("fetched in all", size(self.download_bytes), ["", *[""] * (len(devices) - 1)]),
            *let_go,
            row("disk where everything is kept", size(self.kept_bytes), ["", *[""] * (len(devices) - 1)]),
            *(row("DOES NOT FIT", one, ["" for _ in devices]) for one in self.too_large),
        ]

    def assumed(self) -> list[dict[str, Any]]:
        """Everything that was taken for granted, and what is left out."""
        tokens = ("characters a token", f"{CHARACTERS_PER_TOKEN}", "assumed; English prose")
        rows = [*self.assumptions, tokens, *assumed(self.machine)]
        known = [{"what": what, "value": value, "source": source} for what, value, source in rows]
        return [*known, *({"what": one, "value": "left out", "source": "not counted"} for one in self.left_out)]


def too_large(what: str, needed: int, machine: Machine, *, way_out: str) -> tuple[str, ...]:
    """A sentence where `needed` bytes are more than the device of `machine` has; none where they are not."""
    if needed <= machine.device_bytes:
        return ()
    return (f"{what} holds {size(needed)}, {machine.name} has {size(machine.device_bytes)}: {way_out}",)


def size(count: float | int) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def flops(count: float | int) -> str:
    """Floating-point operations in words."""
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if count < 999.5:
            return f"{count:.3g} {unit}FLOP"
        count /= 1000
    return f"{count:.3g} ZFLOP"


def _hours(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.1f}" if value >= 0.1 else f"{value:.1g}"
