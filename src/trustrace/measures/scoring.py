"""What predicted log-odds are worth: scores with cluster-bootstrap intervals, all draws at once.

Each score is a function of row weights; the value uses weight 1 for every row, a bootstrap draw the number of times that each row's group
was drawn. So a score of a thousand draws is one product of its rows with the matrix of weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int
from scipy.special import xlogy

from trustrace.core.draws import generator
from trustrace.core.intervals import cluster_weights, percentile_interval
from trustrace.core.measurements import Estimate, Role

ECE_BINS = 15
"""Equal-width bins of confidence, as in Guo et al. (2017)."""

Weights = Float[np.ndarray, "statement draw"]
Scores = Float64[np.ndarray, " draw"]
PerRow = Float64[np.ndarray, " statement"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The rows that are scored.

    Attributes:
        labels: 0 or 1 each.
        draws: How often each row occurs in each bootstrap draw.
        n_groups: The unit of resampling.
    """

    labels: Int[np.ndarray, " statement"]
    draws: Float32[np.ndarray, "statement draw"]
    n_groups: int

    @classmethod
    def of(cls, labels: Int[np.ndarray, " statement"], groups: tuple[str, ...], *, draws: int, seed: int) -> "Sample":
        """Rows with `labels` in `groups`; the draws depend on `seed` and the groups alone, so that curves are paired."""
        weights = cluster_weights(groups, draws=draws, rng=generator(seed, "bootstrap"))
        return cls(labels=labels, draws=weights.T.astype(np.float32, order="C"), n_groups=len(set(groups)))

    def __len__(self) -> int:
        return len(self.labels)

    def estimate(
        self,
        quantity: str,
        score: Callable[[Weights], Scores],
        *,
        method: str,
        role: Role = "measured",
        note: str = "",
        keep: bool = False,
    ) -> Estimate:
        """The value of `score`, in double precision, and its 95 % interval; a sample of one group has none. `keep` keeps the draws."""
        value = float(score(np.ones((len(self), 1)))[0])
        draws = score(self.draws)
        lower, upper = percentile_interval(draws) if self.n_groups > 1 else (np.nan, np.nan)
        if np.isnan(value) and not note:
            note = "undefined: the scored rows hold one class"
        return Estimate(
            quantity=quantity,
            method=method,
            value=value,
            lower=lower,
            upper=upper,
            n=len(self),
            n_groups=self.n_groups,
            role=role,
            note=note,
            replicates=draws if keep else None,
        )


def scores(sample: Sample, log_odds: PerRow, *, method: str, note: str = "") -> list[Estimate]:
    """Accuracy, AUROC, log loss (nats), calibration error and information bound (nats) of predicted log-odds of label 1."""
    y = sample.labels
    losses = row_losses(y, log_odds)
    quantities: dict[str, Callable[[Weights], Scores]] = {
        "accuracy": lambda w: mean(correct(y, log_odds), w),
        "auroc": lambda w: auroc(y, log_odds, w),
        "log_loss": lambda w: mean(losses, w),
        "ece": lambda w: calibration_error(y, log_odds, w),
        "information_bound": lambda w: label_entropy(y, w) - mean(losses, w),
    }
    # The accuracy of the logistic probe is the one whose course over training is judged.
    return [
        sample.estimate(name, score, method=method, note=note, keep=(name, method) == ("accuracy", "logistic"))
        for name, score in quantities.items()
    ]


def v_information(sample: Sample, log_odds: PerRow, guesses: PerRow, *, method: str, note: str = "") -> Estimate:
    """How much better than a guess the probe codes a label, in nats: the mean over rows of log p(probe) - log p(guess).

    Args:
        sample: The rows.
        log_odds: Of the probe.
        guesses: The log-odds of whoever knows the label rate of the same training rows and nothing else.
        method: The probe.
        note: What must be known of it.

    References:
        Xu, Zhao, Song, Stewart and Ermon (2020), A theory of usable information under computational constraints.
    """
    gained = row_losses(sample.labels, guesses) - row_losses(sample.labels, log_odds)
    return sample.estimate("v_information", lambda w: mean(gained, w), method=method, note=note)


def correct(labels: Int[np.ndarray, " statement"], log_odds: PerRow) -> PerRow:
    """1 where the sign of the log-odds names the label; like scikit-learn, even odds mean label 0."""
    hits: np.ndarray = (log_odds > 0) == (labels == 1)
    return hits.astype(np.float64)


def row_losses(labels: Int[np.ndarray, " statement"], log_odds: PerRow) -> PerRow:
    """-log p(label) of each row, in nats."""
    return np.logaddexp(0.0, np.where(labels == 1, -log_odds, log_odds))


def mean(values: PerRow, weights: Weights) -> Scores:
    """The weighted mean of `values`, one per draw."""
    totals: np.ndarray = values.astype(weights.dtype) @ weights
    return _ratio(totals, weights.sum(axis=0))


def label_entropy(labels: Int[np.ndarray, " statement"], weights: Weights) -> Scores:
    """H(Y) of the weighted labels in nats.

    Less the cross-entropy of a probe it bounds I(T; Y) from below, up to sampling error.

    References:
        Choi, Kim, Zhu and others (2023), Understanding probe behaviors through variational bounds of mutual information.
    """
    rate = mean((labels == 1).astype(np.float64), weights)
    return np.asarray(-(xlogy(rate, rate) + xlogy(1 - rate, 1 - rate)))


def auroc(labels: Int[np.ndarray, " statement"], log_odds: PerRow, weights: Weights) -> Scores:
    """The chance that a row of label 1 scores above one of label 0, ties counting half: Σ w₁ (W₀ below + W₀ tied / 2) / (W₁ W₀).

    NaN in a draw that holds one class. A constant prediction scores 0.5.
    """
    ones, zeros = _ascending(log_odds, labels == 1), _ascending(log_odds, labels == 0)
    below, not_above = (np.searchsorted(log_odds[zeros], log_odds[ones], side=side) for side in ("left", "right"))
    # Row k holds the weight of the k lowest rows of label 0.
    totals = np.zeros((len(zeros) + 1, weights.shape[1]), dtype=weights.dtype)
    np.cumsum(weights[zeros], axis=0, out=totals[1:])
    beaten = totals[below] if (below == not_above).all() else (totals[below] + totals[not_above]) / 2
    positive = weights[ones]
    pairs = np.einsum("vd,vd->d", positive, beaten, dtype=np.float64)
    return _ratio(pairs, positive.sum(axis=0, dtype=np.float64) * totals[-1].astype(np.float64))


def calibration_error(labels: Int[np.ndarray, " statement"], log_odds: PerRow, weights: Weights) -> Scores:
    """Expected calibration error: Σ_bins |Σ w (correct - confidence)| / Σ w, with confidence the probability of the predicted label.

    References:
        Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks.
    """
    confidence = 1 / (1 + np.exp(-np.abs(log_odds)))
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    gaps = np.zeros((ECE_BINS, len(labels)), dtype=weights.dtype)
    gaps[bins, np.arange(len(labels))] = correct(labels, log_odds) - confidence
    return _ratio(np.abs(gaps @ weights).sum(axis=0), weights.sum(axis=0))


def _ascending(log_odds: PerRow, rows: Bool[np.ndarray, " statement"]) -> Int[np.ndarray, " row"]:
    """The given rows in ascending order of score."""
    chosen = np.flatnonzero(rows)
    return chosen[np.argsort(log_odds[chosen], kind="stable")]


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> Scores:
    """Their quotient in double precision; NaN where there is nothing to divide by."""
    top, bottom = numerator.astype(np.float64), denominator.astype(np.float64)
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom != 0)
