"""The rows that vectors are made from: the development half of a dataset at one site, with the side that each row shows."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from trustrace.activations.store import Activations
from trustrace.core.draws import generator
from trustrace.core.errors import AlignmentError, MeasurementError
from trustrace.core.intervals import cluster_weights
from trustrace.core.statements import Statements
from trustrace.measures.information.exchange import block_permutations
from trustrace.steering.vectors import Scales

FEWEST = 2
"""Rows of each side: one row has no spread."""

# Below this share of their size, activations differ by rounding alone.
_CONSTANT = 1e-10

Vector = Float64[Tensor, " d_model"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """Activations of two sides.

    Attributes:
        values: One activation a row, in double precision.
        desired: Whether a row shows what a trustworthy model should show.
        groups: Of each row.
        where: What these rows are, for messages.
    """

    values: Float64[Tensor, "row d_model"]
    desired: Bool[np.ndarray, " row"]
    groups: tuple[str, ...]
    where: str

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return len(set(self.groups))

    def side(self, *, desired: bool) -> Float64[Tensor, "side d_model"]:
        """The rows of one side."""
        return self.values[torch.from_numpy(self.desired == desired)]

    def relabelled(self, desired: Bool[np.ndarray, " row"]) -> "Contrast":
        """The same rows with other sides."""
        return replace(self, desired=desired)


def development(activations: Activations, statements: Statements, *, site: str) -> Contrast:
    """The development rows (train and validation) of `statements` at `site`; test rows never reach a vector.

    Raises:
        ConfigError: the file has no such site.
        AlignmentError: the activations were captured from other statements.
        MeasurementError: a value is NaN or infinite, the rows do not differ, or a side has fewer than two rows.
    """
    _require_alignment(activations, statements)
    rows = np.flatnonzero([split != "test" for split in statements.splits])
    where = f"{statements.name} at {site} of {activations.checkpoint.key}"
    contrast = Contrast(
        values=activations.values(site)[torch.from_numpy(rows)].double(),
        desired=np.asarray(statements.labels)[rows] == statements.meaning.desired,
        groups=tuple(statements.groups[row] for row in rows),
        where=where,
    )
    _require_two_sides(contrast)
    return contrast


def mass_mean(contrast: Contrast) -> Vector:
    """μ_desired - μ_other, of whatever length."""
    return contrast.side(desired=True).mean(0) - contrast.side(desired=False).mean(0)


def shuffled(contrast: Contrast, *, seed: int) -> Contrast:
    """The rows with their sides permuted: inside each group, and between whole groups of one size.

    The permutation depends on groups, sides and `seed` alone: every checkpoint and site gets the same one.

    Raises:
        MeasurementError: no permutation moves a label, because no group has two sides and no two groups are of one size.
    """
    sides = contrast.desired.astype(np.int64)
    rng = generator(seed, "steering", "shuffled_label")
    # A small set may happen to stay as it is; a set that nothing moves never changes.
    drawn = block_permutations(sides, contrast.groups, draws=32, rng=rng)
    moved = (drawn != sides[:, None]).any(axis=0)
    if not moved.any():
        raise MeasurementError(
            f"{contrast.where}: labels cannot be shuffled, since every group holds one label and no two groups are of one size; "
            "leave the kind 'shuffled_label' out"
        )
    return contrast.relabelled(drawn[:, int(moved.argmax())] == 1)


def scales_of(contrast: Contrast, direction: Vector) -> Scales:
    """The lengths along `direction`, which has length 1: standard deviations are unbiased, the pooled one over n - 2."""
    projections = (contrast.values @ direction).numpy()
    upper, lower = projections[contrast.desired], projections[~contrast.desired]
    within = np.square(upper - upper.mean()).sum() + np.square(lower - lower.mean()).sum()
    return Scales(
        distance=abs(float(upper.mean() - lower.mean())),
        within_std=float(np.sqrt(within / (len(projections) - 2))),
        projection_std=float(projections.std(ddof=1)),
        residual_norm=float(torch.linalg.vector_norm(contrast.values, dim=1).quantile(0.5)),
    )


def resampled(contrast: Contrast, *, draws: int, seed: int) -> Float64[Tensor, "draw d_model"]:
    """The mass-mean direction, of length 1, in bootstrap samples of groups; NaN where a sample lacks a side.

    Samples depend on groups and `seed` alone, so that the replicates of two checkpoints are paired.
    """
    weights = cluster_weights(contrast.groups, draws=draws, rng=generator(seed, "steering", "bootstrap"))
    return _unit(_differences(contrast, weights))


def reliability(contrast: Contrast, *, seed: int, halvings: int = 20) -> float:
    """The mean cosine of the mass-mean directions of random halves of the groups: the most that two samples can agree.

    NaN where no halving leaves both sides in both halves.
    """
    names, membership = np.unique(np.asarray(contrast.groups), return_inverse=True)
    rng = generator(seed, "steering", "halves")
    ranks = np.stack([rng.permutation(len(names)) for _ in range(halvings)])
    first = (ranks < len(names) // 2)[:, membership].astype(np.int64)
    one, other = _unit(_differences(contrast, first)), _unit(_differences(contrast, 1 - first))
    cosines = (one * other).sum(1)
    defined = cosines[cosines.isfinite()]
    return float(defined.mean()) if len(defined) else float("nan")


def _differences(contrast: Contrast, weights: Int[np.ndarray, "draw row"]) -> Float64[Tensor, "draw d_model"]:
    """μ_desired - μ_other under each set of row weights."""
    upper, lower = (
        torch.from_numpy(weights * side).double() for side in (contrast.desired[None], ~contrast.desired[None])
    )
    contrasts = upper / upper.sum(1, keepdim=True) - lower / lower.sum(1, keepdim=True)
    return contrasts @ contrast.values


def _unit(vectors: Float64[Tensor, "draw d_model"]) -> Float64[Tensor, "draw d_model"]:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / lengths


def _require_alignment(activations: Activations, statements: Statements) -> None:
    if len(activations) != len(statements):
        raise AlignmentError(
            f"{activations.path} holds {len(activations)} rows, {statements.name} has {len(statements)}; capture the same statements"
        )
    if activations.fingerprint not in ("", statements.texts_fingerprint):
        raise AlignmentError(
            f"{activations.path} was captured from other statements than {statements.name}; capture it again"
        )


def _require_two_sides(contrast: Contrast) -> None:
    sizes = {side: int((contrast.desired == side).sum()) for side in (True, False)}
    if min(sizes.values()) < FEWEST:
        raise MeasurementError(
            f"{contrast.where}: the development rows hold {sizes[True]} of the desired side and {sizes[False]} of the other; "
            f"a direction needs at least {FEWEST} of each"
        )
    centred = contrast.values - contrast.values.mean(0)
    if torch.linalg.vector_norm(centred) <= _CONSTANT * torch.linalg.vector_norm(contrast.values):
        raise MeasurementError(
            f"{contrast.where}: all activations are the same, so there is no direction; take another site or position"
        )
