"""Vectors, activations, judges and classifiers: safetensors with a manifest beside them.

Where a manifest vouches for numbers by their hash, it is made to vouch for the mutated ones: whoever alters a file on purpose does so too.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from fuzz.driving import Target
from fuzz.mutation import Mutation, of_json, of_tensors
from fuzz.targets.files import of_file
from trustrace.activations.store import Activations, header
from trustrace.core.checkpoints import Checkpoint
from trustrace.evaluation.judges import linear_files
from trustrace.evaluation.judges.features import ANALYZERS, Features
from trustrace.evaluation.judges.features import Terms as JudgeTerms
from trustrace.evaluation.judges.linear import LinearJudge
from trustrace.evaluation.judges.quality import JudgeQuality, as_json, quality_of
from trustrace.evaluation.toxicity import files as toxicity_files
from trustrace.evaluation.toxicity.linear import BLOCKS, LinearClassifier, Terms
from trustrace.steering import files as vector_files
from trustrace.steering.vectors import Scales, SteeringVector

_CHECKPOINT = Checkpoint(family="toy", model="toy", revision="step_1", step=1, tokens_seen=10, commit="c")


def _vector(seed: int) -> SteeringVector:
    direction = torch.randn(8, generator=torch.Generator().manual_seed(seed))
    return SteeringVector(
        site="block_1",
        direction=direction / direction.norm(),
        kind="mass_mean",
        scales=Scales(distance=2.0, within_std=0.5, projection_std=1.25, residual_norm=40.0),
        dataset=f"example {seed}",
        fingerprint="f" * 64,
        checkpoint=_CHECKPOINT,
        position="last",
        n=160,
        n_groups=80,
        seed=3,
        model_type="llama",
        d_model=8,
        n_blocks=3,
        tokenizer="t" * 64,
    )


def _vectors(folder: Path) -> tuple[bytes, bytes]:
    path = folder / "v.safetensors"
    vector_files.save([_vector(0), _vector(1)], path)
    return path.read_bytes(), vector_files.manifest_path(path).read_bytes()


def _read_manifest_of_vectors(manifest: Path) -> object:
    """The manifest's own hash made right where it is a document."""
    try:
        body = json.loads(manifest.read_bytes())
        body.pop("sha256")
        body["sha256"] = _hash(body)
        manifest.write_text(json.dumps(body))
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        pass
    return vector_files.load(manifest.with_name("v.safetensors"))


