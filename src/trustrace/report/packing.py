"""Numbers as text: little-endian float32, rounded to what is ever shown, bytes of equal rank together, squeezed."""

import base64
import gzip
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt

from trustrace.report.grids import Grid

_DROPPED_BITS = 7
"""Of the 23 bits of a float32 mantissa."""

_MEASURED = ("value", "lower", "upper")


def squeezed(content: bytes) -> str:
    """Gzip, then base64; equal content gives equal text."""
    return base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode("ascii")


def packed(planes: Sequence[Float[np.ndarray, " cell"]]) -> str:
    """All `planes`, one after the other, as text."""
    numbers = np.concatenate(planes) if planes else np.zeros(0, dtype="<f4")
    return squeezed(numbers.view(np.uint8).reshape(-1, 4).T.tobytes())


def plane(grid: Grid, name: str) -> Float[np.ndarray, " cell"]:
    """One plane of `grid`, row-major over checkpoint x site; values and ends of intervals are rounded."""
    numbers = np.ascontiguousarray(getattr(grid, name).ravel(), dtype="<f4")
    return rounded(numbers) if name in _MEASURED else numbers


def rounded(numbers: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " cell"]:
    """To the nearest float whose last mantissa bits are zero; what is not finite stays as it is."""
    bits: UInt[np.ndarray, " cell"] = numbers.view("<u4")
    half = np.uint32(1 << (_DROPPED_BITS - 1))
    mask = np.uint32(0xFFFFFFFF << _DROPPED_BITS & 0xFFFFFFFF)
    return np.where(np.isfinite(numbers), ((bits + half) & mask).view("<f4"), numbers).astype("<f4")
