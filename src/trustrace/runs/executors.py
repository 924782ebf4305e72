"""How work is spread. The ledger decides what is done; an executor is disposable."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Executor(Protocol):
    """Applies a function to items, in any order, on any machine."""

    def map(self, function: Callable[[Item], Outcome], items: Iterable[Item]) -> Iterator[Outcome]:
        """Outcomes as they come."""
        ...


class SerialExecutor:
    """One item after the other, in this process."""

    def map(self, function: Callable[[Item], Outcome], items: Iterable[Item]) -> Iterator[Outcome]:
        """Outcomes in the order of `items`."""
        return map(function, items)
