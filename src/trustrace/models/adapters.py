"""Low-rank adapters: a PEFT folder is a checkpoint whose weights are those of its base, with a product of thin matrices added to some."""

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError, MissingExtraError, UnsafeFileError
from trustrace.models import trusting, weights
from trustrace.models.folders import PROGRESS, FolderSource, checkpoint_in
from trustrace.models.hub import HubSource
from trustrace.models.quiet import quietly

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base"
"""Under this name ``trustrace.json`` says on which weights an adapter was trained: ``checkpoint`` and ``commit``."""

_PICKLED = "adapter_model.bin"
_INSIDE = "adapter"
_PLACES = ("base_model_name_or_path", "revision", "peft_version")

BaseSource = FolderSource | HubSource


@dataclass(frozen=True, kw_only=True)
class AdapterSource:
    """One adapter as a checkpoint of its own.

    Attributes:
        name: The series' name.
        root: The folder of the adapter.
        checkpoint: What it is.
        base: Where the weights are that it changes.
        below: The checkpoint that it changes.
        notices: What a user should know.
    """

    name: str
    root: Path
    checkpoint: Checkpoint
    base: BaseSource
    below: Checkpoint
    notices: tuple[str, ...] = ()

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The one checkpoint."""
        return (self.checkpoint,)

    def pin(self, checkpoint: Checkpoint) -> Checkpoint:
        """`checkpoint` with its commit: SHA-256 over the base's commit, the adapter and the tokenizer.

        Raises:
            CheckpointError: the adapter is incomplete, or the base is not the one that it was trained on.
            UnsafeFileError: its weights are pickled.
        """
        below = self.base.pin(self.below)
        _require_same_base(self.root, below)
        parts = [below.commit, _content(self.root)]
        return replace(checkpoint, commit=hashlib.sha256("\0".join(parts).encode()).hexdigest())

    @contextmanager
    def path(self, checkpoint: Checkpoint, *, with_weights: bool = True) -> Iterator[Path]:
        """A folder of links: what the base's folder holds, the adapter's tokenizer where it has one, and the adapter in ``adapter/``."""
        with (
            self.base.path(self.below, with_weights=with_weights) as below,
            TemporaryDirectory(prefix="trustrace-adapter-") as place,
        ):
            composed = Path(place)
            own = weights.has_tokenizer(self.root)
            for file in below.iterdir():
                if file.is_file() and not (own and file.name in weights.TOKENIZER_FILES):
                    (composed / file.name).symlink_to(file.resolve())
            for name in weights.TOKENIZER_FILES:
                if own and (self.root / name).is_file():
                    (composed / name).symlink_to(self.root / name)
            (composed / _INSIDE).symlink_to(self.root, target_is_directory=True)
            yield composed

    def download_bytes(self, checkpoint: Checkpoint) -> int:
        """What of the base is still to be fetched."""
        return self.base.download_bytes(self.below)

    def fallback_tokenizer(self) -> tuple[str, Path] | None:
        """That of the base."""
        return self.base.fallback_tokenizer()


def is_adapter(folder: Path) -> bool:
    """Whether `folder` holds an adapter and no model of its own."""
    return (folder / CONFIG).is_file() and not (folder / weights.CONFIG).is_file()


def base_of(folder: Path) -> str:
    """Where the base of an adapter is, as :func:`trustrace.models.sources.open_source` takes it.

    Raises:
        CheckpointError: its configuration names none, or a folder that is not there.
    """
    config = weights.read_json(folder / CONFIG)
    named = config.get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise CheckpointError(
            f"{folder}: {CONFIG} names no base; write the folder or the repository of the model that it belongs to "
            "under base_model_name_or_path"
        )
    if len(named) > 4096 or "\0" in named:
        raise CheckpointError(
            f"{folder}: its base {named[:80]!r} is no name of a folder or a repository; write it anew"
        )
    if _is_folder(named):
        return named
    if Path(named).is_absolute() or named.startswith((".", "~")):
        raise CheckpointError(
            f"{folder}: its base {named} is not there; put the model back, or write its new place into {CONFIG}"
        )
    revision = config.get("revision")
    return f"{named}@{revision}" if revision else named


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    # A name that no file system takes, and the home of a user who is none.
    except (OSError, RuntimeError):
        return False


def place_of(source: object, checkpoint: Checkpoint) -> tuple[str, str | None]:
    """Name and revision under which an adapter on `checkpoint` finds it again.

    Raises:
        CheckpointError: it is an adapter itself.
    """
    match source:
        case HubSource():
            return source.name, source.pin(checkpoint).commit
        case FolderSource():
            with source.path(checkpoint) as folder:
                return str(folder), None
    raise CheckpointError(
        f"{checkpoint.key} is an adapter itself; tune it in full, or train one adapter on the base with all the data"
    )


def open_adapter(folder: Path, base: object) -> AdapterSource:
    """The adapter in `folder` on the last checkpoint of `base`.

    Raises:
        CheckpointError: it is of a kind that cannot be merged, its base is an adapter too, or its weights are missing.
        UnsafeFileError: its weights are pickled.
    """
    folder = folder.resolve()
    config = weights.read_json(folder / CONFIG)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{folder}: an adapter of type {kind!r}; only LORA can be merged into its base here")
    if not isinstance(base, FolderSource | HubSource):
        raise CheckpointError(f"{folder}: its base is an adapter too; merge that one and save it as a model first")
    trusting.require_plain_adapter(folder, config)
    _weights_of(folder)
    known = checkpoint_in(folder)
    return AdapterSource(
        name=known.model, root=folder, checkpoint=known, base=base, below=base.checkpoints()[-1], notices=base.notices
    )


def merging_dtype(folder: Path, wanted: torch.dtype | None) -> torch.dtype | None:
    """What to read the weights in `folder` as, so that an adapter can be merged into them before anything is rounded."""
    if wanted is None or not (folder / _INSIDE).is_dir():
        return wanted
    return torch.promote_types(wanted, torch.float32)


def merged(module: PreTrainedModel, folder: Path, *, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """`module` with the adapter in `folder/adapter` merged into it; as it is where there is none.

    An adapter's changes are small beside the weights, and in half precision many would be lost in adding. So the sum is in float32 or
    better, and rounded once.

    Args:
        module: The base, as :func:`merging_dtype` says.
        folder: Where the two lie.
        dtype: What the merged weights are rounded to; what `module` came in if not given.

    Raises:
        CheckpointError: the adapter belongs to a model of another shape.
        MissingExtraError: peft is not installed.
    """
    place = folder / _INSIDE
    if not place.is_dir():
        return module
    peft = peft_of("opening an adapter")
    place, rounded = place.resolve(), dtype or module.dtype
    _cast_(module, torch.promote_types(module.dtype, torch.float32))
    with calmly(), quietly():
        try:
            adapted = peft.PeftModel.from_pretrained(module, str(place))
            expected = set(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
            _require_same_names(place, expected)
            whole: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
        # Peft fails over what it does not expect in a configuration in any way.
        except Exception as error:
            said = str(error).partition("\n")[0][:500] or type(error).__name__
            raise CheckpointError(
                f"{place}: the adapter does not fit its base, which is of another shape: {said}; "
                "open it on the model that it was trained on"
            ) from error
    _cast_(whole, rounded)
    # Peft froze them; a checkpoint that was loaded can be trained on.
    return whole.requires_grad_(True)


def _cast_(module: PreTrainedModel, dtype: torch.dtype) -> None:
    """Weights alone: transformers keeps buffers, such as the frequencies of rotary embeddings, in float32 whatever the weights are in."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.data = weight.data.to(dtype)
    module.config.dtype = dtype


