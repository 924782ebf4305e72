"""Vectors as other tools read them. An export is one way: the exact vector, with all it knows, is the file of this package.

* GGUF control vector, for llama.cpp and what loads its files: ``direction.N`` is added to the output of block N, counted from 0.
* A dictionary for the harness's model ``steered``, which adds at every position, those of the prompt included.
* Plain numpy.

All of them hold displacements: strength times unit times direction. A tool that asks for a strength of its own multiplies that once more.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from trustrace.core.errors import AlignmentError, ConfigError, DataError, MissingExtraError
from trustrace.core.sites import Site
from trustrace.steering.files import replacing
from trustrace.steering.vectors import SteeringVector, Unit

Displacements = Mapping[str, Float32[Tensor, " d_model"]]

_FIRST_GGUF_BLOCK = 1


def displacements(vectors: Sequence[SteeringVector], *, alpha: float, unit: Unit) -> Displacements:
    """What each site's residual stream is moved by, site by site in order of depth.

    Raises:
        ConfigError: `alpha` is NaN or infinite.
        DataError: there are no vectors, or two stand at one site.
        AlignmentError: they come from different models.
        MeasurementError: a vector does not know the length of the unit.
    """
    if not np.isfinite(alpha):
        raise ConfigError(f"alpha is {alpha}; give a finite strength")
    ordered = sorted(vectors, key=lambda vector: Site.parse(vector.site))
    sites = [vector.site for vector in ordered]
    if not sites or len(set(sites)) < len(sites):
        raise DataError(
            f"an export holds one vector a site, but these stand at {sites or 'no site'}; choose among them"
        )
    models = {(vector.checkpoint.key, vector.model_type, vector.d_model) for vector in ordered}
    if len(models) > 1:
        raise AlignmentError(f"vectors of several models cannot share a file: {sorted(key for key, *_ in models)}")
    return {vector.site: alpha * vector.scaled(unit) for vector in ordered}


def to_gguf(vectors: Sequence[SteeringVector], path: Path, *, alpha: float = 1.0, unit: Unit = "distance") -> None:
    """Write a GGUF control vector.

    Clients have a strength of their own (``--control-vector-scaled FILE S``), which multiplies `alpha`: 1 leaves it to them.

    Raises:
        ConfigError: a vector stands where the format has no place: at ``embed``, ``final_norm`` or ``block_0``.
        MissingExtraError: gguf is not installed.
        RunError: the file cannot be written.
    """
    moves = displacements(vectors, alpha=alpha, unit=unit)
    numbers = {_gguf_block(site): move for site, move in moves.items()}
    try:
        from gguf import GGUFWriter
    except ImportError:
        raise MissingExtraError.of("gguf", extra="export", purpose="a GGUF control vector") from None
    with replacing(path) as draft:
        writer = GGUFWriter(draft, "controlvector")
        try:
            writer.add_string("controlvector.model_hint", vectors[0].model_type)
            writer.add_uint32("controlvector.layer_count", len(numbers))
            writer.add_description(f"{', '.join(vector.key for vector in vectors)}; {alpha:g} x {unit}")
            for number, move in numbers.items():
                writer.add_tensor(f"direction.{number}", move.numpy())
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


def to_lm_eval(
    vectors: Sequence[SteeringVector],
    path: Path,
    *,
    modules: Mapping[str, str],
    alpha: float = 1.0,
    unit: Unit = "distance",
) -> None:
    """Write a file for ``lm_eval --model steered --model_args pretrained=...,steer_path=PATH``.

    The unit is in the vector, `alpha` is its coefficient. The harness adds it at all positions, so it answers as the position ``all``.

    Args:
        vectors: One a site.
        path: A ``.pt`` file; the harness goes by that ending.
        modules: The name of each site's module in the target, below its base model
            (:func:`trustrace.models.fingerprints.module_names`).
        alpha: The strength.
        unit: Of the strength.

    Raises:
        ConfigError: the ending is another, or a site is the output of no module.
        RunError: the file cannot be written.
    """
    if path.suffix != ".pt":
        raise ConfigError(f"{path}: the harness reads steering files that end in .pt")
    displacements(vectors, alpha=alpha, unit=unit)
    absent = sorted({vector.site for vector in vectors} - set(modules))
    if absent:
        raise ConfigError(f"{absent} are the output of no module of this model, so the harness cannot steer there")
    entries: dict[str, dict[str, Any]] = {
        modules[vector.site]: {
            "steering_vector": vector.scaled(unit).clone(),
            "steering_coefficient": float(alpha),
            "action": "add",
            "bias": None,
            "head_index": None,
        }
        for vector in vectors
    }
    with replacing(path) as draft:
        torch.save(entries, draft)


def to_numpy(vectors: Sequence[SteeringVector], path: Path, *, alpha: float = 1.0, unit: Unit = "distance") -> None:
    """Write an ``.npz`` archive: the displacement of each site under its name, in single precision.

    Raises:
        ConfigError: the ending is another.
        RunError: the file cannot be written.
    """
    if path.suffix != ".npz":
        raise ConfigError(f"{path}: an archive of numpy arrays ends in .npz")
    moves = displacements(vectors, alpha=alpha, unit=unit)
    arrays: dict[str, Any] = {site: move.numpy() for site, move in moves.items()}
    with replacing(path) as draft:
        np.savez(draft, **arrays)


def _gguf_block(site: str) -> int:
    """The number of `site` in the format."""
    depth = Site.parse(site).depth - 1
    if not site.startswith("block_") or depth < _FIRST_GGUF_BLOCK:
        raise ConfigError(
            f"{site} has no place in a GGUF control vector, whose first is direction.1 for block_1; take a vector of a later block, "
            "or export to lm-eval or numpy"
        )
    return depth
