"""Least-squares fits of a curve that never falls, that turns once, or that never rises."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.optimize import isotonic_regression

PerCheckpoint = Float64[np.ndarray, " checkpoint"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A curve of prescribed shape.

    Attributes:
        values: The fitted curve.
        residual: Σ weight (value - fit)².
    """

    values: PerCheckpoint
    residual: float


def unimodal(values: PerCheckpoint, weights: PerCheckpoint) -> Fit:
    """The closest curve that never rises after it has fallen; its rising or its falling part may be empty.

    The residual of a split is that of the best rise before it and the best fall after it, so two passes over the curve know all splits.
    Where several splits are equally close, the first is taken.

    References:
        Stout (2008), Unimodal regression via prefix isotonic regression.
    """
    rising = prefix_residuals(values, weights)
    falling = prefix_residuals(values[::-1], weights[::-1])[::-1]
    split = int(np.argmin(rising + falling))
    rise = non_decreasing(values[:split], weights[:split])
    fall = non_decreasing(values[split:][::-1], weights[split:][::-1])[::-1]
    return Fit(values=np.concatenate([rise, fall]), residual=float(rising[split] + falling[split]))


def valley(values: PerCheckpoint, weights: PerCheckpoint) -> Fit:
    """The closest curve that never falls after it has risen."""
    mirrored = unimodal(-values, weights)
    return Fit(values=-mirrored.values, residual=mirrored.residual)


def non_decreasing(values: PerCheckpoint, weights: PerCheckpoint) -> PerCheckpoint:
    """The closest curve that never falls."""
    return np.asarray(isotonic_regression(values, weights=weights).x) if len(values) else np.empty(0)


def prefix_residuals(values: PerCheckpoint, weights: PerCheckpoint) -> Float64[np.ndarray, " checkpoint+1"]:
    """Σ weight (value - fit)² of the non-decreasing fit to the first 0, 1, 2 ... values, by pooling adjacent violators once.

    A block that joins another one of weight W and mean m costs W w / (W + w) (m - mean)², a sum that never cancels.
    """
    residuals = np.zeros(len(values) + 1)
    blocks: list[tuple[float, float]] = []
    for count, (mean, weight) in enumerate(zip(values.tolist(), weights.tolist(), strict=True), start=1):
        cost = 0.0
        while blocks and blocks[-1][0] >= mean:
            before, heavy = blocks.pop()
            cost += heavy * weight / (heavy + weight) * (before - mean) ** 2
            mean += heavy / (heavy + weight) * (before - mean)
            weight += heavy
        blocks.append((mean, weight))
        residuals[count] = residuals[count - 1] + cost
    return residuals
