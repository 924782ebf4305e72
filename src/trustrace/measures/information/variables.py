"""A variable as kernels see it: the representation T at one site, or one of the inputs X."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float64
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from trustrace.measures.config import Width
from trustrace.measures.information.kernels import (
    EQUAL,
    Square,
    centre_,
    centred,
    gaussian_,
    median_distance,
    squared_distances,
)
from trustrace.measures.information.operators import Operator, smoother_


@dataclass(frozen=True, kw_only=True, eq=False)
class Variable:
    """What is known of a variable: the inner products of its centred features, or a kernel of its own.

    Attributes:
        gram: K = X X' of centred features; or the kernel.
        is_kernel: Whether `gram` is the kernel itself, which then has no width.
    """

    gram: Square
    is_kernel: bool = False
    _smoothers: dict[Width, Operator] = field(default_factory=dict)

    @classmethod
    def of_features(cls, gram: Square) -> "Variable":
        """A variable known by the inner products of its features."""
        own = centred(gram)
        # Rows that are equal here although they are not among all statements leave the rounding error of their mean.
        if own.trace() <= EQUAL * gram.trace():
            own.zero_()
        return cls(gram=own)

    @classmethod
    def of_kernel(cls, kernel: Square) -> "Variable":
        """A variable known by its kernel alone."""
        return cls(gram=centred(kernel), is_kernel=True)

    def __len__(self) -> int:
        return len(self.gram)

    @property
    def is_constant(self) -> bool:
        """Whether the variable does not differ between statements."""
        return not bool(self.gram.diagonal().any())

    def kernel(self, width: Width) -> Square:
        """The kernel matrix, not centred; the caller's own."""
        if self.is_kernel:
            return self.gram.clone()
        distances = squared_distances(self.gram)
        if width == "median":
            return gaussian_(distances, scale=2 * median_distance(distances))
        # The mean variance of a feature times their number is tr K / n: the number itself drops out.
        return gaussian_(distances, scale=2 * width**2 * float(self.gram.trace()) / len(self))

    def smoother(self, width: Width, *, ridge: float) -> Operator:
        """The ridge smoother of the kernel."""
        return smoother_(self.kernel(width), ridge=ridge)

    def kept_smoother(self, width: Width, *, ridge: float) -> Operator:
        """The same, kept: what every site is compared with is factored once."""
        key: Width = "median" if self.is_kernel else width
        if key not in self._smoothers:
            self._smoothers[key] = self.smoother(width, ridge=ridge)
        return self._smoothers[key]

    @cached_property
    def gaussian(self) -> Operator:
        """The centred kernel: Gaussian at the median width."""
        return Operator(matrix=centre_(self.kernel("median")))

    @cached_property
    def linear(self) -> Operator:
        """The centred kernel: inner products of features."""
        return Operator(matrix=self.gram)

    def components(self, count: int) -> Float64[np.ndarray, "statement component"]:
        """The leading principal components at unit variance; fewer where the variable has fewer."""
        gram = self.gram.cpu().numpy()
        count = min(count, len(gram) - 1)
        try:
            values, vectors = eigsh(gram, k=count, v0=np.random.default_rng(0).normal(size=len(gram)))
        except ArpackNoConvergence:
            # An even spectrum has no leading components to converge to; the dense solver is slower and takes any.
            values, vectors = eigh(gram, subset_by_index=[len(gram) - count, len(gram) - 1])
        return np.asarray(vectors[:, values > values[-1] * 1e-10] * np.sqrt(len(gram)))
