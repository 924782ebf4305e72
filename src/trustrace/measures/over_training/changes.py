"""Where a curve changes: the closest sudden step, and the closest logistic rise, on the logarithm of training.

Both are y = a + (b - a) g(t) with b > a and a shape g: 0 before a checkpoint and 1 from it on; or 1 / (1 + exp(-(t - t₀) / w)) of log
tokens t. For a given shape a and b are linear least squares, so that the closest shape of a grid is found by one product, for the curve
and for all its replicates together. The interval is that of replicates of the fitted curve under the curve's own noise (paired over
checkpoints, with a wobble for each): what the estimate would be on other statements, if the fit were the truth.

References:
    Hinkley (1970), Inference about the change-point in a sequence of random variables.
    Davison and Hinkley (1997), Bootstrap Methods and their Application, section 7.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from trustrace.core.intervals import percentile_interval
from trustrace.measures.dynamics import Course, PerCheckpoint, Place

MIDPOINTS, WIDTHS = 161, 12
"""The grid of logistic shapes: midpoints over the logarithm of training, and widths."""

_RELATIVE = 1e-9

Shapes = Float64[np.ndarray, "shape checkpoint"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Shapes to choose from, and the point of training that each stands for."""

    shapes: Shapes
    places: Float64[np.ndarray, " shape"]


def change(course: Course, grid: Grid) -> Place:
    """The place of the closest shape, with its 95 % interval."""
    best, fitted = closest(course.values[:, None], grid, course.weights)
    replicates, _ = closest(fitted + course.noise.draws, grid, course.weights)
    value = float(grid.places[best[0]])
    lower, upper = percentile_interval(grid.places[replicates])
    return Place(value=value, lower=min(lower, value), upper=max(upper, value))


def steps(training: PerCheckpoint) -> Grid:
    """A sudden step at each checkpoint but the first."""
    n = len(training)
    return Grid(shapes=np.triu(np.ones((n, n)))[1:], places=training[1:].astype(np.float64))


def logistic_rises(training: PerCheckpoint) -> Grid:
    """Logistic rises on log tokens: midpoints from the first to the last checkpoint, widths from a fifth of a gap to half of the range."""
    t = log_training(training)
    reach = t[-1] - t[0]
    midpoints = np.linspace(t[0], t[-1], MIDPOINTS)
    widths = np.geomspace(np.median(np.diff(t)) / 5, reach / 2, WIDTHS)
    at, width = (one.ravel() for one in np.meshgrid(midpoints, widths, indexing="ij"))
    shapes = 1 / (1 + np.exp(-np.clip((t - at[:, None]) / width[:, None], -500, 500)))
    return Grid(shapes=shapes, places=np.exp(at))


def log_training(training: PerCheckpoint) -> PerCheckpoint:
    """Log tokens (or steps); a checkpoint without any stands as far before the first one with some as that one before the next."""
    counts = training.astype(np.float64)
    if counts[0] <= 0:
        counts = np.concatenate([[counts[1] ** 2 / counts[2]], counts[1:]])
    return np.asarray(np.log(counts))


def closest(
    values: Float64[np.ndarray, "checkpoint series"], grid: Grid, weights: PerCheckpoint
) -> tuple[Int[np.ndarray, " series"], Float64[np.ndarray, "checkpoint series"]]:
    """Which shape each series is closest to by weighted least squares, among those that rise; and the fitted series."""
    share = weights / weights.sum()
    centred = grid.shapes - (grid.shapes @ share)[:, None]
    power = (centred**2) @ weights
    means = share @ values
    slopes = (centred * weights) @ (values - means) / np.maximum(power, np.finfo(np.float64).tiny)[:, None]
    # Shapes that hardly differ between checkpoints fit nothing but rounding.
    usable = power > _RELATIVE * weights.sum()
    explained = np.where(usable[:, None], np.maximum(slopes, 0.0) ** 2 * power[:, None], -1.0)
    best = explained.argmax(axis=0)
    rise = np.maximum(slopes[best, np.arange(values.shape[1])], 0.0)
    return best, means + (centred[best] * rise[:, None]).T
