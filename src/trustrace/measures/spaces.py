"""Activations as the space in which probes live: one set of inner products, shared by every fit.

An L2-penalised linear model sees its features only through their inner products (representer theorem), and an unpenalised intercept makes
centring irrelevant. So one centred space per (checkpoint, site, dataset) serves every fold, regulariser, control labelling and prefix:

* :class:`WideSpace`, few rows of many features: the Gram matrix K = X X'; a model is f = K α + b, its weights are X' α.
* :class:`TallSpace`, many rows of few features: coordinates Z = X V along the principal axes V; a model is f = Z θ + b, its weights V θ.
  Rows of many features, most of which are equal, span few axes and go the same way: K would be singular, and α without bounds.

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
from trustrace.measures.operators import TallOperator, WideOperator, product

# Below this share of their size the centred features are rounding error: the activations do not differ between statements.
CONSTANT = 1e-10

Rows = Float64[Tensor, "statement column"]
Coefficients = Float64[Tensor, "coefficient column"]
PerColumn = Float64[Tensor, " column"]

# Axes along which the variance is below this share of the largest are rounding error.
_NO_AXIS = 1e-13

# Below this share of the mean square, the variance over some of the rows is rounding error of a subtraction.
CONSTANT_WITHIN = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class WideSpace:
    """Few rows of many features.

    Attributes:
        gram: K = X X' of the centred features.
        d_model: Number of features behind it.
    """

    gram: Float64[Tensor, "statement statement"]
    d_model: int

    def __len__(self) -> int:
        return len(self.gram)

    @property
    def n_coefficients(self) -> int:
        """One α for each row."""
        return len(self.gram)

    @property
    def is_constant(self) -> bool:
        """Whether the activations do not differ between statements, as at ``embed`` where every statement ends in the same token."""
        return not bool(self.gram.diagonal().any())

    @property
    def device(self) -> torch.device:
        """Where the space lives."""
        return self.gram.device

    def responses(self, coefficients: Rows) -> Rows:
        """K α: what each model says of each statement, without its intercept."""
        return product(self.gram, coefficients)

    @cached_property
    def double(self) -> WideOperator:
        """The space as an operator in double precision."""
        return WideOperator.of(self.gram)

    @cached_property
    def single(self) -> WideOperator:
        """The space as an operator in single precision."""
        return self.double.to(torch.float32)

    def inner_products(self, rows: Bool[Tensor, " statement"]) -> Float64[Tensor, "taken taken"]:
        """X X' of some rows."""
        return self.gram if bool(rows.all()) else self.gram[rows][:, rows]

    def take(self, rows: Bool[Tensor, " statement"]) -> "WideSpace":
        """The same space for some of its rows."""
        return WideSpace(gram=self.gram[rows][:, rows], d_model=self.d_model)

    def mean_variance(self, train: Bool[Tensor, "statement column"]) -> PerColumn:
        """The variance of a feature over the rows of each mask, averaged over features; 1 in all where it would be 0."""
        share = train.double() / train.sum(0)
        square = self.gram.diagonal() @ share
        return _varying(square, square - (share * (self.gram @ share)).sum(0)) / self.d_model


@dataclass(frozen=True, kw_only=True, eq=False)
class TallSpace:
    """Many rows of few features.

    Attributes:
        coordinates: Z, centred over all rows.
        d_model: Number of features behind it.
    """

    coordinates: Float64[Tensor, "statement axis"]
    d_model: int

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def n_coefficients(self) -> int:
        """One θ for each axis."""
        return self.coordinates.shape[1]

    @property
    def is_constant(self) -> bool:
        """Whether the activations do not differ between statements."""
        return not bool(self.coordinates.any())

    @property
    def device(self) -> torch.device:
        """Where the space lives."""
        return self.coordinates.device

    def responses(self, coefficients: Coefficients) -> Rows:
        """Z θ: what each model says of each statement, without its intercept."""
        return product(self.coordinates, coefficients)

    @cached_property
    def double(self) -> TallOperator:
        """The space as an operator in double precision."""
        return TallOperator(coordinates=self.coordinates, variances=self.coordinates.square().mean(0)[:, None])

    @cached_property
    def single(self) -> TallOperator:
        """The space as an operator in single precision."""
        return self.double.to(torch.float32)

    def inner_products(self, rows: Bool[Tensor, " statement"]) -> Float64[Tensor, "taken taken"]:
        """X X' of some rows."""
        return symmetric_product(self.coordinates[rows])

    def take(self, rows: Bool[Tensor, " statement"]) -> "TallSpace":
        """The same space for some of its rows."""
        return TallSpace(coordinates=self.coordinates[rows], d_model=self.d_model)

    def mean_variance(self, train: Bool[Tensor, "statement column"]) -> PerColumn:
        """The variance of a feature over the rows of each mask, averaged over features; 1 in all where it would be 0."""
        share = train.double() / train.sum(0)
        square = self.coordinates.square().sum(1) @ share
        return _varying(square, square - (self.coordinates.T @ share).square().sum(0)) / self.d_model


FeatureSpace = WideSpace | TallSpace


def _varying(square: PerColumn, variance: PerColumn) -> PerColumn:
    """`variance`, and 1 where it is a difference of equal numbers: rows that do not differ leave the penalty no scale of its own."""
    return torch.where(variance > CONSTANT_WITHIN * square, variance, 1.0)


def feature_space(
    values: Float[Tensor, "statement d_model"],
    *,
    features: Features,
    train: Bool[Tensor, " statement"] | None = None,
) -> FeatureSpace:
    """The space of `values`, which are left as they are.

    Args:
        values: One activation per statement.
        features: What a probe reads of them.
        train: The rows whose mean and standard deviation ``zscore`` uses; the other kinds of features fit nothing here.

    Raises:
        MeasurementError: a value is NaN or infinite, there are fewer than two rows, or ``zscore`` lacks its training rows.
    """
    return spanned(_centred(values, features=features, train=train)).space


