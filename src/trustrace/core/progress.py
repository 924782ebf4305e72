"""Progress as a function argument, so that only the command line knows how it looks."""

from typing import Literal, Protocol, runtime_checkable

Stage = Literal[
    "starting", "floors", "waiting", "loading", "reading inputs", "capturing", "measuring", "courses", "concluding"
]
"""What a worker of a run does: one of few things, in this order, the middle ones again for every checkpoint."""


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

    def failed(self, count: int) -> None:
        """`count` of the units have failed and not succeeded since."""


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""


def enter(progress: Progress, stage: Stage, *, checkpoint: str | None = None, dataset: str = "") -> None:
    """Tell `progress` that `stage` begins, where that is something it wants to know."""
    if isinstance(progress, Watch):
        progress.stage(stage, checkpoint=checkpoint, dataset=dataset)


def count_failed(progress: Progress, count: int) -> None:
    """Tell `progress` how many units have failed, where that is something it wants to know."""
    if isinstance(progress, Watch):
        progress.failed(count)
