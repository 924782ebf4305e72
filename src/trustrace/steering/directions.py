"""Directions that are more than a difference of means: whitened, discriminating, or the main axis of paired differences.

All of them live in the space of raw activations, where they are added. Probes elsewhere in this package see activations scaled to one
root mean square (``unit_rms``), whose normals belong to another space; here the features are ``scaled``, the activations themselves.

References:
    Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 4.3 and exercise 4.2.
    Zou et al. (2023), Representation engineering: a top-down approach to AI transparency (the main axis of differences).
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from trustrace.core.draws import generator
from trustrace.core.errors import MeasurementError
from trustrace.measures.config import ProbingConfig
from trustrace.measures.folds import Fold, grouped_folds
from trustrace.measures.probing import FoldSpace, logistic_probe
from trustrace.measures.solver import Columns, Loss, solve
from trustrace.measures.spaces import Spanned, spanned, symmetric_product
from trustrace.steering.contrast import Contrast, Vector, mass_mean

_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearFits:
    """Penalised linear models of the side of each row, at a regulariser that grouped inner folds choose.

    Attributes:
        contrast: The rows.
        config: The grid of regularisers and the number of folds.
        seed: Of the folds.
    """

    contrast: Contrast
    config: ProbingConfig
    seed: int

    @cached_property
    def regulariser(self) -> float:
        """The ``C`` with the least log loss on rows of held-out groups, by the logistic probe, features at a mean variance of 1."""
        space = self._spanned.space
        everything = np.ones(len(self.contrast), dtype=bool)
        fold = Fold(train=everything, test=~everything, inner=self._folds())
        spaces = (FoldSpace(space=space, pairs=(0,)),)
        return logistic_probe(spaces, self._labels, [fold], regularisers=self.config.regularisers).regularisers[0]

    def probe_normal(self) -> Vector:
        """The weights of the L2-penalised logistic probe."""
        return self._weights("logistic", share=1.0)

    def whitened_mean(self) -> Vector:
        """(Σ_within + γ)⁻¹ (μ_desired - μ_other), with the shrinkage that suits the probe's regulariser.

        Computed as ridge regression of the labels, rows weighted 1/4 as the logistic loss curves at even odds: the first Newton step of the
        logistic probe, as in :mod:`trustrace.measures.mean_probes`. γ is four penalties a row.
        """
        return self._weights("squared", share=0.25)

    def _weights(self, loss: Loss, *, share: float) -> Vector:
        space, basis = self._spanned.space, self._spanned.basis
        rows = torch.ones(len(space), 1, dtype=torch.bool)
        columns = Columns(
            labels=self._labels[:, None],
            weights=rows.double() * share,
            penalties=space.mean_variance(rows) / self.regulariser,
        )
        return basis @ solve(space, columns, loss=loss, tolerance=_TOLERANCE).coefficients[:, 0]

    @property
    def _labels(self) -> Float64[Tensor, " row"]:
        return torch.from_numpy(self.contrast.desired).double()

    @cached_property
    def _spanned(self) -> Spanned:
        """The space of the activations, and how its coefficients become weights on them."""
        return spanned(self.contrast.values - self.contrast.values.mean(0))

    def _folds(self) -> tuple[Fold, ...]:
        """Grouped folds of the development rows."""
        folds = min(self.config.folds, self.contrast.n_groups)
        if folds < 2:
            raise MeasurementError(
                f"{self.contrast.where}: one group cannot choose a regulariser; bring rows of other groups"
            )
        membership = grouped_folds(
            self.contrast.groups,
            self.contrast.desired.astype(int).tolist(),
            folds=folds,
            rng=generator(self.seed, "steering", "folds"),
        )
        return tuple(Fold(train=membership != fold, test=membership == fold) for fold in range(folds))


def contrastive_pc(contrast: Contrast, *, seed: int) -> Vector:
    """The main axis of differences between rows of opposite sides, towards the desired one.

    Rows are paired inside their groups where a group holds both sides, what is left of all groups at random; the axis is the first right
    singular vector of the differences, not centred, so that a difference shared by all pairs counts.
    """
    upper, lower = _pairs(contrast, rng=generator(seed, "steering", "pairs"))
    differences = contrast.values[torch.from_numpy(upper)] - contrast.values[torch.from_numpy(lower)]
    axis = _leading_axis(differences)
    return axis if float(axis @ mass_mean(contrast)) >= 0 else -axis


def random_direction(d_model: int, *, rng: np.random.Generator) -> Vector:
    """A direction of which all are equally likely."""
    drawn: Tensor = torch.from_numpy(rng.normal(size=d_model))
    return drawn / float(torch.linalg.vector_norm(drawn))


def _pairs(
    contrast: Contrast, *, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Rows of the desired side, and of the other, that are subtracted from each other; each row at most once."""
    members: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(contrast.groups):
        members[group].append(row)
    upper: list[int] = []
    lower: list[int] = []
    left: dict[bool, list[int]] = {True: [], False: []}
    for rows in members.values():
        sides = {
            side: rng.permutation([row for row in rows if contrast.desired[row] == side]) for side in (True, False)
        }
        paired = min(map(len, sides.values()))
        upper += sides[True][:paired].astype(int).tolist()
        lower += sides[False][:paired].astype(int).tolist()
        for side, mixed in sides.items():
            left[side] += mixed[paired:].astype(int).tolist()
    rest = min(map(len, left.values()))
    upper += rng.permutation(left[True])[:rest].astype(int).tolist()
    lower += rng.permutation(left[False])[:rest].astype(int).tolist()
    return np.asarray(upper), np.asarray(lower)


def _leading_axis(differences: Float64[Tensor, "pair d_model"]) -> Vector:
    """The first right singular vector, from the smaller of both inner products."""
    n, d_model = differences.shape
    if n < d_model:
        vectors = torch.linalg.eigh(symmetric_product(differences))[1]
        axis: Tensor = differences.T @ vectors[:, -1]
    else:
        axis = torch.linalg.eigh(differences.T @ differences)[1][:, -1]
    return axis / float(torch.linalg.vector_norm(axis))
