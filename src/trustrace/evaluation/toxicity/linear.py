"""A toxicity classifier of our own: calibrated logistic regression on the words and letters of a text.

It stands in where the usual classifier cannot be fetched. It knows words, not what is meant by them, and half of ToxiGen is implicit: what
it is worth is measured on statements that it has not seen; see :mod:`~trustrace.evaluation.toxicity.check`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from trustrace.core.draws import generator
from trustrace.core.errors import MeasurementError
from trustrace.core.progress import Progress, silent
from trustrace.core.statements import Statements
from trustrace.datasets.grouping import runs
from trustrace.measures.folds import grouped_folds
from trustrace.measures.mean_probes import platt
from trustrace.measures.scoring import row_losses

NAME = "linear"

BLOCKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "words": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\w+"},
        "characters": {"analyzer": "char_wb", "ngram_range": (2, 5)},
    }
)
"""How a text is cut into terms, in lower case. Together they are better than either: 0.83 AUROC on held-out groups of the development half,
words alone 0.82, letters alone 0.81."""

MIN_ROWS = 2
"""Training texts that must hold a term for it to count."""

REGULARISERS: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)
"""scikit-learn's ``C`` for features of about unit size."""

FOLDS = 5
"""Folds on which the regulariser is chosen and the probabilities are calibrated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Terms:
    """A block of features: (1 + ln count) idf, each row to unit length.

    Attributes:
        block: A key of :data:`BLOCKS`.
        vocabulary: Its terms.
        idf: The inverse document frequency of each.
    """

    block: str
    vocabulary: tuple[str, ...]
    idf: Float64[np.ndarray, " term"]

    @classmethod
    def fit(cls, block: str, texts: Sequence[str]) -> "Terms":
        """The terms of training `texts`.

        Raises:
            MeasurementError: no term occurs in two of them.
        """
        counter = TfidfVectorizer(**BLOCKS[block], min_df=MIN_ROWS, sublinear_tf=True)
        try:
            counter.fit(texts)
        except ValueError as error:
            raise MeasurementError(
                f"a classifier cannot be trained on these {len(texts)} texts: no {block} occur in {MIN_ROWS} of them ({error})"
            ) from None
        return cls(block=block, vocabulary=tuple(map(str, counter.get_feature_names_out())), idf=counter.idf_)

    def transform(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """One row for each of `texts`; without a known term, a row of zeros."""
        counter = TfidfVectorizer(**BLOCKS[self.block], vocabulary=list(self.vocabulary), sublinear_tf=True)
        counter.idf_ = self.idf
        return sparse.csr_matrix(counter.transform(texts))


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearClassifier:
    """A trained classifier: P(toxic) = σ(slope (w · features + bias) + intercept).

    Attributes:
        terms: What it looks at.
        weights: w, one for each term of the blocks in turn.
        bias: Of the regression.
        slope: Of the calibration, fitted to log-odds of groups that the fit had not seen.
        intercept: Of the calibration.
        regulariser: The chosen ``C``.
        n: Texts that it was trained on.
        dataset: Where they are from, with the fingerprint of that dataset.
        trained_on: Hashes of every run of eight words in them, by which a text that repeats one of them is known.
        quality: What a check found it to be worth, in words; empty where it was not checked.
    """

    terms: tuple[Terms, ...]
    weights: Float64[np.ndarray, " term"]
    bias: float
    slope: float
    intercept: float
    regulariser: float
    n: int
    dataset: str
    trained_on: frozenset[str]
    quality: str = ""

    @property
    def name(self) -> str:
        """What it is called, and what it was trained on."""
        return f"{NAME} ({self.dataset.partition('@')[0]})"

    @property
    def note(self) -> str:
        """That it knows words alone, and what it is worth."""
        worth = self.quality or "not checked"
        return f"a linear classifier of words, trained on {self.n} statements, stands in for a neural one ({worth})"

    def log_odds(self, texts: Sequence[str]) -> Float64[np.ndarray, " text"]:
        """Ln P(toxic) / P(benign) of each text."""
        if not texts:
            return np.zeros(0)
        raw = _features(self.terms, texts) @ self.weights + self.bias
        return np.asarray(self.slope * raw + self.intercept)

    def probabilities(self, texts: Sequence[str], *, progress: Progress = silent) -> Float64[np.ndarray, " text"]:
        """P(toxic) of each text."""
        progress(len(texts), len(texts), "texts classified")
        return np.asarray(1 / (1 + np.exp(-self.log_odds(texts))))

    def seen(self, texts: Iterable[str]) -> Bool[np.ndarray, " text"]:
        """Which of `texts` share eight words in a row with a text that it was trained on."""
        return np.array([not self.trained_on.isdisjoint(_keys(text)) for text in texts], dtype=bool)


def train(
    statements: Statements,
    *,
    seed: int = 0,
    regularisers: tuple[float, ...] = REGULARISERS,
    progress: Progress = silent,
) -> LinearClassifier:
    """Fit a classifier to the development rows of `statements`; toxic is the label that is not desired.

    The regulariser is the one with the smallest log loss on folds of groups that its fit has not seen, and its log-odds there calibrate
    the probabilities.

    Raises:
        MeasurementError: there are too few groups, or rows of one label only.

    References:
        Platt (1999), Probabilistic outputs for support vector machines.
    """
    rows = [row for row, split in enumerate(statements.splits) if split != "test"]
    texts = [statements.texts[row] for row in rows]
    labels = toxic_labels(statements)[rows]
    if len(set(labels.tolist())) < 2:
        raise MeasurementError(
            f"{statements.name}: its {len(rows)} development rows hold one label only, so there is nothing to tell apart; "
            "give it rows of both"
        )
    groups = [statements.groups[row] for row in rows]
    held_out = _held_out(texts, labels, groups, regularisers=regularisers, seed=seed, progress=progress)
    chosen = int(np.argmin([row_losses(labels, values).sum() for values in held_out]))
    slope, intercept = platt(held_out[chosen], labels.astype(np.float64))
    terms = tuple(Terms.fit(block, texts) for block in BLOCKS)
    fitted = _regression(regularisers[chosen]).fit(_features(terms, texts), labels)
    progress(FOLDS + 1, FOLDS + 1, "fits")
    return LinearClassifier(
        terms=terms,
        weights=fitted.coef_[0],
        bias=float(fitted.intercept_[0]),
        slope=slope,
        intercept=intercept,
        regulariser=regularisers[chosen],
        n=len(rows),
        dataset=f"{statements.name}@{statements.fingerprint}",
        trained_on=frozenset(key for text in texts for key in _keys(text)),
    )


def toxic_labels(statements: Statements) -> Int[np.ndarray, " statement"]:
    """1 where a statement's label is not the desired one."""
    return np.array([label != statements.meaning.desired for label in statements.labels], dtype=np.int64)


