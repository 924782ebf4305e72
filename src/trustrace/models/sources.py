"""Where checkpoints come from: a folder, or a hub repository whose revisions they are."""

import glob
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.models.adapters import base_of, is_adapter, open_adapter
from trustrace.models.folders import open_folder
from trustrace.models.hub import open_hub


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

    def download_bytes(self, checkpoint: Checkpoint) -> int:
        """How many bytes of `checkpoint` are still to be fetched."""

    def fallback_tokenizer(self) -> tuple[str, Path] | None:
        """Name and folder of the tokenizer for checkpoints that have none; None where the series names none."""


def open_source(source: str, *, keep_downloads: bool = True) -> CheckpointSource:
    """The checkpoints at `source`.

    Args:
        source: A folder (a series of checkpoints, a pre-training run, one checkpoint, or a PEFT adapter, which is opened on its base), a
            hub repository (``EleutherAI/pythia-160m``) whose revisions are the checkpoints, or one revision of it
            (``EleutherAI/pythia-160m@step1000``). A folder may be a pattern that fits one folder alone: a study names its results with a
            digest at their end, and ``runs/tuned/*-lora-*`` need not know it.
        keep_downloads: Whether weights fetched from the hub stay in its cache once they have been used; a series can be larger than
            the disk.

    Raises:
        CheckpointError: there is no such place, a pattern fits none or several, there is no checkpoint in it, they are of more than one
            architecture, or an adapter's base is gone.
        UnsafeFileError: an adapter's weights are pickled.
    """
    folder = _folder_of(source)
    if is_adapter(folder):
        return open_adapter(folder, open_source(base_of(folder), keep_downloads=keep_downloads))
    if folder.is_dir():
        return open_folder(folder)
    repository, _, revision = source.partition("@")
    if folder.exists() or source.startswith((".", "/", "~")) or repository.count("/") > 1:
        raise CheckpointError(
            f"{source}: no such folder; expected a folder of checkpoints or a hub repository ('owner/name')"
        )
    return open_hub(repository, revision=revision or None, keep_downloads=keep_downloads)


def _folder_of(source: str) -> Path:
    """The folder that `source` names, if it names one; no repository's name can be a pattern."""
    folder = Path(source).expanduser()
    if folder.exists() or not glob.has_magic(source):
        return folder
    fitting = sorted(path for path in Path(folder.anchor).glob(str(folder.relative_to(folder.anchor))) if path.is_dir())
    if len(fitting) != 1:
        found = (
            f"fits {len(fitting)} folders ({', '.join(path.name for path in fitting[:4])})" if fitting else "fits none"
        )
        raise CheckpointError(
            f"{source}: a source is one folder, and this pattern {found}; write more of the folder's name"
        )
    return fitting[0]
