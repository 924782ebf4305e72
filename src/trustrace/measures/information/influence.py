"""How much each statement moves a measure: the first-order influence of its weight, from the matrices that gave the value.

A bootstrap of statements would solve each kernel again for every draw. The infinitesimal jackknife needs no new solve: a measure is a
smooth function of the weights of the statements, and its derivative is a handful of row sums. Replicates are the value plus the weighted
mean of the influences, so curves over checkpoints that share draws are paired.

All influences have mean zero over the statements.

References:
    Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6.
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
    """Influences on functions of smoothers, of all statements or of some.

    Triple products cost a matrix product; on some hundred statements they cost little, and give the sampling error to a few per cent.
    """

    def __init__(self, statements: Indices | None = None) -> None:
        self._chosen = statements
        self._name = "all" if statements is None else "few"

    def of_trace(self, a: Operator) -> Chosen:
        """On tr R: n (R - R²)_ii."""
        return mean_free(len(a) * (self._rows(a.diagonal) - self._rows(a.square_diagonal)))

    def of_square(self, a: Operator) -> Chosen:
        """On ⟨R, R⟩: 2 n (R² - R³)_ii."""
        return a.influence(self._name, lambda: self._of_square(a))

    def _of_square(self, a: Operator) -> Chosen:
        own = self._single_rows(a)
        cubes = row_products(own, own @ a.single)
        return mean_free(2 * len(a) * (self._rows(a.square_diagonal) - cubes))

    def of_product(self, a: Operator, b: Operator) -> Chosen:
        """On ⟨A, B⟩: n (2 AB - ABA - BAB)_ii."""
        if a is b:
            return self.of_square(a)
        own_a, own_b = self._single_rows(a), self._single_rows(b)
        image = own_a @ b.single
        # Over all statements, the transpose of one product is the other.
        other = image.mT if self._chosen is None else own_b @ a.single
        triples = row_products(own_a, image) + row_products(own_b, other)
        return mean_free(len(a) * (2 * self._rows(row_products(a.matrix, b.matrix)) - triples))

    def _rows(self, values: Vector) -> Chosen:
        return values if self._chosen is None else values[self._chosen]

    def _single_rows(self, a: Operator) -> Float32[Tensor, "chosen statement"]:
        return a.single if self._chosen is None else a.single[self._chosen]


def kernel_influence(a: Operator, b: Operator) -> Vector:
    """Of ⟨A, B⟩ of two centred kernels, as a share of n²: 2 n (AB)_ii."""
    return mean_free(2 * len(a) * row_products(a.matrix, b.matrix))


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelProducts:
    """The products of an operator B with label directions u, one a column: all that I(T;Y) needs.

    Attributes:
        directions: u, each of unit length.
        images: B u.
    """

    directions: Columns
    images: Columns

    @classmethod
    def of(cls, b: Operator, directions: Columns) -> "LabelProducts":
        """The products of `b`."""
        return cls(directions=directions, images=b.matrix @ directions)

    @property
    def forms(self) -> Float64[Tensor, " labelling"]:
        """U' B u."""
        return (self.directions * self.images).sum(dim=0)

    def smoother_influences(self, strength: float) -> Columns:
        """Of strength · u' B u where B is a smoother and `strength` the eigenvalue of the label's own smoother."""
        u, image = self.directions, self.images
        own = 2 * u * image - strength * u.square() * self.forms - image.square()
        return mean_free(len(u) * strength * own)

    def kernel_influences(self, strength: float) -> Columns:
        """Of strength · u' B u where B is a centred kernel and `strength` the eigenvalue of the label's."""
        return mean_free(2 * len(self.directions) * strength * self.directions * self.images)


def label_trace_influence(direction: Vector, strength: float) -> Vector:
    """Of the strength itself, which depends on how many statements have each label."""
    return mean_free(len(direction) * (strength - strength**2) * direction.square())


def cosine_influence(a: Operator, b: Operator) -> Vector:
    """Of ⟨A, B⟩ / (|A| |B|) of two centred kernels."""
    product = inner(a, b)
    size = (a.squared * b.squared) ** 0.5
    own = kernel_influence(a, b) / size
    norms = kernel_influence(a, a) / a.squared + kernel_influence(b, b) / b.squared
    influence: Vector = own - product / size / 2 * norms
    return influence


def mean_free(values: Tensor) -> Tensor:
    """Less their mean over the statements."""
    return values - values.mean(dim=0)
