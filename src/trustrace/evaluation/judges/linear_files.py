"""A linear judge on disk: numbers as safetensors, everything else as JSON; nothing in it can run code."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as bytes_of
from typing_extensions import TypedDict

from trustrace.core.documents import parsed, require_shape
from trustrace.core.errors import DataError, IntegrityError
from trustrace.evaluation.judges.features import ANALYZERS, Features, Terms
from trustrace.evaluation.judges.judge import Aspect
from trustrace.evaluation.judges.linear import LinearJudge
from trustrace.evaluation.judges.references import read_references

FORMAT = "trustrace-linear-judge-1"
MANIFEST = "judge.json"
NUMBERS = "judge.safetensors"


class _Manifest(TypedDict):
    name: str
    aspect: Aspect
    bias: float
    slope: float
    intercept: float
    regulariser: float
    n: int
    needs_references: bool
    trained_on: list[str]
    vocabulary: dict[str, list[str]]
    numbers_sha256: str


_PLAIN = ("name", "aspect", "bias", "slope", "intercept", "regulariser", "n")


def save(judge: LinearJudge, folder: Path) -> None:
    """Write `judge` into `folder`, which exists; the manifest is written last and vouches for the numbers by their hash."""
    arrays = {
        "weights": judge.weights,
        "means": judge.features.means,
        "spreads": judge.features.spreads,
        **{f"idf.{one.block}": one.idf for one in judge.features.terms},
    }
    content = bytes_of({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    manifest: dict[str, Any] = {
        "format": FORMAT,
        **{name: getattr(judge, name) for name in _PLAIN},
        "needs_references": judge.features.references is not None,
        "trained_on": sorted(judge.trained_on),
        "vocabulary": {one.block: one.vocabulary for one in judge.features.terms},
        "numbers_sha256": hashlib.sha256(content).hexdigest(),
    }
    (folder / NUMBERS).write_bytes(content)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


def load(folder: Path, *, data_dir: Path | None = None) -> LinearJudge:
    """The judge in `folder`, with the reference answers from `data_dir` where it compares with them.

    Raises:
        DataError: there is none, or it is of another format.
        IntegrityError: its files do not belong together.
    """
    manifest = _manifest(folder)
    arrays = _arrays(folder, manifest)
    try:
        terms = tuple(
            Terms(block=block, vocabulary=tuple(manifest["vocabulary"][block]), idf=arrays[f"idf.{block}"])
            for block in ANALYZERS
        )
        features = Features(
            terms=terms,
            means=arrays["means"],
            spreads=arrays["spreads"],
            references=read_references(data_dir=data_dir) if manifest["needs_references"] else None,
        )
        judge = LinearJudge(
            features=features,
            weights=arrays["weights"],
            trained_on=frozenset(manifest["trained_on"]),
            home=folder,
            **{name: manifest[name] for name in _PLAIN},
        )
    except KeyError as error:
        raise IntegrityError(f"{folder / MANIFEST} lacks {error}; train the judge again") from None
    _require_shapes(judge, folder)
    return judge


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{folder} holds no judge ({MANIFEST} is missing); train one: trustrace judge train --out {folder}"
        )
    again = "train the judge again"
    manifest: dict[str, Any] = parsed(path.read_bytes(), dict, where=path, error=IntegrityError, way_out=again)
    if manifest.get("format") != FORMAT:
        raise DataError(
            f"{path} is of format {str(manifest.get('format'))[:80]!r}, expected {FORMAT!r}; {again} with this version"
        )
    require_shape(manifest, _Manifest, where=path, error=IntegrityError, way_out=again)
    return manifest


def _arrays(folder: Path, manifest: dict[str, Any]) -> dict[str, np.ndarray]:
    path = folder / NUMBERS
    content = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != manifest.get("numbers_sha256"):
        raise IntegrityError(
            f"{path} has SHA-256 {found}, its manifest says {manifest.get('numbers_sha256')}; train the judge again"
        )
    try:
        arrays = dict(arrays_of(content))
    # Numpy lacks some of the types that a header may name.
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path} is no safetensors file ({error}); train the judge again") from None
    if wrong := [name for name, array in arrays.items() if array.dtype != np.float64 or array.ndim != 1]:
        raise IntegrityError(f"{path}: {wrong[0]} is no row of numbers in double precision; train the judge again")
    return arrays


def _require_shapes(judge: LinearJudge, folder: Path) -> None:
    sizes = [len(one.vocabulary) for one in judge.features.terms]
    fits = all(len(one.vocabulary) == len(one.idf) for one in judge.features.terms)
    fits = fits and len(judge.features.means) == len(judge.features.spreads)
    if not fits or sum(sizes) + len(judge.features.means) != len(judge.weights):
        raise IntegrityError(
            f"{folder} has {len(judge.weights)} weights for {sum(sizes)} terms and {len(judge.features.means)} numbers; "
            "train the judge again"
        )
