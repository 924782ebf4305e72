"""Seeded draws: randomness is an argument, and every use of it has a stream of its own."""

import hashlib

import numpy as np


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator that depends on `seed` and `purpose` alone, so that adding one use of chance never moves another.

    Example:
        >>> generator(0, "folds", "reliability/defined").integers(10) == generator(0, "folds", "reliability/defined").integers(10)
        np.True_
    """
    digest = hashlib.sha256("\x1f".join([str(seed), *map(str, purpose)]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
