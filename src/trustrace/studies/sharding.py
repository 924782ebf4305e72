"""A trace divided among several processes, each of which does the same part whoever starts it and whenever."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from trustrace.core.errors import ConfigError
from trustrace.runs.identity import Unit
from trustrace.studies.planning import Units

Thing = TypeVar("Thing")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several parts of a run.

    Attributes:
        number: Which one, from 1.
        count: How many there are.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """``3/8`` is the third of eight.

        Raises:
            ConfigError: it is no such thing.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        number, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= count:
            raise ConfigError(f"--shard {text}: expected NUMBER/COUNT with a number from 1 to the count, such as 3/8")
        return cls(number=number, count=count)

    @property
    def name(self) -> str:
        """What its share of a run folder is called; nothing for a run that is not divided."""
        return f"{self.number}-of-{self.count}" if self.count > 1 else ""

    def part(self, things: Sequence[Thing]) -> Sequence[Thing]:
        """Every `count`-th of `things`, so that each part has early ones and late ones, which may differ in cost."""
        return things[self.number - 1 :: self.count]


WHOLE = Shard()
"""A run that is not divided."""


def units_of(plan: Units, shard: Shard) -> tuple[Unit, ...]:
    """The units of `plan` that fall to `shard`: a model is loaded by one shard alone, and all datasets are measured in it there."""
    floors = [plan.floors_unit(statements) for statements in shard.part(plan.datasets)]
    traces = [plan.trace_unit(subject, one) for subject in shard.part(plan.subjects) for one in plan.datasets]
    return (*floors, *traces)
