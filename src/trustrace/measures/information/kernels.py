"""Kernel matrices: what is alike, seen from the input, the representation and the label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int
from scipy.sparse import csr_array
from torch import Tensor

Square = Float64[Tensor, "statement statement"]
Vector = Float64[Tensor, " statement"]

EQUAL = 1e-12
"""Squared distances below this share of the largest are rounding error between equal rows."""


def squared_distances(gram: Square) -> Square:
    """||x_i - x_j||² of all pairs, from inner products."""
    size = gram.diagonal().clone()
    distances = gram * -2
    distances += size[:, None]
    distances += size
    # Equal rows differ by rounding error of either sign.
    distances.clamp_(min=0).fill_diagonal_(0)
    return distances


def gaussian_(distances: Square, *, scale: float) -> Square:
    """exp(-D / scale) of squared distances D, in their place; a kernel of bandwidth σ has the scale 2 σ²."""
    return distances.div_(-scale).exp_()


def centre_(kernel: Square) -> Square:
    """H K H with H = I - 11'/n in the place of K: the kernel of features whose mean is zero."""
    means = kernel.mean(dim=0)
    kernel -= means
    kernel -= means[:, None]
    kernel += means.mean()
    return kernel


def centred(kernel: Square) -> Square:
    """The same as a matrix of its own."""
    return centre_(kernel.clone())


def u_centred(kernel: Square) -> Square:
    """The kernel with a zero diagonal, centred so that inner products with another one are unbiased.

    References:
        Székely and Rizzo (2014), Partial distance correlation with methods for dissimilarities, definition 2.
    """
    n = len(kernel)
    result = kernel.clone().fill_diagonal_(0)
    sums = result.sum(dim=0)
    total = sums.sum() / ((n - 1) * (n - 2))
    result -= sums / (n - 2)
    result -= sums[:, None] / (n - 2)
    result += total
    return result.fill_diagonal_(0)


def removed_diagonal(kernel: Square) -> Vector:
    """What the U-centred form of a centred kernel would have on its diagonal, had that not been set to zero."""
    n, own = len(kernel), kernel.diagonal()
    return own * (n / (n - 2)) - own.sum() / ((n - 1) * (n - 2))


def median_distance(distances: Square) -> float:
    """The median of the squared distances between rows that differ.

    Where most statements end in the same token most rows are equal, and a median over all pairs would be no width at all.
    """
    n = len(distances)
    rows, columns = torch.triu_indices(n, n, offset=1, device=distances.device)
    pairs = distances[rows, columns]
    return float(pairs[pairs > EQUAL * pairs.max()].median())


def token_kernel(tokens: Sequence[Sequence[int]]) -> Square:
    """The cosine between the token counts of two statements: 1 for the same bag of tokens, 0 where they share none.

    It knows the input alone, so it is the same for every checkpoint that shares a tokenizer.
    """
    vocabulary: dict[int, int] = {}
    columns = [vocabulary.setdefault(token, len(vocabulary)) for row in tokens for token in row]
    starts = np.cumsum([0, *map(len, tokens)])
    counts = csr_array((np.ones(len(columns)), columns, starts), shape=(len(tokens), len(vocabulary)))
    counts.sum_duplicates()
    products = np.asarray((counts @ counts.T).todense())
    size = np.sqrt(np.maximum(products.diagonal(), 1.0))
    return torch.from_numpy(products / size[:, None] / size)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelKernel:
    """The centred kernel of binary labels, which has rank one: strength · u u'.

    Attributes:
        direction: u, the centred labels at unit length.
        strength: Its only eigenvalue.
    """

    direction: Vector
    strength: float

    @classmethod
    def of(cls, labels: Int[np.ndarray, " statement"], *, unlike: float = 0.0) -> "LabelKernel":
        """The kernel that is 1 for equal labels and `unlike` for different ones: 0 is the delta kernel."""
        y = torch.as_tensor(labels, dtype=torch.float64)
        y = y - y.mean()
        # 1[y = y'] = y y' + (1 - y)(1 - y'): twice the same matrix once it is centred.
        return cls(direction=y / y.norm(), strength=float(2 * (1 - unlike) * y.square().sum()))
