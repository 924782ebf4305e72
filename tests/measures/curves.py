"""Curves over checkpoints with a known truth and known, correlated noise."""

import numpy as np

from trustrace.core.measurements import Estimate
from trustrace.measures.dynamics import Curve, phases


def correlated(n: int, *, kept: float = 0.9, shift: float = 1.0) -> np.ndarray:
    """Covariance of noise that forgets slowly (correlation `kept` between neighbours), and of a shift that all checkpoints share."""
    checkpoint = np.arange(n)
    return kept ** np.abs(checkpoint[:, None] - checkpoint) + shift


def noisy(
    truth: np.ndarray,
    *,
    rng: np.random.Generator,
    covariance: np.ndarray | None = None,
    draws: int = 400,
    name: str = "d",
    **changes: object,
) -> Curve:
    """`truth` plus one draw of noise, with replicates that are centred on it and have the same noise."""
    n = len(truth)
    root = np.linalg.cholesky(correlated(n) if covariance is None else covariance)
    values = truth + root @ rng.standard_normal(n)
    fields: dict[str, object] = {
        "dataset": name,
        "site": "block_3",
        "quantity": "I(T;X)",
        "method": "nhsic_50",
        "training": np.arange(n) * 1e9,
        "values": values,
        "replicates": values + rng.standard_normal((draws, n)) @ root.T,
        "n": 2000,
        "n_groups": 1000,
    }
    return Curve(**(fields | changes))


def told(*curves: Curve, seed: int = 0) -> list[dict[str, Estimate]]:
    """The estimates of each curve by what follows the quantity in their name."""
    return [
        {row.quantity.removeprefix(f"{curve.quantity} "): row for row in rows}
        for curve, rows in phases(curves, seed=seed)
    ]