def peft_of(purpose: str) -> Any:
    """The module peft.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import peft
    except ImportError:
        raise MissingExtraError.of("peft", extra="train", purpose=purpose) from None
    return peft


@contextmanager
def calmly() -> Iterator[None]:
    """Without what peft warns of while it wraps a model: names that transformers deprecates, and defaults that it mends itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def _weights_of(folder: Path) -> Path:
    file = folder / WEIGHTS
    if file.is_file():
        return file
    if (folder / _PICKLED).is_file():
        raise UnsafeFileError(
            f"{folder / _PICKLED}: adapter weights in a pickle are not read; save them again as {WEIGHTS}"
        )
    raise CheckpointError(f"{folder}: no {WEIGHTS} beside {CONFIG}; fetch or train the adapter again")


def _content(folder: Path) -> str:
    """What decides the numbers: weights, configuration but for where the base lies, tokenizer."""
    file = _weights_of(folder)
    weights.verify(weights.WeightFiles(kind="safetensors", paths=(file,)))
    config = {name: value for name, value in weights.read_json(folder / CONFIG).items() if name not in _PLACES}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for path in (file, *(folder / name for name in weights.TOKENIZER_FILES)):
        if path.is_file():
            digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _require_same_base(folder: Path, below: Checkpoint) -> None:
    """Do nothing where the base is what the adapter was trained on, or nobody recorded what that was."""
    recorded = weights.read_json(folder / PROGRESS).get(BASE) if (folder / PROGRESS).is_file() else None
    if isinstance(recorded, dict) and recorded.get("commit") != below.commit:
        raise CheckpointError(
            f"{folder}: this adapter was trained on {recorded.get('checkpoint')} with other weights than {below.key} has "
            f"({str(recorded.get('commit'))[:12]} then, {below.commit[:12]} now); open it on the model that it was trained on"
        )


def _require_same_names(place: Path, expected: set[str]) -> None:
    """Of a deeper model an adapter lacks blocks, and of a shallower one it has some too many; peft itself would pass over both."""
    with safe_open(place / WEIGHTS, framework="pt") as opened:
        found = set(opened.keys())
    differing = sorted((expected - found) | {name for name in found - expected if "lora_" in name})
    if differing:
        raise ValueError(f"{len(differing)} weights are on one side alone, among them {differing[0]}")
