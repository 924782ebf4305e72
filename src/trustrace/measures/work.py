"""What measuring a site takes, counted before anything is measured: arithmetic by precision, bytes moved, and what stays on the processor.

Matrix products and factorisations are counted from the algorithms as they are written in this room. How many products a fit takes is a
property of the data: :data:`SINGLE_PRODUCTS` and :data:`DOUBLE_PRODUCTS` were counted while probes were fitted; a test counts them again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from trustrace.core.measurements import Protocol
from trustrace.measures.config import InformationConfig, ProbingConfig
from trustrace.measures.information.exchange import DRAWN
from trustrace.measures.information.rows import FEW
from trustrace.measures.information.site import MOST_EIGENVALUES
from trustrace.measures.operators import LEADING

SINGLE_PRODUCTS, DOUBLE_PRODUCTS = 47, 12
"""Products of the feature space with a column, in single and in double precision, until a column of the solver has converged; its share of
the split-off eigenvectors included."""

OPERATIONS = 40_000.0
"""Tensor operations of a site under ``rigorous``, probing alone, views among them: 31,000 to 52,000 were counted."""

OPERATIONS_PER_WIDTH = 800.0
"""The same for each width of information."""

SCORING_PASSES = 52
"""How often the scores of a site read or write a matrix of statements by bootstrap draws."""

PUBLISHED_EVALUATIONS = 110
"""Evaluations of loss and gradient by the scripts' probe: at most 100 iterations, some with a second try."""

INPUTS = 3
"""What a representation is compared with: the first block, the fixed embedding, the tokens."""

EIGEN = 9
"""Operations of a symmetric eigendecomposition, in cubes of its size (Golub and Van Loan 2013, section 8.3)."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """An amount of work.

    Attributes:
        single: Floating-point operations of matrix products in float32.
        double: The same in float64.
        factored: Floating-point operations of Cholesky factors, inverses and eigenvectors in float64.
        moved: Bytes that passes over whole matrices read and write, where the matrices are.
        processor: Bytes that numpy and scikit-learn read and write; wherever the matrices are, this stays on the processor.
        operations: Tensor operations, each of which a device is told of one by one.
    """

    single: float = 0.0
    double: float = 0.0
    factored: float = 0.0
    moved: float = 0.0
    processor: float = 0.0
    operations: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(Work)})

    def times(self, count: float | int) -> "Work":
        """So many times the same."""
        return Work(**{one.name: getattr(self, one.name) * count for one in fields(Work)})


def site_work(
    n: int,
    d_model: int,
    *,
    protocols: Sequence[Protocol],
    probing: ProbingConfig,
    information: InformationConfig | None,
) -> Work:
    """What one site of `n` statements takes under every protocol."""
    total = Work()
    for protocol in protocols:
        if protocol == "published":
            total += _published_probe(n, d_model) + (_published_information(n, d_model) if information else Work())
        else:
            total += _rigorous_probes(n, d_model, config=probing)
            total += (
                _information(min(n, information.max_statements or n), config=information) if information else Work()
            )
    return total


def inputs_work(n: int, *, protocols: Sequence[Protocol], information: InformationConfig | None) -> Work:
    """What one unit takes beside its sites: the inputs are factored once for all of them."""
    if information is None or "rigorous" not in protocols:
        return Work()
    m = min(n, information.max_statements or n)
    return Work(
        factored=INPUTS * len(information.widths) * float(m) ** 3,
        single=INPUTS * 2.0 * m**3,
        moved=INPUTS * len(information.widths) * 12 * 8.0 * m**2,
    )


def columns(config: ProbingConfig) -> int:
    """Models that are fitted to all rows of a site: selection, outer folds, whitened means, controls, the long prefixes of the code."""
    folds, grid = config.folds, len(config.regularisers)
    return math.comb(folds, 2) * grid + folds + folds**2 + config.control_draws * folds + 2 * grid


def _rigorous_probes(n: int, d_model: int, *, config: ProbingConfig) -> Work:
    fitted = columns(config)
    scored = SCORING_PASSES * 4.0 * n * config.bootstrap_draws
    if n <= 2 * d_model:
        product, space = 2.0 * n**2, n**2 * float(d_model)
        # Leading eigenvectors are split off: products with the basis in both precisions, then the remainder and its coupling.
        split = Work(single=4.0 * n**2 * (LEADING + 8), double=4.0 * n**2 * (2 * LEADING + 8))
        factored = 0.0
    else:
        product, space = 2.0 * n * d_model, 4.0 * n * d_model**2
        split, factored = Work(), EIGEN * float(d_model) ** 3
    return split + Work(
        single=SINGLE_PRODUCTS * product * fitted,
        double=space + DOUBLE_PRODUCTS * product * fitted,
        factored=factored,
        # Elementwise passes over a block of columns, some twenty an iteration.
        moved=SINGLE_PRODUCTS * 20 * 4.0 * n * fitted,
        processor=scored,
        operations=OPERATIONS,
    )


def _information(m: int, *, config: InformationConfig) -> Work:
    """Kernels and smoothers at each width; sampling errors of all statements at the first width, of some at the others."""
    widths, labellings = len(config.widths), config.permutations + 1
    few = min(FEW, m)
    first, others = (INPUTS + 1) * 2.0 * m**3, (widths - 1) * (2 * INPUTS + 1) * 2.0 * few * m**2
    kernels = widths + 2
    seen = widths + 4  # by the labels: also the unbiased forms of both kernels
    passes = 8.0 * m**2 * (kernels * 20 + INPUTS * kernels * 8)
    exchanged = kernels * DRAWN * (2 * 8 + INPUTS * 8) * float(m) ** 2
    eigen = EIGEN * float(min(m, MOST_EIGENVALUES)) ** 3
    return Work(
        single=first + others,
        double=seen * 2.0 * labellings * m**2,
        factored=widths * float(m) ** 3 + eigen,
        moved=passes + exchanged,
        processor=8.0 * m * config.bootstrap_draws * INPUTS * kernels * 3,
        operations=OPERATIONS_PER_WIDTH * kernels,
    )


def _published_probe(n: int, d_model: int) -> Work:
    """scikit-learn's probe reads its features twice for each evaluation, and standardising reads and writes them some six times."""
    return Work(processor=(PUBLISHED_EVALUATIONS * 2 * 0.8 + 6) * 4.0 * n * d_model, operations=50.0)


def _published_information(n: int, d_model: int) -> Work:
    m = 0.8 * n
    return Work(double=m**2 * d_model, factored=m**3, moved=20 * 8.0 * m**2, operations=100.0)
