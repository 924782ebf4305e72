"""Activations as the space in which probes live: one set of rotated coordinates, shared by every fit.

An L2-penalised linear model sees its features only through their inner products (representer theorem), and an unpenalised intercept makes
centring irrelevant. So centred features X may be replaced by coordinates Z along their principal axes, with Z Z' = X X': a model is
f = Z θ + b, its weights in feature space have the norm of θ, and Z has at most as many axes as there are rows. One space per (checkpoint,
site, dataset) serves every fold, regulariser, control labelling and prefix.

References:
    Schölkopf, Herbrich and Smola (2001), A generalized representer theorem.
    Hastie and Tibshirani (2004), Efficient quadratic regularization for expression arrays.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from trustrace.core.errors import MeasurementError
from trustrace.measures.config import Features

# Below this share of the mean square the centred features are rounding error: the activations do not differ between statements.
CONSTANT = 1e-20

# Axes whose variance is below this share of the largest one are rounding error of the eigendecomposition.
NEGLIGIBLE = 1e-14


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSpace:
    """The rows of one dataset as coordinates along the principal axes of their activations.

    Attributes:
        coordinates: Z, centred over all rows, the axis of largest variance last.
        spectrum: Λ, the diagonal of Z' Z: the eigenvalues of X' X and of the Gram matrix X X'.
        d_model: Number of features behind the axes.
    """

    coordinates: Float[Tensor, "statement axis"]
    spectrum: Float[Tensor, " axis"]
    d_model: int

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def is_constant(self) -> bool:
        """Whether the activations do not differ between statements, as at ``embed`` where every statement ends in the same token."""
        return len(self.spectrum) == 0

    @cached_property
    def single(self) -> "FeatureSpace":
        """The same space in single precision, for search directions."""
        return FeatureSpace(coordinates=self.coordinates.float(), spectrum=self.spectrum.float(), d_model=self.d_model)

    def take(self, rows: Bool[Tensor, " statement"]) -> "FeatureSpace":
        """Some rows, along the same axes; their coordinates are neither centred nor uncorrelated, which no fit relies on."""
        kept = self.coordinates[rows]
        return FeatureSpace(coordinates=kept, spectrum=kept.square().sum(0), d_model=self.d_model)

    def mean_variance(self, train: Bool[Tensor, "statement column"]) -> Float64[Tensor, " column"]:
        """The variance of a feature over the rows of each mask, averaged over features; 1 where it would be 0."""
        share = train.double() / train.sum(0)
        means = self.coordinates.T @ share
        total = self.coordinates.square().sum(1) @ share - means.square().sum(0)
        return torch.where(total > 0, total / self.d_model, 1.0)


def feature_space(
    values: Float[Tensor, "statement d_model"],
    *,
    features: Features,
    train: Bool[Tensor, " statement"] | None = None,
) -> FeatureSpace:
    """The space of `values`.

    Args:
        values: One activation per statement.
        features: What a probe reads of them.
        train: The rows whose mean and standard deviation ``zscore`` uses; the other kinds of features fit nothing here.

    Raises:
        MeasurementError: a value is NaN or infinite, there are fewer than two rows, or ``zscore`` lacks its training rows.
    """
    require_finite(values)
    prepared = _prepare(values, features=features, train=train)
    scale = prepared.square().mean()
    centred = prepared - prepared.mean(0)
    if centred.square().mean() <= CONSTANT * scale:
        return FeatureSpace(coordinates=centred[:, :0], spectrum=centred.new_zeros(0), d_model=values.shape[1])
    if centred.shape[0] <= centred.shape[1]:
        spectrum, vectors = _principal(symmetric_product(centred))
        return FeatureSpace(coordinates=vectors * spectrum.sqrt(), spectrum=spectrum, d_model=values.shape[1])
    spectrum, axes = _principal(centred.T @ centred)
    return FeatureSpace(coordinates=centred @ axes, spectrum=spectrum, d_model=values.shape[1])


def require_finite(values: Float[Tensor, "statement d_model"]) -> None:
    """Raise unless `values` has at least two rows and every value is finite.

    Raises:
        MeasurementError: naming the first row that is not finite.
    """
    if len(values) < 2 or values.shape[1] == 0:
        raise MeasurementError(
            f"activations of shape {tuple(values.shape)}; a probe needs at least two rows and a feature"
        )
    finite = torch.isfinite(values).all(dim=1)
    if not finite.all():
        bad = torch.nonzero(~finite)[:, 0]
        raise MeasurementError(
            f"{len(bad)} of {len(values)} activations hold NaN or infinity (first at row {int(bad[0])}); capture them again in "
            "float32 or bfloat16, or drop this checkpoint"
        )


def symmetric_product(x: Float64[Tensor, "statement d_model"]) -> Float64[Tensor, "statement statement"]:
    """X X', computing each block of rows against the earlier ones only."""
    n, size = len(x), 256
    gram = x.new_empty(n, n)
    for start in range(0, n, size):
        stop = min(start + size, n)
        block = x[start:stop] @ x[:stop].T
        gram[start:stop, :stop] = block
        gram[:stop, start:stop] = block.T
    return gram


def _principal(
    moments: Float64[Tensor, "side side"],
) -> tuple[Float64[Tensor, " axis"], Float64[Tensor, "side axis"]]:
    values, vectors = torch.linalg.eigh(moments)
    kept = values > NEGLIGIBLE * values[-1]
    return values[kept], vectors[:, kept]


def _prepare(
    values: Float[Tensor, "statement d_model"], *, features: Features, train: Bool[Tensor, " statement"] | None
) -> Float64[Tensor, "statement d_model"]:
    x = values.double()
    if features == "scaled":
        return x
    if features == "unit_rms":
        return x / x.square().mean(1, keepdim=True).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    if train is None:
        raise MeasurementError("features 'zscore' need the training rows whose mean and standard deviation they use")
    spread, mean = torch.std_mean(x[train], dim=0, correction=0)
    # A feature that is constant over the training rows says nothing: it is left out rather than divided by zero.
    return torch.where(spread > 0, (x - mean) / spread.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
