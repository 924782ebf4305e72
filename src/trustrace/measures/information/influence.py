"""How much each statement moves a measure: what the measure loses without it, from the matrices that gave the value.

A bootstrap of statements would solve each kernel again for every draw, and the copies that it draws would be dependence that is not there.
The jackknife needs no new solve: a smoother without one statement is the smoother with a change of rank one. Replicates are the value plus
the weighted mean of the influences, so curves over checkpoints that share draws are paired.

An influence is n times what is lost, less its mean over the statements.

References:
    Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans, chapters 3 and 6.
    Efron and Stein (1981), The jackknife estimate of variance.
"""

from dataclasses import dataclass

from jaxtyping import Float32, Float64, Int
from torch import Tensor

from trustrace.measures.information.kernels import Vector
from trustrace.measures.information.operators import Operator, inner, row_products

Columns = Float64[Tensor, "statement labelling"]
Indices = Int[Tensor, " chosen"]
Chosen = Float64[Tensor, " chosen"]


class SmootherInfluence:
    """What leaving a statement out takes from functions of smoothers, for all statements or for some.

    Without row i a smoother is R' = R + r_i r_i' / (1 - r_ii) on the other rows (Schur complement), the mean and the ridge held.
    Triple products cost a matrix product; on some hundred statements they cost little.
    """

    def __init__(self, statements: Indices | None = None) -> None:
        self._chosen = statements
        self._name = "all" if statements is None else "few"

    def of_trace(self, a: Operator) -> Chosen:
        """On tr R."""
        own = self._rows(a.diagonal)
        return mean_free(len(a) * (own - (self._rows(a.square_diagonal) - own.square()) / (1 - own)))

    def of_square(self, a: Operator) -> Chosen:
        """On ⟨R, R⟩."""
        return a.influence(self._name, lambda: self._of_square(a))

    def _of_square(self, a: Operator) -> Chosen:
        rows, own, square = self._single_rows(a), self._rows(a.diagonal), self._rows(a.square_diagonal)
        cube = row_products(rows, rows @ a.single)
        return mean_free(len(a) * left_out(own, own, square, cube, cube))

    def of_product(self, a: Operator, b: Operator) -> Chosen:
        """On ⟨A, B⟩."""
        if a is b:
            return self.of_square(a)
        rows_a, rows_b = self._single_rows(a), self._single_rows(b)
        image = rows_a @ b.single
        # Over all statements, the transpose of one product is the other.
        other = image.mT if self._chosen is None else rows_b @ a.single
        product = self._rows(row_products(a.matrix, b.matrix))
        aba, bab = row_products(rows_a, image), row_products(rows_b, other)
        return mean_free(len(a) * left_out(self._rows(a.diagonal), self._rows(b.diagonal), product, aba, bab))

    def _rows(self, values: Vector) -> Chosen:
        return values if self._chosen is None else values[self._chosen]

    def _single_rows(self, a: Operator) -> Float32[Tensor, "chosen statement"]:
        return a.single if self._chosen is None else a.single[self._chosen]


def left_out(a: Tensor, b: Tensor, ab: Tensor, aba: Tensor, bab: Tensor) -> Tensor:
    """⟨A, B⟩ of two smoothers less that without statement i, from a_ii, b_ii, (AB)_ii, (ABA)_ii and (BAB)_ii."""
    across = ab - a * b
    gained_a = (aba - 2 * a * ab + a.square() * b) / (1 - a)
    gained_b = (bab - 2 * b * ab + b.square() * a) / (1 - b)
    return 2 * ab - a * b - gained_a - gained_b - across.square() / ((1 - a) * (1 - b))


def kernel_influence(a: Operator, b: Operator) -> Vector:
    """On ⟨A, B⟩ of two centred kernels, as a share of n²: twice the mean over the others.

    The U-centred forms are used: a diagonal counts pairs of a statement with itself, which a sample of more statements would not have.
    """
    return mean_free(2 * len(a) * row_products(a.fair.matrix, b.fair.matrix))


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelProducts:
    """The products of an operator B with label directions u, one a column: all that I(T;Y) needs.

    Attributes:
        directions: u, each of unit length.
        images: B u.
        diagonal: b_ii.
    """

    directions: Columns
    images: Columns
    diagonal: Vector

    @classmethod
    def of(cls, b: Operator, directions: Columns) -> "LabelProducts":
        """The products of `b`."""
        return cls(directions=directions, images=b.matrix @ directions, diagonal=b.diagonal)

    @property
    def forms(self) -> Float64[Tensor, " labelling"]:
        """U' B u."""
        return (self.directions * self.images).sum(dim=0)

    def smoother_influences(self, strength: float) -> Columns:
        """Of strength · u' B u where B is a smoother and `strength` the eigenvalue of the label's own smoother."""
        u, image = self.directions, self.images
        label = strength * u.square()
        own = left_out(
            label,
            self.diagonal[:, None].expand_as(u),
            strength * u * image,
            strength * label * self.forms,
            strength * image.square(),
        )
        return mean_free(len(u) * own)


def label_trace_influence(direction: Vector, strength: float) -> Vector:
    """Of the strength itself, which depends on how many statements have each label."""
    own = strength * direction.square()
    return mean_free(len(direction) * (own - own * (strength - own) / (1 - own)))


def cosine_influence(a: Operator, b: Operator, *, biased: bool) -> Vector:
    """On ⟨A, B⟩ / (|A| |B|) of two centred kernels, or of their U-centred forms."""
    first, second = (a, b) if biased else (a.fair, b.fair)
    size = (first.squared * second.squared) ** 0.5
    norms = kernel_influence(a, a) / first.squared + kernel_influence(b, b) / second.squared
    influence: Vector = kernel_influence(a, b) / size - inner(first, second) / size / 2 * norms
    return influence


def mean_free(values: Tensor) -> Tensor:
    """Less their mean over the statements."""
    return values - values.mean(dim=0)
