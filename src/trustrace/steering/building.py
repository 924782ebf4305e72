"""From activations of a dataset to steering vectors, from its development half alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float32
from torch import Tensor

from trustrace.activations.store import Activations
from trustrace.core.draws import generator
from trustrace.core.errors import MeasurementError
from trustrace.core.statements import Statements
from trustrace.measures.config import ProbingConfig
from trustrace.steering.contrast import (
    Contrast,
    Vector,
    development,
    mass_mean,
    reliability,
    resampled,
    scales_of,
    shuffled,
)
from trustrace.steering.directions import LinearFits, contrastive_pc, random_direction
from trustrace.steering.vectors import Kind, Scales, SteeringVector


def build(
    activations: Activations,
    statements: Statements,
    *,
    site: str,
    kinds: Sequence[Kind] = ("mass_mean",),
    seed: int = 0,
    draws: int = 0,
    model_type: str = "",
    n_blocks: int = 0,
    tokenizer: str = "",
    config: ProbingConfig | None = None,
) -> list[SteeringVector]:
    """The vectors of `statements` at `site`, one of each of `kinds`, in their order.

    Only development rows (train and validation) form directions and scales; means are accumulated in double precision.

    * ``mass_mean``: μ_desired - μ_other.
    * ``published``: the paper's scripts: μ₁ - μ₀, label 1 less label 0 whatever they mean, and as `projection_std` the deviation over *all*
      rows given, test rows included: the scripts' strength of 1. The scripts average the first half of the file, here the development half
      does: the one departure, so that no test row forms a direction.
    * ``whitened_mean``: (Σ_within + γ)⁻¹ (μ_desired - μ_other).
    * ``probe_normal``: the normal of the logistic probe on raw activations, its regulariser chosen by grouped inner folds.
    * ``contrastive_pc``: the main axis of differences between paired rows.
    * ``random``: isotropic, another one for each checkpoint, dataset and site, with the scales of the mass mean: equal strengths displace
      equally far.
    * ``shuffled_label``: the mass mean after labels are permuted; its scales are measured along itself, between the permuted sides.

    Args:
        activations: Of the same statements, in their order.
        statements: With their splits and the meaning of their labels.
        site: Which site of the file.
        kinds: Which vectors.
        seed: Of folds, pairs, permutations and draws.
        draws: Bootstrap replicates kept of the mass mean, for intervals of its geometry.
        model_type: The source's architecture, by which a target is checked; empty where unknown.
        n_blocks: The source's depth; 0 where unknown.
        tokenizer: Fingerprint of the source's vocabulary; empty where unknown.
        config: Folds and regularisers of the fitted kinds.

    Raises:
        ConfigError: the file has no such site.
        AlignmentError: the activations are of other statements.
        MeasurementError: rows are NaN, all the same, too few, or of one side; or a direction has no length.
    """
    contrast = development(activations, statements, site=site)
    works = _Works(contrast=contrast, statements=statements, seed=seed, config=config or ProbingConfig())
    template = SteeringVector(
        site=site,
        direction=works.mass_mean.float(),
        kind="mass_mean",
        scales=scales_of(contrast, works.mass_mean),
        dataset=statements.name,
        fingerprint=statements.fingerprint,
        checkpoint=activations.checkpoint,
        position=activations.position,
        n=len(contrast),
        n_groups=contrast.n_groups,
        seed=seed,
        model_type=model_type,
        d_model=activations.d_model,
        n_blocks=n_blocks,
        tokenizer=tokenizer,
    )
    return [_vector(kind, works, template, activations, draws=draws) for kind in kinds]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Works:
    """What several kinds share, each computed when first asked for."""

    contrast: Contrast
    statements: Statements
    seed: int
    config: ProbingConfig

    @cached_property
    def mass_mean(self) -> Vector:
        return _unit(mass_mean(self.contrast), where=self.contrast.where)

    @cached_property
    def fits(self) -> LinearFits:
        return LinearFits(contrast=self.contrast, config=self.config, seed=self.seed)

    @cached_property
    def shuffled(self) -> Contrast:
        return shuffled(self.contrast, seed=self.seed)

    @cached_property
    def reliability(self) -> float:
        return reliability(self.contrast, seed=self.seed)


def _vector(
    kind: Kind, works: _Works, template: SteeringVector, activations: Activations, *, draws: int
) -> SteeringVector:
    contrast = works.contrast
    match kind:
        case "mass_mean":
            return replace(
                template, reliability=works.reliability, replicates=_replicates(contrast, draws=draws, seed=works.seed)
            )
        case "published":
            return _published(works, template, activations)
        case "whitened_mean":
            direction = works.fits.whitened_mean()
        case "probe_normal":
            direction = works.fits.probe_normal()
        case "contrastive_pc":
            direction = contrastive_pc(contrast, seed=works.seed)
        case "random":
            rng = generator(works.seed, "steering", "random", template.checkpoint.key, template.dataset, template.site)
            return replace(template, kind=kind, direction=random_direction(template.d_model, rng=rng).float())
        case "shuffled_label":
            contrast = works.shuffled
            direction = mass_mean(contrast)
    unit = _unit(direction, where=f"{kind} of {contrast.where}")
    known = reliability(contrast, seed=works.seed) if kind == "shuffled_label" else math.nan
    return replace(template, kind=kind, direction=unit.float(), scales=scales_of(contrast, unit), reliability=known)


def _published(works: _Works, template: SteeringVector, activations: Activations) -> SteeringVector:
    """The mass mean towards label 1, with the deviation of the projections of all rows."""
    sign = 1.0 if works.statements.meaning.desired == 1 else -1.0
    direction = sign * works.mass_mean
    projections = activations.values(template.site).double() @ direction
    scales: Scales = replace(template.scales, projection_std=float(projections.std()))
    return replace(
        template, kind="published", direction=direction.float(), scales=scales, reliability=works.reliability
    )


def _replicates(contrast: Contrast, *, draws: int, seed: int) -> Float32[Tensor, "draw d_model"] | None:
    return resampled(contrast, draws=draws, seed=seed).float() if draws else None


def _unit(direction: Vector, *, where: str) -> Vector:
    """`direction` at length 1.

    Raises:
        MeasurementError: it has no length, or is not finite.
    """
    length = float(torch.linalg.vector_norm(direction))
    if not (math.isfinite(length) and length > 0):
        raise MeasurementError(f"{where}: the direction has length {length}; its two sides do not differ")
    return direction / length
