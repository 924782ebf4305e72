"""A steering vector: a direction at a site, with the scales in which it can be measured out, and where it comes from."""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Float32
from torch import Tensor

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import MeasurementError
from trustrace.core.sites import Site

Kind = Literal["mass_mean", "published", "whitened_mean", "probe_normal", "contrastive_pc", "random", "shuffled_label"]
"""How a direction was found (:mod:`trustrace.steering.building`); ``random`` and ``shuffled_label`` are controls."""

Unit = Literal["distance", "within_std", "projection_std", "residual_norm", "one"]
"""What a strength of 1 means: one of the :class:`Scales`, or a displacement of length 1."""

KINDS: tuple[Kind, ...] = get_args(Kind)
UNITS: tuple[Unit, ...] = get_args(Unit)
CONTROLS: frozenset[Kind] = frozenset({"random", "shuffled_label"})

_UNIT_LENGTH = 1e-4
"""How far from 1 the length of a direction may be: single precision holds it to 1e-6."""


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Lengths along a direction, in the units of the residual stream; NaN where unknown.

    Attributes:
        distance: Between the projected class means.
        within_std: Pooled standard deviation of projections around their class mean.
        projection_std: Standard deviation of all projections, classes together.
        residual_norm: Median norm of the source's activations at the site.
    """

    distance: float
    within_std: float
    projection_std: float
    residual_norm: float

    def of(self, unit: Unit) -> float:
        """The length of one `unit`."""
        return 1.0 if unit == "one" else float(getattr(self, unit))


@dataclass(frozen=True, kw_only=True, eq=False)
class SteeringVector:
    """A direction in the residual stream of one checkpoint. How strongly to apply it is no part of it.

    Attributes:
        site: Where it was found and acts (``block_3``).
        direction: Of length 1. It points to the desired side of its dataset, except for the kind ``published``, which points to label 1 as
            the paper's scripts have it, whatever label 1 means.
        kind: How it was found.
        scales: What a strength can be measured in.
        dataset: The statements' name.
        fingerprint: Of the statements, as :attr:`trustrace.core.statements.Statements.fingerprint`.
        checkpoint: The model it comes from, its commit included.
        position: How a statement's tokens became one activation; empty where unknown.
        n: Rows that it was made from.
        n_groups: Groups among them.
        seed: Of whatever was drawn.
        model_type: The source's architecture, as transformers names it; empty where unknown.
        d_model: Width.
        n_blocks: Depth of the source; 0 where unknown.
        tokenizer: Fingerprint of the source's vocabulary; empty where unknown.
        reliability: Mean cosine of two such directions made from random halves of the groups; NaN where it was not asked.
        replicates: The direction in bootstrap samples of groups, from which geometry has its intervals; None where it was not asked.
    """

    site: str
    direction: Float32[Tensor, " d_model"]
    kind: Kind
    scales: Scales
    dataset: str
    fingerprint: str
    checkpoint: Checkpoint
    position: str
    n: int
    n_groups: int
    seed: int
    model_type: str
    d_model: int
    n_blocks: int
    tokenizer: str
    reliability: float = math.nan
    replicates: Float32[Tensor, "draw d_model"] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        Site.parse(self.site)
        if len(self.direction) != self.d_model:
            raise MeasurementError(
                f"{self.key}: its direction has {len(self.direction)} entries, but d_model is {self.d_model}"
            )
        # Not `abs(...) > bound`: a NaN must fail as well.
        if not abs(float(torch.linalg.vector_norm(self.direction)) - 1) <= _UNIT_LENGTH:
            raise MeasurementError(f"{self.key}: its direction must be finite and of length 1; divide it by its norm")

    @property
    def key(self) -> str:
        """A readable name, such as ``mass_mean:reliability/defined@LLM360--Amber@ckpt_179:block_18``."""
        return f"{self.kind}:{self.dataset}@{self.checkpoint.key}:{self.site}"

    def scaled(self, unit: Unit) -> Float32[Tensor, " d_model"]:
        """The displacement that a strength of 1 in `unit` stands for.

        Raises:
            MeasurementError: the length of this unit is unknown or zero.
        """
        length = self.scales.of(unit)
        if not (math.isfinite(length) and length > 0):
            raise MeasurementError(
                f"{self.key}: its {unit} is {length}, which measures nothing out; take another unit, such as 'one'"
            )
        return self.direction * length
