"""Floors: what is reached from the text alone, without any model, on the same rows that score a probe.

Four of them: the majority class; logistic regression on five counts of length and letter case; logistic regression on tf-idf of words and
word pairs; the same on cased character n-grams. Everything that is fitted - vocabulary, document frequencies, means, the regulariser - sees
training rows only. A probe's accuracy says something about a model only where it rises above all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression

from trustrace.core.errors import MeasurementError
from trustrace.core.measurements import Estimate, Measurement, Protocol
from trustrace.core.statements import Statements
from trustrace.datasets.surface import surface_counts
from trustrace.measures.config import ProbingConfig
from trustrace.measures.folds import Fold, evaluation_pairs, file_order_pair
from trustrace.measures.scoring import Sample, auroc, correct, mean, row_losses

REGULARISERS: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)
"""scikit-learn's ``C`` for features of about unit size. Case typos make rare n-grams, which want a large one; noise wants a small one."""

WORD = r"(?u)\w+"
"""A word, words of one letter included: "I" and "a" are as much of a cue as any."""


@dataclass(frozen=True, kw_only=True)
class Ngrams:
    """Which n-grams of a text are counted.

    Attributes:
        analyzer: ``word`` (runs of letters and digits, in lower case) or ``char_wb`` (characters within a word and its two neighbouring
            spaces, case kept).
        lengths: Shortest and longest n-gram.
        min_rows: Training rows that must hold an n-gram for it to count.
    """

    analyzer: str
    lengths: tuple[int, int]
    min_rows: int

    def count(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """How often each n-gram of any text occurs in each; one empty column where no text holds any."""
        by_word = self.analyzer == "word"
        vectorizer = CountVectorizer(
            analyzer=self.analyzer,
            ngram_range=self.lengths,
            lowercase=by_word,
            token_pattern=WORD if by_word else None,
            dtype=np.float64,
        )
        if not any(vectorizer.build_analyzer()(text) for text in texts):
            return sparse.csr_matrix((len(texts), 1), dtype=np.float64)
        return vectorizer.fit_transform(texts)


WORDS = Ngrams(analyzer="word", lengths=(1, 2), min_rows=1)
CHARACTERS = Ngrams(analyzer="char_wb", lengths=(2, 5), min_rows=2)

Featurise = Callable[[Bool[np.ndarray, " statement"]], Any]
"""Training rows -> features of all rows, whatever is fitted being fitted on the training rows."""


def text_floors(statements: Statements, *, config: ProbingConfig, protocol: Protocol, seed: int) -> list[Measurement]:
    """Accuracy and AUROC of every floor, with cluster-bootstrap intervals.

    Rows are scored as probes of `statements` are: under ``rigorous`` on :func:`~trustrace.measures.folds.evaluation_pairs`, the
    regulariser of each outer fold chosen by log loss on its inner folds; under ``published`` on the last fifth of the file, the regulariser
    chosen on the last fifth of the training rows. The published scripts have no floors; a weak one would flatter every model.

    Args:
        statements: What is to be told apart.
        config: Number of folds and of bootstrap samples; probes' features and regularisers do not concern floors.
        protocol: ``rigorous`` or ``published``.
        seed: The seed of folds and bootstrap, the same as for probes.

    Returns:
        Two rows for each of ``majority``, ``length_and_case``, ``word_ngrams``, ``char_ngrams``.

    Raises:
        MeasurementError: the rows cannot be cut into such folds, or training rows hold one class.
    """
    pairs = _pairs(statements, config=config, protocol=protocol, seed=seed)
    labels = np.asarray(statements.labels)
    log_odds = {
        "majority": _majority(labels, pairs),
        "length_and_case": _fitted(_standardised_counts(statements.texts), labels, pairs),
        "word_ngrams": _fitted(_tfidf(statements.texts, WORDS), labels, pairs),
        "char_ngrams": _fitted(_tfidf(statements.texts, CHARACTERS), labels, pairs),
    }
    tested = np.any([pair.test for pair in pairs], axis=0)
    groups = tuple(group for group, is_tested in zip(statements.groups, tested, strict=True) if is_tested)
    sample = Sample.of(labels[tested], groups, draws=config.bootstrap_draws, seed=seed)
    return [
        Measurement.of(estimate, dataset=statements.name, protocol=protocol, seed=seed)
        for method, values in log_odds.items()
        for estimate in _estimates(sample, values[tested], method=method)
    ]


def _pairs(statements: Statements, *, config: ProbingConfig, protocol: Protocol, seed: int) -> list[Fold]:
    if protocol == "rigorous":
        return evaluation_pairs(statements, folds=config.folds, seed=seed)
    pair = file_order_pair(len(statements))
    inner = file_order_pair(int(pair.train.sum()))
    untouched = np.zeros(int(pair.test.sum()), dtype=bool)
    choice = Fold(train=np.append(inner.train, untouched), test=np.append(inner.test, untouched))
    if len(set(np.asarray(statements.labels)[choice.train])) < 2:
        raise MeasurementError(
            f"{statements.name}: the protocol 'published' trains on the first rows, and {int(choice.train.sum())} of them hold one class; "
            "shuffle the file, or use the protocol 'rigorous'"
        )
    return [Fold(train=pair.train, test=pair.test, inner=(choice,))]


def _majority(labels: Int[np.ndarray, " statement"], pairs: Sequence[Fold]) -> Float64[np.ndarray, " statement"]:
    """Certainty of the larger class of the training rows, for every row that is tested."""
    log_odds = np.zeros(len(labels))
    for pair in pairs:
        log_odds[pair.test] = np.inf if labels[pair.train].mean() >= 0.5 else -np.inf
    return log_odds


def _fitted(
    featurise: Featurise, labels: Int[np.ndarray, " statement"], pairs: Sequence[Fold]
) -> Float64[np.ndarray, " statement"]:
    """Log-odds by logistic regression on features, its regulariser chosen inside the training rows of each pair."""
    log_odds = np.zeros(len(labels))
    inner: dict[bytes, Float64[np.ndarray, "regulariser statement"]] = {}
    for pair in pairs:
        for fold in pair.inner:
            # Outer folds j and k share the inner fit that sees neither.
            key = fold.train.tobytes()
            if key not in inner:
                inner[key] = _log_odds(featurise, labels, fold.train, regularisers=REGULARISERS)
        chosen = _choose([(fold, inner[fold.train.tobytes()]) for fold in pair.inner], labels)
        log_odds[pair.test] = _log_odds(featurise, labels, pair.train, regularisers=(chosen,))[0, pair.test]
    return log_odds


def _choose(
    inner: Sequence[tuple[Fold, Float64[np.ndarray, "regulariser statement"]]], labels: Int[np.ndarray, " statement"]
) -> float:
    """The regulariser with the smallest log loss on rows that its fits did not see; the smallest of equals."""
    losses = np.zeros(len(REGULARISERS))
    for fold, log_odds in inner:
        losses += [row_losses(labels[fold.test], values[fold.test]).sum() for values in log_odds]
    return REGULARISERS[int(losses.argmin())]


def _log_odds(
    featurise: Featurise,
    labels: Int[np.ndarray, " statement"],
    train: Bool[np.ndarray, " statement"],
    *,
    regularisers: tuple[float, ...],
) -> Float64[np.ndarray, "regulariser statement"]:
    """The log-odds of label 1 for every row, from fits to the rows `train`, each started where the one before it ended."""
    features = featurise(train)
    fitted = features[train]
    # Newton steps need only products with the sparse features and leave the intercept unpenalised, as liblinear does not.
    model = LogisticRegression(solver="newton-cg", warm_start=True, max_iter=1000)
    rows = []
    for regulariser in regularisers:
        model.set_params(C=regulariser).fit(fitted, labels[train])
        rows.append(model.decision_function(features))
    return np.stack(rows)


def _standardised_counts(texts: Sequence[str]) -> Featurise:
    """The counts of :func:`~trustrace.datasets.surface.surface_counts`, to mean 0 and variance 1 over the training rows."""
    counts = surface_counts(texts).astype(np.float64)

    def featurise(train: Bool[np.ndarray, " statement"]) -> Float[np.ndarray, "statement count"]:
        spread = counts[train].std(axis=0)
        standardised: Float[np.ndarray, "statement count"] = (counts - counts[train].mean(axis=0)) / np.where(
            spread > 0, spread, 1.0
        )
        return standardised

    return featurise


def _tfidf(texts: Sequence[str], ngrams: Ngrams) -> Featurise:
    """tf-idf rows of unit length; n-grams are counted once, then vocabulary and document frequencies are taken from the training rows.

    Counting knows neither labels nor splits, so that this equals a vectoriser that is fitted to the training texts alone.
    """
    counts = ngrams.count(texts)

    def featurise(train: Bool[np.ndarray, " statement"]) -> Any:
        known = counts[:, np.flatnonzero(counts[train].getnnz(axis=0) >= ngrams.min_rows)]
        known = known if known.shape[1] else counts[:, :1]
        return TfidfTransformer().fit(known[train]).transform(known)

    return featurise


def _estimates(sample: Sample, log_odds: Float64[np.ndarray, " statement"], *, method: str) -> list[Estimate]:
    hits = correct(sample.labels, log_odds)
    # Rank by nothing where all is certain: the majority of one fold is no evidence against that of another.
    ranked = np.where(np.isfinite(log_odds), log_odds, 0.0)
    return [
        sample.estimate("accuracy", lambda weights: mean(hits, weights), method=method, role="floor"),
        sample.estimate("auroc", lambda weights: auroc(sample.labels, ranked, weights), method=method, role="floor"),
    ]