def _read_vectors(path: Path) -> object:
    body = json.loads((path.parent / "m.json").read_bytes())
    body["tensors_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    body.pop("sha256")
    vector_files.manifest_path(path).write_text(json.dumps(body | {"sha256": _hash(body)}))
    return vector_files.load(path)


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _vectors_beside(folder: Path) -> Sequence[bytes]:
    numbers, manifest = _vectors(folder)
    (folder / "m.json").write_bytes(manifest)
    return [numbers]


def _activations(folder: Path) -> tuple[bytes, bytes]:
    values = np.arange(12, dtype=np.float32).tobytes()
    content = header(sites=("embed", "block_0"), n=3, d_model=4) + values * 2
    opened = Activations(
        path=folder / "a.safetensors",
        checkpoint=_CHECKPOINT,
        sites=("embed", "block_0"),
        position="last",
        fingerprint="f",
        n=3,
        d_model=4,
        provenance={"torch": "2"},
    )
    return content, opened.to_manifest().encode()


def _activations_beside(folder: Path) -> Sequence[bytes]:
    content, manifest = _activations(folder)
    (folder / "a.safetensors.json").write_bytes(manifest)
    theirs = save({site: torch.ones(3, 4) for site in ("embed", "block_0")})
    return [content, theirs]


def _manifest_beside(folder: Path) -> Sequence[bytes]:
    content, manifest = _activations(folder)
    (folder / "a.safetensors").write_bytes(content)
    return [manifest]


def _read_activations(path: Path) -> object:
    opened = Activations.open(path.with_name("a.safetensors"))
    return [opened.values(site) for site in opened.sites], opened.checkpoint.key, sorted([opened.checkpoint] * 2)


def _judge() -> LinearJudge:
    terms = tuple(JudgeTerms(block=block, vocabulary=("a", "b"), idf=np.ones(2)) for block in ANALYZERS)
    numbers = 8
    return LinearJudge(
        name="judge",
        aspect="truth",
        features=Features(terms=terms, means=np.zeros(numbers), spreads=np.ones(numbers), references=None),
        weights=np.zeros(2 * len(terms) + numbers),
        bias=0.0,
        slope=1.0,
        intercept=0.0,
        regulariser=1.0,
        n=10,
        trained_on=frozenset({"q"}),
    )


def _judge_beside(kept: str, mutated: str) -> Callable[[Path], Sequence[bytes]]:
    def valid(folder: Path) -> Sequence[bytes]:
        linear_files.save(_judge(), folder)
        (folder / "kept").write_bytes((folder / kept).read_bytes())
        return [(folder / mutated).read_bytes()]

    return valid


def _read_judge(path: Path) -> object:
    if path.name == linear_files.NUMBERS:
        manifest = json.loads((path.parent / "kept").read_bytes())
        manifest["numbers_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (path.parent / linear_files.MANIFEST).write_text(json.dumps(manifest))
    judge = linear_files.load(path.parent)
    return judge.name, judge.aspect


def _quality(folder: Path) -> Sequence[bytes]:
    numbers = dict.fromkeys(("accuracy", "auroc", "bias"), 0.7)
    ends = {f"{name}_{end}": 0.6 for name in numbers for end in ("lower", "upper")}
    quality = JudgeQuality(
        judge="judge", aspect="truth", **numbers, **ends, ece=0.1, abstained=0.0, majority=0.5, n=3, n_groups=2, note=""
    )
    return [as_json(quality).encode()]


def _read_quality(path: Path) -> object:
    judge = _judge()
    found = quality_of(LinearJudge(**{**vars(judge), "home": path.parent}))
    return found.sentence if found else None


def _classifier(folder: Path) -> LinearClassifier:
    terms = tuple(Terms(block=block, vocabulary=("a", "b"), idf=np.ones(2)) for block in BLOCKS)
    return LinearClassifier(
        terms=terms,
        weights=np.zeros(2 * len(terms)),
        bias=0.0,
        slope=1.0,
        intercept=0.0,
        regulariser=1.0,
        n=10,
        dataset="toxigen@0",
        trained_on=frozenset({"q"}),
    )


def _classifier_beside(kept: str, mutated: str) -> Callable[[Path], Sequence[bytes]]:
    def valid(folder: Path) -> Sequence[bytes]:
        home = folder / "classifier"
        toxicity_files.write_classifier(_classifier(folder), home)
        rows = [{"quantity": name, "role": "measured", "value": 0.5, "n": 3} for name in ("accuracy", "auroc")]
        (home / toxicity_files.CHECK).write_text(json.dumps(rows))
        (folder / "kept").write_bytes((home / kept).read_bytes())
        return [(home / mutated).read_bytes()]

    return valid


def _read_classifier(path: Path) -> object:
    if path.name == toxicity_files.NUMBERS:
        described = json.loads((path.parents[1] / "kept").read_bytes())
        described["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (path.parent / toxicity_files.DESCRIPTION).write_text(json.dumps(described))
    found = toxicity_files.read_classifier(path.parent)
    return found.name, found.note, found.probabilities(["a b"])


def _classifier_file(name: str, mutated: str, mutate: Mutation) -> Target:
    valid = _classifier_beside(toxicity_files.DESCRIPTION, mutated)
    return of_file(name, f"classifier/{mutated}", _read_classifier, valid, mutate)


NUMBERS: tuple[Target, ...] = (
    of_file("vectors_numbers", "v.safetensors", _read_vectors, _vectors_beside, of_tensors),
    of_file("vectors_manifest", "v.safetensors.json", _read_manifest_of_vectors, lambda f: [_vectors(f)[1]], of_json),
    of_file("activations", "a.safetensors", _read_activations, _activations_beside, of_tensors),
    of_file("activations_manifest", "a.safetensors.json", _read_activations, _manifest_beside, of_json),
    of_file(
        "judge_manifest",
        linear_files.MANIFEST,
        _read_judge,
        _judge_beside(linear_files.NUMBERS, linear_files.MANIFEST),
        of_json,
    ),
    of_file(
        "judge_numbers",
        linear_files.NUMBERS,
        _read_judge,
        _judge_beside(linear_files.MANIFEST, linear_files.NUMBERS),
        of_tensors,
    ),
    of_file("judge_quality", "quality.json", _read_quality, _quality, of_json),
    _classifier_file("classifier_description", toxicity_files.DESCRIPTION, of_json),
    _classifier_file("classifier_numbers", toxicity_files.NUMBERS, of_tensors),
    _classifier_file("classifier_check", toxicity_files.CHECK, of_json),
)
