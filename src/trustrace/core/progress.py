"""Progress as a function argument, so that only the command line knows how it looks."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Told of work as it is done."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """`done` of `total` units of `what` are finished."""


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""
