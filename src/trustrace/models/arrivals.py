"""What a stream of checkpoints hands out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.models.sources import CheckpointSource


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A checkpoint whose files are here, or the reason why they are not; a source of that one checkpoint.

    Attributes:
        checkpoint: Which.
        series: Where it comes from.
        folder: Its files, until the next checkpoint is asked for; None asks the series.
        error: Why it could not be fetched.
    """

    checkpoint: Checkpoint
    series: CheckpointSource
    folder: Path | None = None
    error: CheckpointError | None = None

    @property
    def name(self) -> str:
        """The series' name."""
        return self.series.name

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of the series' listing."""
        return self.series.notices

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The one checkpoint."""
        return (self.checkpoint,)

    def pin(self, checkpoint: Checkpoint) -> Checkpoint:
        """`checkpoint` with the commit that pins its weights."""
        return self.series.pin(checkpoint)

    @contextmanager
    def path(self, checkpoint: Checkpoint, *, with_weights: bool = True) -> Iterator[Path]:
        """The folder of `checkpoint`.

        Raises:
            CheckpointError: it could not be fetched.
        """
        if self.error is not None:
            raise self.error
        if self.folder is not None and checkpoint.revision == self.checkpoint.revision:
            yield self.folder
            return
        with self.series.path(checkpoint, with_weights=with_weights) as folder:
            yield folder

    def download_bytes(self, checkpoint: Checkpoint) -> int:
        """How many bytes are still to be fetched."""
        return 0 if self.folder is not None else self.series.download_bytes(checkpoint)

    def fallback_tokenizer(self) -> tuple[str, Path] | None:
        """Name and folder of the tokenizer for checkpoints that have none."""
        return self.series.fallback_tokenizer()
