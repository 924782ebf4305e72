"""Measures of dependence between two kernels, as plain functions of kernel matrices.

None of them is mutual information in nats: they are 0 where features are uncorrelated in the kernels' spaces and grow with dependence,
but their scale is that of the kernel, the number of rows and, for normalised HSIC, the ridge. See :mod:`nulls` for what makes them
comparable.
"""

from trustrace.measures.information.kernels import Square, centred, u_centred
from trustrace.measures.information.operators import Operator, inner, smoother_

RIDGE = 1e-5
"""ε of the paper's scripts."""


def hsic(x: Square, y: Square) -> float:
    """The Hilbert-Schmidt independence criterion (n - 1)⁻² tr(K_X H K_Y H): never negative, biased upwards by O(1/n).

    Args:
        x: Kernel matrix of one variable, not centred.
        y: Kernel matrix of the other.

    References:
        Gretton, Bousquet, Smola and Schölkopf (2005), Measuring statistical dependence with Hilbert-Schmidt norms, eq. 9.
    """
    return _product(centred(x), centred(y)) / (len(x) - 1) ** 2


def unbiased_hsic(x: Square, y: Square) -> float:
    """HSIC without bias: 0 on average for independent variables, so it may be negative.

    References:
        Song, Smola, Gretton, Bedo and Borgwardt (2012), Feature selection via dependence maximization, eq. 5.
    """
    n = len(x)
    return _product(u_centred(x), u_centred(y)) / (n * (n - 3))


def normalized_hsic(x: Square, y: Square, *, ridge: float = RIDGE) -> float:
    """NHSIC = tr(R_X R_Y) with R = K (K + ε n I)⁻¹ of the centred kernels; between 0 and n - 1.

    References:
        Fukumizu, Gretton, Sun and Schölkopf (2007), Kernel measures of conditional dependence.
        Ma, Lewis and Kleijn (2020), The HSIC bottleneck.
    """
    return max(0.0, inner(smoother_(x.clone(), ridge=ridge), smoother_(y.clone(), ridge=ridge)))


def cka(x: Square, y: Square) -> float:
    """Centred kernel alignment, between 0 and 1; biased upwards where features outnumber rows.

    References:
        Kornblith, Norouzi, Lee and Hinton (2019), Similarity of neural network representations revisited.
    """
    return _cosine(centred(x), centred(y))


def debiased_cka(x: Square, y: Square) -> float:
    """CKA from unbiased HSIC: 0 on average for independent variables, at most 1.

    References:
        Murphy, Zylberberg and Fyshe (2024), Correcting biased centered kernel alignment measures.
    """
    return _cosine(u_centred(x), u_centred(y))


def _product(a: Square, b: Square) -> float:
    return inner(Operator(matrix=a), Operator(matrix=b))


def _cosine(a: Square, b: Square) -> float:
    size = (_product(a, a) * _product(b, b)) ** 0.5
    return _product(a, b) / size if size > 0 else float("nan")
