"""The measures as their papers write them: explicit loops, centring matrices and inverses, in numpy and double precision."""

import numpy as np


def gaussian_kernel(x: np.ndarray, *, variance: float) -> np.ndarray:
    """exp(-||x_i - x_j||² / variance), pair by pair."""
    return np.exp(-np.square(x[:, None, :] - x[None, :, :]).sum(axis=2) / variance)


def centring(n: int) -> np.ndarray:
    return np.eye(n) - np.full((n, n), 1 / n)


def hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Gretton et al. (2005): (m - 1)^-2 tr(K H L H)."""
    n = len(k)
    h = centring(n)
    return float(np.trace(k @ h @ m @ h) / (n - 1) ** 2)


def unbiased_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Song et al. (2012), eq. 5."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    ones = np.ones(n)
    total = np.trace(k @ m) + ones @ k @ ones * (ones @ m @ ones) / ((n - 1) * (n - 2))
    return float((total - 2 / (n - 2) * ones @ k @ m @ ones) / (n * (n - 3)))


def normalized_hsic(k: np.ndarray, m: np.ndarray, *, ridge: float) -> float:
    """As the published scripts write it: one-sided centring, inverses of matrices that are not symmetric."""
    n = len(k)
    h = centring(n)
    rk, rl = (one @ h @ np.linalg.inv(one @ h + ridge * n * np.eye(n)) for one in (k, m))
    return float(np.sum(rk * rl.T))


def weighted_normalized_hsic(k: np.ndarray, m: np.ndarray, weights: np.ndarray, *, ridge: float) -> float:
    """The measure of a distribution that gives statement i the mass `weights[i]`."""
    n = len(k)
    h = np.eye(n) - np.outer(np.ones(n), weights)
    root = np.diag(np.sqrt(weights))
    smoothers = []
    for one in (k, m):
        mass = root @ h @ one @ h.T @ root
        smoothers.append(mass @ np.linalg.inv(mass + ridge * np.eye(n)))
    return float(np.trace(smoothers[0] @ smoothers[1]))


def weighted_hsic(k: np.ndarray, m: np.ndarray, weights: np.ndarray) -> float:
    """Σ p_i p_j of the weighted-centred kernels."""
    n = len(k)
    h = np.eye(n) - np.outer(np.ones(n), weights)
    kc, lc = h @ k @ h.T, h @ m @ h.T
    return float(weights @ (kc * lc) @ weights)
