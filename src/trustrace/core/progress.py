"""Progress as a function argument, so that only the command line knows how it looks."""

from typing import Literal, Protocol, runtime_checkable

Stage = Literal[
    "starting",
    "floors",
    "waiting",
    "loading",
    "reading inputs",
    "capturing",
    "measuring",
    "overseeing",
    "courses",
    "concluding",
]
"""What a worker of a run does: one of few things, in this order, those from waiting to measuring again for every checkpoint."""


@runtime_checkable
class Progress(Protocol):
    """Told of work as it is done."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """`done` of `total` units of `what` are finished."""


@runtime_checkable
class Watch(Progress, Protocol):
    """A progress that is told as well which work that is."""

    def stage(self, stage: Stage, *, checkpoint: str | None = None, dataset: str = "") -> None:
        """From now on `stage` is at work; None is the checkpoint that was at work before."""

    def unit(self, *, is_finished: bool) -> None:
        """One more unit was tried here, and is finished or has failed."""


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""


def enter(progress: Progress, stage: Stage, *, checkpoint: str | None = None, dataset: str = "") -> None:
    """Tell `progress` that `stage` begins, where that is something it wants to know."""
    if isinstance(progress, Watch):
        progress.stage(stage, checkpoint=checkpoint, dataset=dataset)


def count_unit(progress: Progress, *, is_finished: bool) -> None:
    """Tell `progress` that one more unit was tried here, where that is something it wants to know."""
    if isinstance(progress, Watch):
        progress.unit(is_finished=is_finished)
