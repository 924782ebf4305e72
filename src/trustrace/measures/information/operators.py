"""One form for every kernel measure of dependence: the inner product ⟨A, B⟩ of two symmetric matrices whose rows sum to zero.

A measure is a choice of A(X) and B(T): centred kernels (HSIC), the same at unit length (CKA), U-centred kernels (their unbiased forms), or
the ridge smoothers K (K + ε n I)⁻¹ of centred kernels (normalised HSIC). So one set of formulas gives value, permutation null, calibration
and sampling error of all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float32
from torch import Tensor

from trustrace.measures.information.kernels import Square, Vector, centre_, u_centred


@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """A symmetric matrix whose rows sum to zero; what is derived from it is kept, since inputs meet every site."""

    matrix: Square
    _influences: dict[str, Vector] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.matrix)

    @cached_property
    def trace(self) -> float:
        """Tr A."""
        return float(self.diagonal.sum())

    @cached_property
    def squared(self) -> float:
        """⟨A, A⟩ = tr A²."""
        return inner(self, self)

    @property
    def diagonal(self) -> Vector:
        """a_ii."""
        return self.matrix.diagonal()

    @cached_property
    def diagonal_squared(self) -> float:
        """Σ a_ii²."""
        return float(self.diagonal.square().sum())

    @cached_property
    def square_diagonal(self) -> Vector:
        """(A²)_ii."""
        return row_products(self.matrix, self.matrix)

    @cached_property
    def fair(self) -> "Operator":
        """The U-centred form of a centred kernel, whose products are unbiased."""
        return Operator(matrix=u_centred(self.matrix))

    @cached_property
    def residual(self) -> Float32[Tensor, "statement statement"]:
        """A less the multiple of the centring matrix that has its trace, in single precision: what a permutation moves."""
        n, share = len(self), self.trace / (len(self) - 1)
        moved = self.matrix + share / n
        moved.diagonal().sub_(share)
        return moved.float()

    @cached_property
    def single(self) -> Float32[Tensor, "statement statement"]:
        """The matrix in single precision: enough for sampling errors, which are told to three digits."""
        return self.matrix.float()

    def influence(self, name: str, compute: Callable[[], Vector]) -> Vector:
        """The influence called `name`, computed once."""
        if name not in self._influences:
            self._influences[name] = compute()
        return self._influences[name]


def inner(a: Operator, b: Operator) -> float:
    """⟨A, B⟩ = tr AB."""
    return float(torch.dot(a.matrix.view(-1), b.matrix.view(-1)))


def smoother_(kernel: Square, *, ridge: float) -> Operator:
    """R = K (K + ε n I)⁻¹ = I - ε n (K + ε n I)⁻¹ of the centred kernel, by Cholesky; uses `kernel` up.

    Its eigenvalues lie between 0 and 1: a principal component of the features passes where its variance exceeds the ridge.

    Args:
        kernel: Not centred yet.
        ridge: ε, a share of the number of rows.
    """
    shift = ridge * len(kernel)
    centre_(kernel).diagonal().add_(shift)
    factor = torch.linalg.cholesky(kernel)
    del kernel
    # Column-major as it comes; it is symmetric, so its transpose is the same matrix row by row.
    matrix = torch.cholesky_inverse(factor).mT.contiguous().mul_(-shift)
    matrix.diagonal().add_(1.0)
    return Operator(matrix=matrix)


def row_products(a: Tensor, b: Tensor) -> Vector:
    """Σ_j a_ij b_ij: for symmetric matrices the diagonal of their product."""
    return torch.einsum("ij,ij->i", a, b).double()