@dataclass(frozen=True, kw_only=True, eq=False)
class Spanned:
    """A space, and what its coefficients are multiplied with to become weights.

    Attributes:
        space: Where models are fitted.
        basis: The weights of a model with coefficients c are `basis` c: X' of a wide space, the principal axes of a tall one.
    """

    space: FeatureSpace
    basis: Float64[Tensor, "d_model coefficient"]


def spanned(centred: Float64[Tensor, "statement d_model"]) -> Spanned:
    """The space of centred features, with its basis."""
    n, d_model = centred.shape
    if _repeats_itself(centred):
        return _spanned_by_few(centred)
    # An iteration costs n² products in a wide space and 2 n d_model in a tall one.
    if n <= 2 * d_model:
        return Spanned(space=WideSpace(gram=symmetric_product(centred), d_model=d_model), basis=centred.T)
    axes = torch.linalg.eigh(centred.T @ centred)[1]
    return Spanned(space=TallSpace(coordinates=centred @ axes, d_model=d_model), basis=axes)


def _repeats_itself(centred: Float64[Tensor, "statement d_model"]) -> bool:
    """Whether at most half of the rows differ, and some do."""
    most = len(centred) // 2
    if len(torch.unique(centred[:, 0])) > most:
        return False
    return 1 < len(torch.unique(centred, dim=0)) <= min(most, centred.shape[1])


def _spanned_by_few(centred: Float64[Tensor, "statement d_model"]) -> Spanned:
    """The principal axes from the distinct rows alone: X' X = D' C D for rows D that occur C times."""
    rows, places, counts = torch.unique(centred, dim=0, return_inverse=True, return_counts=True)
    weighted = rows * counts.double().sqrt()[:, None]
    values, vectors = torch.linalg.eigh(weighted @ weighted.T)
    kept = values > _NO_AXIS * values[-1]
    axes = weighted.T @ (vectors[:, kept] / values[kept].sqrt())
    return Spanned(space=TallSpace(coordinates=(rows @ axes)[places], d_model=centred.shape[1]), basis=axes)


def inner_products(
    values: Float[Tensor, "statement d_model"], *, features: Features
) -> Float64[Tensor, "statement statement"]:
    """X X' of the centred features of `values`; ``zscore`` uses the mean and deviation of all of them.

    Raises:
        MeasurementError: a value is NaN or infinite, or there are fewer than two rows.
    """
    everything = torch.ones(len(values), dtype=torch.bool, device=values.device)
    return symmetric_product(_centred(values, features=features, train=everything))


def require_finite(values: Float[Tensor, "statement d_model"]) -> None:
    """Raise unless `values` has at least two rows and every value is finite.

    Raises:
        MeasurementError: naming the first row that is not finite.
    """
    if len(values) < 2 or values.shape[1] == 0:
        raise MeasurementError(
            f"activations of shape {tuple(values.shape)}; a probe needs at least two rows and a feature"
        )
    # A finite sum means finite values; a sum that overflows is looked at again.
    suspects = torch.nonzero(~torch.isfinite(values.sum(dim=1)))[:, 0]
    bad = suspects[~torch.isfinite(values[suspects]).all(dim=1)]
    if len(bad):
        raise MeasurementError(
            f"{len(bad)} of {len(values)} activations hold NaN or infinity (first at row {int(bad[0])}); capture them again in "
            "float32 or bfloat16, or drop this checkpoint"
        )


def symmetric_product(x: Float64[Tensor, "statement d_model"]) -> Float64[Tensor, "statement statement"]:
    """X X', computing each block of rows against the earlier ones only."""
    n, size = len(x), 128
    gram = x.new_empty(n, n)
    for start in range(0, n, size):
        stop = min(start + size, n)
        block = x[start:stop] @ x[:stop].T
        gram[start:stop, :stop] = block
        gram[:stop, start:stop] = block.T
    return gram


def _centred(
    values: Float[Tensor, "statement d_model"], *, features: Features, train: Bool[Tensor, " statement"] | None
) -> Float64[Tensor, "statement d_model"]:
    """The features less their mean; all zero where they do not differ."""
    require_finite(values)
    return centre_(_prepare(values, features=features, train=train))


def centre_(features: Float64[Tensor, "statement d_model"]) -> Float64[Tensor, "statement d_model"]:
    """Take the mean of `features` off, in place; they become all zero where they do not differ."""
    size = torch.linalg.vector_norm(features)
    features -= features.mean(0)
    if torch.linalg.vector_norm(features) <= CONSTANT * size:
        features.zero_()
    return features


def readings(values: Float[Tensor, "statement d_model"], *, features: Features) -> Float64[Tensor, "statement d_model"]:
    """A copy of what is read of each activation before anything is fitted: divided by its root mean square, or itself."""
    x = values.to(torch.float64, copy=True)
    if features != "unit_rms":
        return x
    norms = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return x.div_(norms).mul_(x.shape[1] ** 0.5)


def _prepare(
    values: Float[Tensor, "statement d_model"], *, features: Features, train: Bool[Tensor, " statement"] | None
) -> Float64[Tensor, "statement d_model"]:
    x = readings(values, features=features)
    if features != "zscore":
        return x
    if train is None:
        raise MeasurementError("features 'zscore' need the training rows whose mean and standard deviation they use")
    spread, mean = torch.std_mean(x[train], dim=0, correction=0)
    # A feature that is constant over the training rows says nothing: it is left out rather than divided by zero.
    return torch.where(spread > 0, (x - mean) / spread.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
