"""How much noise a reading stands: accuracy saturates early in training, the noise at which it collapses goes on growing.

Independent Gaussian noise is added to every reading, of a standard deviation of σ times that of the feature inside the classes (on the
fold's training rows). The probe stays as it is. A linear probe's margin m then has Gaussian noise of deviation σ τ with
τ² = Σ_k (w_k s_k)², so that no noise has to be drawn: accuracy(σ) is the mean over held-out rows of Φ(y m / σ τ) with y = ±1. Endless
noise leaves 1/2. Fragility is reported as ``noise tolerance``: the least σ at which accuracy is halfway between its clean value and 1/2.
Since σ counts in units of the spread inside the classes, a growing norm changes nothing.
"""

import numpy as np
import torch
from jaxtyping import Float64
from scipy.special import ndtr

from trustrace.core.measurements import Estimate
from trustrace.measures.config import ProbingConfig
from trustrace.measures.over_training.linear import FoldProbes
from trustrace.measures.over_training.views import Design, View
from trustrace.measures.scoring import Sample, Scores, Weights, correct, mean
from trustrace.measures.spaces import readings

PerRow = Float64[np.ndarray, " tested"]

LEVELS = np.geomspace(1e-3, 1e4, 281)
"""Noise at which accuracy is computed; between two levels it is interpolated on the logarithm of the noise."""


def noise_tolerance(view: View, probes: FoldProbes, design: Design, *, config: ProbingConfig, method: str) -> Estimate:
    """``noise tolerance`` of one view's probes on the rows that each fold tests."""
    log_odds, spread = margins_and_spreads(view, probes, design, config=config)
    return tolerance_estimate(log_odds, spread, design.sample, method=method)


def margins_and_spreads(
    view: View, probes: FoldProbes, design: Design, *, config: ProbingConfig
) -> tuple[PerRow, PerRow]:
    """The log-odds of each tested row, and the deviation τ that noise of σ = 1 gives them."""
    read = readings(view.read(), features=config.features)
    labels = torch.from_numpy(design.labels).to(read.device)
    log_odds, spread = np.full(len(read), np.nan), np.full(len(read), np.nan)
    weights = probes.weights / probes.standard.scale
    intercepts = probes.intercepts - (weights * probes.standard.shift).sum(1)
    for fold, pair in enumerate(design.pairs):
        test, train = (torch.from_numpy(mask).to(read.device) for mask in (pair.test, pair.train))
        log_odds[pair.test] = (read[test] @ weights[fold] + intercepts[fold]).cpu().numpy()
        spread[pair.test] = float((weights[fold].square() * _within(read[train], labels[train])).sum().sqrt())
    return log_odds[design.tested], spread[design.tested]


def tolerance_estimate(log_odds: PerRow, spread: PerRow, sample: Sample, *, method: str) -> Estimate:
    """The noise at which rows of `log_odds` fall halfway to 1/2; NaN where their clean accuracy is not above 1/2."""
    side = np.where(sample.labels == 1, 1.0, -1.0)
    hits = correct(sample.labels, log_odds)
    # A probe that reads nothing is right or wrong whatever the noise.
    untouched = np.where(hits > 0, np.inf, -np.inf)
    noisy = ndtr(np.divide(side * log_odds, spread, out=untouched, where=spread > 0) / LEVELS[:, None])

    def halfway(weights: Weights) -> Scores:
        return _first_crossing(np.asarray(noisy @ weights / weights.sum(axis=0)), mean(hits, weights))

    clean = float(hits.mean())
    note = "" if np.isfinite(halfway(np.ones((len(hits), 1)))[0]) else f"undefined: {_reason(clean)}"
    return sample.estimate("noise tolerance", halfway, method=method, note=note)


def _reason(clean: float) -> str:
    """Why no noise brings the accuracy halfway down."""
    if clean <= 0.5:
        return f"the clean accuracy, {clean:.3f}, is not above 1/2"
    return f"accuracy {clean:.3f} is not brought halfway to 1/2 by any noise from {LEVELS[0]:g} to {LEVELS[-1]:g}"


def _first_crossing(curves: Float64[np.ndarray, "level draw"], clean: Scores) -> Scores:
    """Where each curve first falls to halfway between its clean value and 1/2."""
    wanted = (clean + 0.5) / 2
    below = curves <= wanted
    at = below.argmax(axis=0)
    columns = np.arange(curves.shape[1])
    defined = below.any(axis=0) & (at > 0) & (clean > 0.5)
    before = np.maximum(at - 1, 0)
    upper, lower = curves[before, columns], curves[at, columns]
    share = np.divide(upper - wanted, upper - lower, out=np.zeros_like(wanted), where=upper > lower)
    logs = np.log(LEVELS)
    crossed = np.exp(logs[before] + share * (logs[at] - logs[before]))
    return np.where(defined, crossed, np.nan)


def _within(read: Float64[torch.Tensor, "train d_model"], labels: torch.Tensor) -> Float64[torch.Tensor, " d_model"]:
    """The variance of each feature inside the classes."""
    parts = [read[labels == side] for side in (0, 1)]
    return torch.cat([part - part.mean(0) for part in parts]).square().mean(0)
