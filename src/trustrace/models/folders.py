"""Checkpoints in a folder: a series of sub-folders as Hugging Face, its Trainer, or ``trustrace pretrain`` writes them, or just one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.models import weights

PROGRESS = "trustrace.json"
"""What ``trustrace pretrain`` writes beside the weights: ``step``, ``tokens_seen`` and the held-out loss."""

_TRAINER_STATE = "trainer_state.json"
_STEP = re.compile(r"(?:checkpoint|step|global_step)[-_]?(\d+)(?:-tokens(\d+)B)?")


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """A folder of checkpoints.

    Attributes:
        name: The series' name, that of the folder.
        root: The folder that holds the checkpoints, or is one.
        folders: Each checkpoint and where it is.
        notices: What a user should know of the listing: sub-folders that were left out and why.
    """

    name: str
    root: Path
    folders: tuple[tuple[Checkpoint, Path], ...]
    notices: tuple[str, ...] = ()

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All checkpoints, in order of training."""
        return tuple(sorted(checkpoint for checkpoint, _ in self.folders))

    def pin(self, checkpoint: Checkpoint) -> Checkpoint:
        """`checkpoint` with its commit: SHA-256 over the content of weights, configuration and tokenizer."""
        return replace(checkpoint, commit=weights.content_hash(self._folder(checkpoint)))

    @contextmanager
    def path(self, checkpoint: Checkpoint, *, with_weights: bool = True) -> Iterator[Path]:
        """The folder of `checkpoint`; nothing is fetched, whatever `with_weights` says."""
        yield self._folder(checkpoint)

    def download_bytes(self, checkpoint: Checkpoint) -> int:
        """What fetching `checkpoint` would add to the disk: nothing."""
        return 0

    def fallback_tokenizer(self) -> tuple[str, Path] | None:
        """Name and folder of the tokenizer for checkpoints that have none: beside the series, in ``tokenizer/``, or above it."""
        for folder in (self.root, self.root / "tokenizer", self.root.parent / "tokenizer", self.root.parent):
            if weights.has_tokenizer(folder):
                return (str(folder), folder)
        return None

    def _folder(self, checkpoint: Checkpoint) -> Path:
        for known, folder in self.folders:
            if known.revision == checkpoint.revision:
                return folder
        known_revisions = ", ".join(known.revision for known in self.checkpoints())
        raise CheckpointError(f"{self.root}: no checkpoint {checkpoint.revision!r}; there are: {known_revisions}")


def open_folder(root: Path) -> FolderSource:
    """The checkpoints in `root`: its sub-folders that are checkpoints, those in ``root/checkpoints``, or `root` itself.

    Raises:
        CheckpointError: there is none, or they are of more than one architecture.
    """
    root = root.resolve()
    for folder in (root, root / "checkpoints"):
        found, left_out = _sub_folders(folder)
        if found:
            return _series(folder, found, left_out)
    if (root / weights.CONFIG).is_file():
        return _single(root)
    raise CheckpointError(
        f"{root}: no checkpoints; expected a {weights.CONFIG} in it, in its sub-folders, or in those of {root.name}/checkpoints"
    )


def _sub_folders(folder: Path) -> tuple[list[Path], list[Path]]:
    """Sub-folders that are checkpoints, and those that hold weights but no configuration; hidden ones are unfinished and not ours."""
    if not folder.is_dir():
        return [], []
    candidates = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [path for path in candidates if (path / weights.CONFIG).is_file()]
    broken = [path for path in candidates if path not in found and any(path.glob("*.safetensors"))]
    return found, broken


def _series(folder: Path, found: list[Path], left_out: list[Path]) -> FolderSource:
    _require_one_architecture(found)
    name = folder.parent.name if folder.name == "checkpoints" else folder.name
    notices = [f"{path.name} is left out: it holds weights but no {weights.CONFIG}" for path in left_out]
    if (folder / weights.CONFIG).is_file():
        notices.append(f"the checkpoint in {folder.name} itself is left out, because its sub-folders are a series")
    described = tuple((_describe(path, model=name), path) for path in found)
    return FolderSource(name=name, root=folder, folders=described, notices=tuple(notices))


def _single(root: Path) -> FolderSource:
    checkpoint = checkpoint_in(root)
    return FolderSource(name=checkpoint.model, root=root, folders=((checkpoint, root),))


def checkpoint_in(root: Path) -> Checkpoint:
    """One checkpoint: of the series it stands in if its name or its progress file says so, and else a model of its own."""
    if (root / PROGRESS).is_file() or _STEP.fullmatch(root.name):
        series = root.parent.parent if root.parent.name == "checkpoints" else root.parent
        return _describe(root, model=series.name)
    return Checkpoint(family="folder", model=root.name, revision="main")


def _describe(folder: Path, *, model: str) -> Checkpoint:
    """The checkpoint in `folder`, its step and tokens from whatever was written beside it, or else from its name."""
    if (folder / PROGRESS).is_file():
        progress = weights.read_json(folder / PROGRESS)
        step, tokens = _count(folder, progress, "step"), _count(folder, progress, "tokens_seen")
        return Checkpoint(family="pretrain", model=model, revision=folder.name, step=step, tokens_seen=tokens)
    if (folder / _TRAINER_STATE).is_file():
        state = weights.read_json(folder / _TRAINER_STATE)
        # The Trainer writes 0 tokens when it was not asked to count them.
        tokens = _count(folder, state, "num_input_tokens_seen") or None
        step = _count(folder, state, "global_step")
        return Checkpoint(family="folder", model=model, revision=folder.name, step=step, tokens_seen=tokens)
    match = _STEP.fullmatch(folder.name)
    step = int(match[1]) if match else None
    tokens = int(match[2]) * 10**9 if match and match[2] else None
    return Checkpoint(family="folder", model=model, revision=folder.name, step=step, tokens_seen=tokens)


def _count(folder: Path, values: dict[str, object], key: str) -> int | None:
    value = values.get(key)
    if value is None or (isinstance(value, int) and value >= 0):
        return value
    raise CheckpointError(f"{folder}: {key} is {value!r}, expected a whole number of at least 0")


def _require_one_architecture(folders: list[Path]) -> None:
    first, *others = [(folder, weights.architecture(weights.read_config(folder))) for folder in folders]
    for folder, shape in others:
        # Versions of transformers differ in which defaults they write, so only what both say can contradict.
        both = {key: (first[1][key], value) for key, value in shape.items() if None not in (value, first[1][key])}
        different = {key: values for key, values in both.items() if values[0] != values[1]}
        if different:
            raise CheckpointError(
                f"{folder.parent}: {folder.name} is of another architecture than {first[0].name}: "
                + ", ".join(f"{key} {mine!r} instead of {theirs!r}" for key, (theirs, mine) in different.items())
                + "; a series must be of one architecture, so put them into separate folders"
            )
