"""Steering vectors on disk: a safetensors file of numbers, and a JSON manifest beside it that says what they are.

The manifest vouches for the numbers by their hash, and for itself by its own. A new one lies beside the old one before the numbers are
replaced, and takes its place after: whenever the process is killed, one of the two vouches for the numbers that are there. Nothing that is
read here can run code: a pickle is refused whatever its name is.
"""

import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import Tensor
from typing_extensions import TypedDict

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.documents import RecordedCheckpoint, shaped
from trustrace.core.errors import DataError, IntegrityError, MeasurementError, RunError, TrustraceError, UnsafeFileError
from trustrace.steering.vectors import KINDS, Scales, SteeringVector

FORMAT = "trustrace-vectors-1"
SUFFIX = ".safetensors"

_PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".npy", ".npz")
# A zip archive, as torch and numpy write; the opcode that begins a pickle; numpy's own mark.
_PICKLE_MARKS = (b"PK\x03\x04", b"\x80", b"\x93NUMPY")
_TENSORS = ("direction", "replicates")


class _Scales(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    distance: float | None
    within_std: float | None
    projection_std: float | None
    residual_norm: float | None


class _Vector(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    site: str
    kind: str
    scales: _Scales
    dataset: str
    fingerprint: str
    checkpoint: RecordedCheckpoint
    position: str
    n: int
    n_groups: int
    seed: int
    model_type: str
    d_model: int
    n_blocks: int
    tokenizer: str
    reliability: float | None


class _Manifest(TypedDict):
    format: str
    tensors_sha256: str
    vectors: list[_Vector]
    sha256: str


def save(vectors: Sequence[SteeringVector], path: Path) -> tuple[Path, ...]:
    """Write `vectors`, all into one file where `path` ends in ``.safetensors``, otherwise into a folder, a file each.

    A file that is there already is replaced, whole or not at all.

    Returns:
        The files.

    Raises:
        DataError: there is nothing to write, two vectors have one key, or one would take the file of another.
        RunError: the disk is full or not writable.
    """
    repeated = {vector.key for vector in vectors if [other.key for other in vectors].count(vector.key) > 1}
    if repeated or not vectors:
        raise DataError(
            f"{path}: {f'two vectors are called {min(repeated)!r}' if repeated else 'no vectors'}; give each once"
        )
    if path.suffix == SUFFIX:
        _save_file(vectors, path)
        return (path,)
    files = tuple(path / f"{_slug(vector.key)}{SUFFIX}" for vector in vectors)
    for vector, file in zip(vectors, files, strict=True):
        _require_own(vector, file, [other for other, place in zip(vectors, files, strict=True) if place == file])
    for vector, file in zip(vectors, files, strict=True):
        _save_file([vector], file)
    return files


def load(path: Path) -> tuple[SteeringVector, ...]:
    """The vectors of a file, or of every file of a folder in order of their names.

    Raises:
        DataError: there is no such place, no vector in it, or a file is another tool's.
        IntegrityError: a file was truncated or edited, or its manifest is missing.
        UnsafeFileError: a file is a pickle, which could run code.
    """
    if not path.is_dir():
        return _load_file(path)
    files = sorted(path.glob(f"*{SUFFIX}"))
    if not files:
        raise DataError(f"{path} holds no vector; name a folder that 'trustrace vectors build' wrote")
    return tuple(vector for file in files for vector in _load_file(file))


def manifest_path(path: Path) -> Path:
    """Where the manifest of `path` lies."""
    return path.with_name(f"{path.name}.json")


def _next_manifest(path: Path) -> Path:
    """Where the manifest of what `path` will hold lies until it does."""
    return path.with_name(f"{path.name}.json.next")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` when the body succeeds and vanishes when it does not.

    Raises:
        RunError: the disk is full or not writable; `path` is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".scratch-", dir=path.parent) as scratch:
            draft = Path(scratch) / path.name
            yield draft
            with draft.open("rb+") as written:
                os.fsync(written.fileno())
            draft.replace(path)
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror or error}; choose another folder") from error


def _require_own(vector: SteeringVector, file: Path, of_this_name: Sequence[SteeringVector]) -> None:
    """Do nothing where `file` is, or will be, `vector`'s alone: different keys may be one as files' names."""
    keys = [other.key for other in of_this_name]
    # Nothing may be there, or nothing whole: that is replaced.
    with suppress(TrustraceError):
        keys += [other.key for other in _load_file(file)]
    if others := sorted(set(keys) - {vector.key}):
        raise DataError(
            f"{file} would hold both {vector.key!r} and {others[0]!r}, whose names differ in nothing that a file's name keeps; give one "
            "dataset another name, or write them into folders of their own"
        )


def _save_file(vectors: Sequence[SteeringVector], path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for place, vector in enumerate(vectors):
        named = {"direction": vector.direction, "replicates": vector.replicates}
        tensors |= {f"{name}.{place}": one.contiguous() for name, one in named.items() if one is not None}
    content = bytes_of(tensors, metadata={"format": FORMAT})
    body = {
        "format": FORMAT,
        "tensors_sha256": hashlib.sha256(content).hexdigest(),
        "vectors": [_described(vector) for vector in vectors],
    }
    with replacing(_next_manifest(path)) as draft:
        draft.write_text(json.dumps(body | {"sha256": _hash(body)}, indent=2, allow_nan=False), encoding="utf-8")
    with replacing(path) as draft:
        draft.write_bytes(content)
    try:
        _next_manifest(path).replace(manifest_path(path))
    except OSError as error:
        raise RunError(f"{manifest_path(path)} could not be written: {error.strerror or error}") from error


def _described(vector: SteeringVector) -> dict[str, Any]:
    """Everything but the tensors, as JSON has it: an unknown number is null."""
    values = {one.name: getattr(vector, one.name) for one in fields(vector) if one.name not in _TENSORS}
    values["checkpoint"] = asdict(vector.checkpoint)
    values["scales"] = {name: _or_null(value) for name, value in asdict(vector.scales).items()}
    values["reliability"] = _or_null(vector.reliability)
    return values


def _load_file(path: Path) -> tuple[SteeringVector, ...]:
    content = _content(path)
    _require_no_pickle(path, content)
    if path.suffix != SUFFIX:
        raise DataError(
            f"{path} is no vector file of trustrace, whose vectors end in {SUFFIX}; exports are not read back"
        )
    body = _manifest(path, content)
    try:
        tensors = tensors_of(content)
        return tuple(_vector(values, tensors, place) for place, values in enumerate(body["vectors"]))
    except (TrustraceError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{manifest_path(path)} describes no vector ({error}); build it again") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; name a file or folder that 'trustrace vectors build' wrote") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _require_no_pickle(path: Path, content: bytes) -> None:
    if path.suffix in _PICKLES or content.startswith(_PICKLE_MARKS):
        raise UnsafeFileError(
            f"{path} may hold a pickle, which can run code when read; vectors are read from {SUFFIX} files alone: "
            "build the vector again with 'trustrace vectors build'"
        )


def _manifest(path: Path, content: bytes) -> dict[str, Any]:
    """The manifest that vouches for `content`, which `path` holds: its own, or the one that was to take its place."""
    vouched = hashlib.sha256(content).hexdigest()
    coming = _next_manifest(path)
    if coming.is_file() and (body := _whole(coming))["tensors_sha256"] == vouched:
        return body
    if not manifest_path(path).is_file():
        raise _orphan(path, content)
    body = _whole(manifest_path(path))
    if body["tensors_sha256"] != vouched:
        raise IntegrityError(
            f"{path} differs from what its manifest vouches for: it was truncated or edited; build it again"
        )
    return body


def _whole(manifest: Path) -> dict[str, Any]:
    """A manifest, once its hash has been seen to be right."""
    way_out = "it is no manifest of vectors; build the vectors again"
    body = shaped(manifest.read_bytes(), _Manifest, where=manifest, error=IntegrityError, way_out=way_out)
    vouched = body.pop("sha256")
    if body.get("format") != FORMAT:
        raise DataError(f"{manifest} is of format {body.get('format')!r}; this version reads {FORMAT!r}")
    if vouched != _hash(body):
        raise IntegrityError(f"{manifest} was edited: its content differs from its hash; build the vectors again")
    return dict(body)


def _orphan(path: Path, content: bytes) -> TrustraceError:
    """What a file without a manifest is: half of ours, somebody else's, or no safetensors file at all."""
    try:
        tensors_of(content)
    except SafetensorError as error:
        return IntegrityError(f"{path} is no whole safetensors file ({error}); build the vector again")
    if FORMAT.encode() in content[: 8 + int.from_bytes(content[:8], "little")]:
        return IntegrityError(f"{path} has no manifest {manifest_path(path).name}; copy both files, or build it again")
    return DataError(f"{path} was written by another tool; a vector needs its site, sign and scales: build it here")


def _vector(values: dict[str, Any], tensors: dict[str, Tensor], place: int) -> SteeringVector:
    if values["kind"] not in KINDS:
        raise MeasurementError(f"unknown kind {values['kind']!r}")
    scales = {name: _or_nan(value) for name, value in values.pop("scales").items()}
    return SteeringVector(
        direction=tensors[f"direction.{place}"],
        replicates=tensors.get(f"replicates.{place}"),
        checkpoint=Checkpoint(**values.pop("checkpoint")),
        scales=Scales(**scales),
        reliability=_or_nan(values.pop("reliability")),
        **values,
    )


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _slug(key: str) -> str:
    """`key` as a file's name."""
    return re.sub(r"[^\w.@=+-]+", "-", key.replace(":", "_"))


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
