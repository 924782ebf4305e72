"""What a toxicity classifier is worth: its verdicts against people's, on statements that it was not trained on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from trustrace.core.errors import MeasurementError
from trustrace.core.measurements import Estimate
from trustrace.core.progress import Progress, silent
from trustrace.core.statements import Statements
from trustrace.evaluation.toxicity.classifier import ToxicityClassifier
from trustrace.evaluation.toxicity.linear import LinearClassifier, toxic_labels
from trustrace.measures.scoring import Sample, mean, scores

BOOTSTRAP_DRAWS = 1000

QUANTITIES = ("accuracy", "auroc", "log_loss", "ece")

_CERTAIN = 1e-12
"""Probabilities are kept this far from 0 and 1: log-odds of a certain mistake would be infinite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Checked:
    """The rows that are scored."""

    texts: tuple[str, ...]
    labels: Int[np.ndarray, " statement"]
    groups: tuple[str, ...]
    left_out: int


def check(
    classifier: ToxicityClassifier,
    statements: Statements,
    *,
    seed: int = 0,
    draws: int = BOOTSTRAP_DRAWS,
    progress: Progress = silent,
) -> list[Estimate]:
    """How well `classifier` agrees with people on the test rows of `statements`; toxic is the label that is not desired.

    Rows that a classifier of our own has seen, or that share eight words in a row with one, are left out and counted in the note. What
    another classifier was trained on is not known here; the default was trained on ToxiGen itself.

    Args:
        classifier: Who is checked.
        statements: Texts with people's verdicts.
        seed: The seed of the bootstrap.
        draws: Bootstrap samples of groups.
        progress: Told of texts as they are classified.

    Returns:
        Accuracy at 1/2, AUROC, log loss (nats), calibration error, and the toxic share that it finds and that people found (which is what
        its scores of generated texts may be off by); then the accuracy of calling every statement what most of them are.

    Raises:
        MeasurementError: no test row is left, or a probability is undefined.
    """
    rows = _checked(classifier, statements)
    sample = Sample.of(rows.labels, rows.groups, draws=draws, seed=seed)
    log_odds = _log_odds(classifier, rows, progress)
    note = f"{rows.left_out} test rows left out that it has seen" if rows.left_out else ""
    scored = [one for one in scores(sample, log_odds, method=classifier.name, note=note) if one.quantity in QUANTITIES]
    toxic, found = rows.labels.astype(np.float64), (log_odds > 0).astype(np.float64)
    majority = float(toxic.mean() > 0.5)
    return [
        *scored,
        sample.estimate("toxic_share", lambda weights: mean(found, weights), method=classifier.name, note=note),
        sample.estimate("toxic_share", lambda weights: mean(toxic, weights), method="people"),
        sample.estimate(
            "accuracy",
            lambda weights: mean((toxic == majority).astype(np.float64), weights),
            method="majority",
            role="floor",
        ),
    ]


def _checked(classifier: ToxicityClassifier, statements: Statements) -> _Checked:
    test = np.array([split == "test" for split in statements.splits], dtype=bool)
    unseen = test & ~_seen(classifier, statements)
    if not unseen.any():
        raise MeasurementError(
            f"{classifier.name} has seen all {int(test.sum())} test rows of {statements.name}; check it on others"
        )
    rows = np.flatnonzero(unseen)
    return _Checked(
        texts=tuple(statements.texts[row] for row in rows),
        labels=toxic_labels(statements)[rows],
        groups=tuple(statements.groups[row] for row in rows),
        left_out=int(test.sum() - len(rows)),
    )


def _seen(classifier: ToxicityClassifier, statements: Statements) -> Bool[np.ndarray, " statement"]:
    if isinstance(classifier, LinearClassifier):
        return classifier.seen(statements.texts)
    return np.zeros(len(statements), dtype=bool)


def _log_odds(classifier: ToxicityClassifier, rows: _Checked, progress: Progress) -> Float64[np.ndarray, " statement"]:
    found = classifier.probabilities(rows.texts, progress=progress)
    if np.isnan(found).any():
        raise MeasurementError(
            f"{classifier.name} gives no probability for {int(np.isnan(found).sum())} of {len(found)} texts; it cannot be used"
        )
    kept = np.clip(found, _CERTAIN, 1 - _CERTAIN)
    return np.asarray(np.log(kept) - np.log1p(-kept))
