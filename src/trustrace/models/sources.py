"""Where checkpoints come from: a folder, or a hub repository whose revisions they are."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.models.folders import open_folder


@runtime_checkable
class CheckpointSource(Protocol):
    """A series of checkpoints of one training."""

    @property
    def name(self) -> str:
        """The series' name: a folder's, or the repository's."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of the listing, a sentence each."""

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All checkpoints, in order of training."""

    def pin(self, checkpoint: Checkpoint) -> Checkpoint:
        """`checkpoint` with the commit that pins its weights."""

    def path(self, checkpoint: Checkpoint, *, with_weights: bool = True) -> AbstractContextManager[Path]:
        """A folder that holds `checkpoint` while the context is open; `with_weights` False asks for configuration and tokenizer alone."""

    def fallback_tokenizer(self) -> tuple[str, Path] | None:
        """Name and folder of the tokenizer for checkpoints that have none; None where the series names none."""


def open_source(source: str) -> CheckpointSource:
    """The checkpoints at `source`.

    Args:
        source: A folder (a series of checkpoints, a pre-training run, or one checkpoint).

    Raises:
        CheckpointError: there is no checkpoint, or they are of more than one architecture.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return open_folder(folder)
    raise CheckpointError(f"{source}: no such folder")
