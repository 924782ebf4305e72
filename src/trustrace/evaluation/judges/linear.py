"""A small judge of our own: calibrated logistic regression on the words of an answer and its nearness to the reference answers.

It knows words, not the world. What it is worth is measured on questions that it has not seen; see
:mod:`~trustrace.evaluation.judges.check`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int
from sklearn.linear_model import LogisticRegression

from trustrace.core.draws import generator
from trustrace.core.errors import MeasurementError
from trustrace.core.progress import Progress, silent
from trustrace.datasets.grouping import normalise
from trustrace.evaluation.judges.features import Features
from trustrace.evaluation.judges.human import HumanJudgements
from trustrace.evaluation.judges.judge import Answered, Aspect, question_key
from trustrace.evaluation.judges.references import References
from trustrace.measures.folds import grouped_folds
from trustrace.measures.scoring import row_losses

REGULARISERS: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
"""scikit-learn's ``C`` for features of about unit size."""

FOLDS = 5
"""Folds of questions on which the regulariser is chosen and the probabilities are calibrated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearJudge:
    """A trained judge: P(yes) = σ(slope (w · features + bias) + intercept).

    Attributes:
        name: What it is called.
        aspect: What it judges.
        features: What it looks at.
        weights: w, one for each feature.
        bias: Of the regression.
        slope: Of the calibration, fitted to log-odds of questions that the fit had not seen.
        intercept: Of the calibration.
        regulariser: The chosen ``C``.
        n: Answers that it was trained on.
        trained_on: The questions that it was trained on, as :func:`~trustrace.evaluation.judges.judge.question_key`.
        home: The folder that it was read from; None for one that is in memory alone.
    """

    name: str
    aspect: Aspect
    features: Features
    weights: Float64[np.ndarray, " feature"]
    bias: float
    slope: float
    intercept: float
    regulariser: float
    n: int
    trained_on: frozenset[str]
    home: Path | None = None

    def probabilities(self, pairs: Sequence[Answered], *, progress: Progress = silent) -> Float64[np.ndarray, " item"]:
        """P(yes) of each answer; NaN where it compares with reference answers and the question has none."""
        found = np.full(len(pairs), np.nan)
        rows = [row for row, pair in enumerate(pairs) if self.features.covers(pair)]
        if rows:
            log_odds = self.features.transform([pairs[row] for row in rows]) @ self.weights + self.bias
            found[rows] = 1 / (1 + np.exp(-(self.slope * log_odds + self.intercept)))
        progress(len(pairs), len(pairs), "answers judged")
        return found


def train(
    human: HumanJudgements,
    *,
    references: References | None,
    seed: int = 0,
    folds: int = FOLDS,
    regularisers: tuple[float, ...] = REGULARISERS,
    progress: Progress = silent,
) -> LinearJudge:
    """Fit a judge to `human`, all of it: leave out before what is to be held out.

    Answers of kind ``reference`` are not learned from: they stand in the very list that the answer is compared with, which would teach
    that being in the list decides. The regulariser is the one with the smallest log loss on folds of questions that the fit has not
    seen, and its log-odds there calibrate the probabilities (slope and intercept, after Platt).

    Args:
        human: What people said.
        references: The reference answers; None for a judge that needs none, and can judge any question.
        seed: The seed of the folds.
        folds: How many.
        regularisers: What to choose from.
        progress: Told of each fit.

    Raises:
        MeasurementError: too few answers, questions, or answers of one label.

    References:
        Platt (1999), Probabilistic outputs for support vector machines.
    """
    human = human.where(np.array([kind != "reference" for kind in human.kinds], dtype=bool))
    human = human if references is None else human.where(_listed(human, references))
    _require_both_labels(human)
    membership = grouped_folds(human.groups, human.labels.tolist(), folds=folds, rng=generator(seed, "judge", "folds"))
    held_out = np.zeros((len(regularisers), len(human)))
    for fold in range(folds):
        rest, tested = human.where(membership != fold), human.where(membership == fold)
        held_out[:, membership == fold] = _log_odds(rest, tested, references=references, regularisers=regularisers)
        progress(fold + 1, folds + 1, "fits")
    chosen = int(np.argmin([row_losses(human.labels, row).sum() for row in held_out]))
    slope, intercept = _calibration(held_out[chosen], human.labels)
    features = Features.fit(human.pairs, references=references)
    fitted = _regression(regularisers[chosen]).fit(features.transform(human.pairs), human.labels)
    progress(folds + 1, folds + 1, "fits")
    return LinearJudge(
        name="linear" if references is None else "linear with references",
        aspect=human.aspect,
        features=features,
        weights=fitted.coef_[0],
        bias=float(fitted.intercept_[0]),
        slope=slope,
        intercept=intercept,
        regulariser=regularisers[chosen],
        n=len(human),
        trained_on=frozenset(question_key(pair.question) for pair in human.pairs),
    )


def training_rows(human: HumanJudgements, *, excluded: Iterable[str] = ()) -> HumanJudgements:
    """What a judge learns from: the development half, so that it can be checked on the other.

    Where questions were excluded from `human`, they are what it is checked on, and it learns from all that is left.
    """
    return human if tuple(excluded) else human.of("train", "validation")


def _listed(human: HumanJudgements, references: References) -> Bool[np.ndarray, " item"]:
    return np.array([normalise(pair.question) in references for pair in human.pairs], dtype=bool)


def _require_both_labels(human: HumanJudgements) -> None:
    if len(human) and len(np.unique(human.labels)) == 2:
        return
    raise MeasurementError(
        f"a judge of {human.aspect} cannot be trained on {len(human)} answers of which people affirmed {int(human.labels.sum())}; "
        "it needs answers of both kinds: exclude fewer questions"
    )


def _regression(regulariser: float) -> LogisticRegression:
    # Newton steps need only products with the sparse features and leave the intercept unpenalised, as liblinear does not.
    return LogisticRegression(C=regulariser, solver="newton-cg", warm_start=True, max_iter=1000)


def _log_odds(
    train: HumanJudgements,
    test: HumanJudgements,
    *,
    references: References | None,
    regularisers: tuple[float, ...],
) -> Float64[np.ndarray, "regulariser item"]:
    """The log-odds of the answers of `test` from fits to `train`, each started where the one before it ended."""
    _require_both_labels(train)
    features = Features.fit(train.pairs, references=references)
    fitted, tested = features.transform(train.pairs), features.transform(test.pairs)
    model, rows = _regression(regularisers[0]), []
    for regulariser in regularisers:
        model.set_params(C=regulariser).fit(fitted, train.labels)
        rows.append(model.decision_function(tested))
    return np.stack(rows)


def _calibration(log_odds: Float64[np.ndarray, " item"], labels: Int[np.ndarray, " item"]) -> tuple[float, float]:
    """Slope and intercept that make `log_odds` fit `labels` best."""
    fitted = LogisticRegression(C=np.inf, solver="newton-cg", max_iter=1000).fit(log_odds[:, None], labels)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
