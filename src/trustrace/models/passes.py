"""What sending tokens through a model takes, by its shape alone."""

from trustrace.models.shapes import BYTES, Shape, StoredDtype

OPERATIONS_PER_BLOCK = 30
"""Tensor operations of a block in one pass: each is told to a device one by one."""


def reading_flops(shape: Shape, tokens: float | int) -> float:
    """Floating-point operations of reading `tokens`: two for each parameter of the blocks and each token.

    Attention between tokens is left out; for texts of some hundred tokens it is below two in a hundred of a 7B model.

    References:
        Kaplan et al. (2020), Scaling laws for neural language models, section 2.1.
    """
    return 2.0 * shape.body_parameters * tokens


def step_bytes(shape: Shape, *, rows: float | int, length: float | int, dtype: StoredDtype) -> float:
    """Bytes that one step of decoding reads: all weights, and the keys and values of `rows` texts of `length` tokens."""
    return float(shape.parameters * BYTES[dtype] + shape.cache_bytes(1, dtype=dtype) * rows * length)


def pass_operations(shape: Shape) -> int:
    """Tensor operations of one pass."""
    return OPERATIONS_PER_BLOCK * shape.n_blocks
