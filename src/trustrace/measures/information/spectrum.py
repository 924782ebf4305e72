"""The shape of a representation's spectrum: a fall of dependence that is only a change of spectrum must be seen as such.

λ_1 >= λ_2 >= ... are the eigenvalues of the features' covariance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from trustrace.measures.information.kernels import Square, Vector

Eigenvalues = Float64[Tensor, " component"]

NEGLIGIBLE = 1e-12
"""Eigenvalues below this share of the largest are rounding error."""

FIRST_FITTED = 10
"""The power law is fitted from here on: the first eigenvalues are a few outliers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """The eigenvalues of a covariance, largest first, and how each statement weighs in them.

    Attributes:
        eigenvalues: λ_k.
        shares: u_ik², the squared eigenvectors of the Gram matrix; a statement moves λ_k by λ_k (n u_ik² - 1).
    """

    eigenvalues: Eigenvalues
    shares: Float64[Tensor, "statement component"]

    @classmethod
    def of(cls, gram: Square) -> "Spectrum":
        """The spectrum behind a centred Gram matrix."""
        values, vectors = torch.linalg.eigh(gram)
        kept = values > NEGLIGIBLE * values[-1]
        return cls(eigenvalues=values[kept].flip(0) / len(gram), shares=vectors[:, kept].flip(1).square())

    def influence(self, measure: Callable[[Eigenvalues], Tensor]) -> Vector:
        """Of a function of the eigenvalues, by the chain rule."""
        values = self.eigenvalues.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(measure(values), values)
        weights = gradient * self.eigenvalues
        return len(self.shares) * (self.shares @ weights) - weights.sum()


def effective_rank(eigenvalues: Eigenvalues) -> Tensor:
    """The exponential of the entropy of the singular values' shares (RankMe): directions in use, between 1 and the rank.

    References:
        Roy and Vetterli (2007), The effective rank.
        Garrido, Balestriero, Najman and LeCun (2023), RankMe. (Theirs is not centred; this one is.)
    """
    shares = eigenvalues.sqrt() / eigenvalues.sqrt().sum()
    return torch.exp(-(shares * shares.log()).sum())


def participation_ratio(eigenvalues: Eigenvalues) -> Tensor:
    """(Σ λ)² / Σ λ²: how many directions carry the variance, between 1 and the rank.

    References:
        Gao, Trautmann, Yu and others (2017), A theory of multineuronal dimensionality, dynamics and measurement.
    """
    return eigenvalues.sum() ** 2 / eigenvalues.square().sum()


def spectral_decay(eigenvalues: Eigenvalues) -> Tensor:
    """α of λ_k ~ k^-α by least squares on logarithms, from the tenth eigenvalue to the middle of the spectrum; NaN where that is too short.

    References:
        Agrawal, Mondal, Ghosh and Richards (2022), α-ReQ.
    """
    stop = len(eigenvalues) // 2
    if stop < 2 * FIRST_FITTED:
        return eigenvalues.sum() * float("nan")
    logs = torch.log(torch.arange(FIRST_FITTED, stop, dtype=torch.float64, device=eigenvalues.device))
    logs = logs - logs.mean()
    return -(logs * eigenvalues[FIRST_FITTED - 1 : stop - 1].log()).sum() / logs.square().sum()