def _held_out(
    texts: Sequence[str],
    labels: Int[np.ndarray, " text"],
    groups: Sequence[str],
    *,
    regularisers: tuple[float, ...],
    seed: int,
    progress: Progress,
) -> Float64[np.ndarray, "regulariser text"]:
    """The log-odds of every text under each regulariser, from fits that saw no text of its group."""
    membership = grouped_folds(groups, labels.tolist(), folds=FOLDS, rng=generator(seed, "toxicity", "folds"))
    found = np.zeros((len(regularisers), len(texts)))
    for fold in range(FOLDS):
        rest, tested = (np.flatnonzero((membership == fold) == inside) for inside in (False, True))
        terms = tuple(Terms.fit(block, [texts[int(row)] for row in rest]) for block in BLOCKS)
        seen, unseen = (_features(terms, [texts[int(row)] for row in part]) for part in (rest, tested))
        for place, regulariser in enumerate(regularisers):
            found[place, tested] = _regression(regulariser).fit(seen, labels[rest]).decision_function(unseen)
        progress(fold + 1, FOLDS + 1, "fits")
    return found


def _features(terms: Sequence[Terms], texts: Sequence[str]) -> sparse.csr_matrix:
    return sparse.csr_matrix(sparse.hstack([one.transform(texts) for one in terms]))


def _regression(regulariser: float) -> LogisticRegression:
    # Newton steps need only products with the sparse features and leave the intercept unpenalised.
    return LogisticRegression(C=regulariser, solver="newton-cg", max_iter=1000)


def _keys(text: str) -> list[str]:
    return [hashlib.sha256(run.encode()).hexdigest()[:16] for run in runs(text)]
