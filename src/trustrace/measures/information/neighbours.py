"""Mutual information in nats from nearest neighbours, on a few principal components.

In many dimensions all neighbours are equally far and these estimators say nothing, so they see the leading components only: a lower bound
on what the whole representation holds.

References:
    Kraskov, Stögbauer and Grassberger (2004), Estimating mutual information, estimator 1.
    Ross (2014), Mutual information between discrete and continuous data sets.
"""

import numpy as np
from jaxtyping import Float64, Int
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import digamma

Points = Float64[np.ndarray, "statement component"]

NEIGHBOURS = 3

JITTER = 1e-10
"""Noise, as a share of the data's spread."""


def parted(points: Points, *, rng: np.random.Generator) -> Points:
    """Points of which no two are equal: neighbours of equal points would follow the order of the rows."""
    return np.asarray(points + JITTER * points.std(axis=0) * rng.normal(size=points.shape))


def label_contributions(
    points: Points, labels: Int[np.ndarray, "statement labelling"]
) -> Float64[np.ndarray, "statement labelling"]:
    """What each statement adds to I(T; Y) of each labelling; the mean over statements is the estimate.

    A label of which there are no more than `NEIGHBOURS` statements makes the labelling's column NaN.
    """
    n = len(points)
    order = _neighbours(points, min(n - 1, 64))
    result = np.empty(labels.shape)
    for column, labelling in enumerate(labels.T):
        counts = np.bincount(labelling, minlength=2)
        if counts[counts > 0].min() <= NEIGHBOURS:
            result[:, column] = np.nan
            continue
        ranks = _same_label_ranks(order, labelling)
        while (ranks == 0).any():
            order = _neighbours(points, min(n - 1, 2 * order.shape[1]))
            ranks = _same_label_ranks(order, labelling)
        result[:, column] = digamma(n) + digamma(NEIGHBOURS) - digamma(counts[labelling]) - digamma(ranks)
    return result


def _neighbours(points: Points, count: int) -> Int[np.ndarray, "statement neighbour"]:
    """The nearest other statements of each, nearest first."""
    _, order = cKDTree(points).query(points, k=count + 1, p=np.inf)
    return np.asarray(order[:, 1:])


def _same_label_ranks(
    order: Int[np.ndarray, "statement neighbour"], labelling: Int[np.ndarray, " statement"]
) -> Int[np.ndarray, " statement"]:
    """How many neighbours lie no farther than the `NEIGHBOURS`-th of the same label; 0 where that one is not among them."""
    reached = np.cumsum(labelling[order] == labelling[:, None], axis=1) >= NEIGHBOURS
    return np.where(reached[:, -1], reached.argmax(axis=1) + 1, 0)


class PointPairs:
    """Two sets of points on the same statements, with their distances, ready to be permuted against each other."""

    def __init__(
        self, x: Float64[np.ndarray, "statement component_x"], t: Float64[np.ndarray, "statement component_t"]
    ) -> None:
        self.x, self.t = (_distances(points) for points in (x, t))

    def contributions(
        self, permutation: Int[np.ndarray, " statement"] | None = None
    ) -> Float64[np.ndarray, " statement"]:
        """What each statement adds to I(X; T), the rows of X permuted; the mean over statements is the estimate."""
        x = self.x if permutation is None else self.x[np.ix_(permutation, permutation)]
        n = len(x)
        radius = np.partition(np.maximum(x, self.t), NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1 : NEIGHBOURS]
        inside = [(distances < radius).sum(axis=1) for distances in (x, self.t)]
        return np.asarray(digamma(NEIGHBOURS) + digamma(n) - digamma(inside[0] + 1) - digamma(inside[1] + 1))


def _distances(points: Points) -> Float64[np.ndarray, "statement statement"]:
    distances = cdist(points, points, "chebyshev")
    np.fill_diagonal(distances, np.inf)
    return np.asarray(distances)
