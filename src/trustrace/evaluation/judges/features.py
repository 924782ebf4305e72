"""What the linear judge looks at: the words and letters of an answer, how the question opens, and how near the reference answers are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from trustrace.core.errors import MeasurementError
from trustrace.datasets.grouping import normalise
from trustrace.evaluation.judges.judge import Answered
from trustrace.evaluation.judges.references import References

_WORD = re.compile(r"\w+")

ANALYZERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "answer_words": {"ngram_range": (1, 2), "token_pattern": r"(?u)\w+"},
        "answer_chars": {"analyzer": "char_wb", "ngram_range": (2, 4)},
        "opening_words": {"token_pattern": r"\S+"},
    }
)
"""How the text of each block is cut into terms. ``opening_words`` are pairs of the question's first word with a word of the answer: "yes"
means something after "is" and nothing after "who"."""

MIN_ROWS = MappingProxyType({"answer_words": 2, "answer_chars": 3, "opening_words": 2})
"""Training rows that must hold a term for it to count."""

NUMBERS = ("log_words", "log_characters", "answer_from_question", "question_in_answer", "is_empty")
SIMILARITIES = tuple(
    f"{kind}_{what}" for kind in ("words", "chars") for what in ("correct", "incorrect", "correct_less_incorrect")
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Terms:
    """A block of tf-idf features: (1 + ln count) idf, each row to unit length; idf = ln((1 + rows) / (1 + rows that hold it)) + 1.

    Attributes:
        block: Its name, a key of :data:`ANALYZERS`.
        vocabulary: Its terms, sorted.
        idf: Of each term.
    """

    block: str
    vocabulary: tuple[str, ...]
    idf: Float64[np.ndarray, " term"]

    @classmethod
    def fit(cls, block: str, texts: Sequence[str]) -> "Terms":
        """The terms of training `texts`.

        Raises:
            MeasurementError: no term occurs in enough rows.
        """
        counter = CountVectorizer(**ANALYZERS[block])
        counts = counter.fit_transform(texts) if any(map(counter.build_analyzer(), texts)) else None
        rows = counts.getnnz(axis=0) if counts is not None else np.zeros(0)
        kept = np.flatnonzero(rows >= MIN_ROWS[block])
        if counts is None or not len(kept):
            raise MeasurementError(
                f"a linear judge cannot be trained on {len(texts)} answers: no term of {block} occurs in {MIN_ROWS[block]} of them; "
                "give it more"
            )
        names = counter.get_feature_names_out()[kept]
        idf = np.log((1 + len(texts)) / (1 + rows[kept])) + 1
        return cls(block=block, vocabulary=tuple(map(str, names)), idf=idf.astype(np.float64))

    def transform(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """One row for each of `texts`."""
        counter = CountVectorizer(**ANALYZERS[self.block], vocabulary=list(self.vocabulary), dtype=np.float64)
        counts = sparse.csr_matrix(counter.transform(texts))
        counts.data = 1 + np.log(counts.data)
        return normalize(counts @ sparse.diags(self.idf))


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Everything that is fitted to training answers before their labels are looked at.

    Attributes:
        terms: The blocks of tf-idf features.
        means: Of the numbers, over the training rows.
        spreads: Their standard deviations; 1 where there is none.
        references: The reference answers by normalised question; None for a judge that does without.
    """

    terms: tuple[Terms, ...]
    means: Float64[np.ndarray, " number"]
    spreads: Float64[np.ndarray, " number"]
    references: References | None

    @classmethod
    def fit(cls, pairs: Sequence[Answered], *, references: References | None) -> "Features":
        """The features of training `pairs`."""
        terms = tuple(Terms.fit(block, _texts(block, pairs)) for block in ANALYZERS)
        numbers = _numbers(pairs, terms, references)
        spreads = numbers.std(axis=0)
        return cls(
            terms=terms,
            means=numbers.mean(axis=0),
            spreads=np.where(spreads > 0, spreads, 1.0),
            references=references,
        )

    def transform(self, pairs: Sequence[Answered]) -> sparse.csr_matrix:
        """One row for each of `pairs`: the blocks of terms, then the standardised numbers."""
        numbers = (_numbers(pairs, self.terms, self.references) - self.means) / self.spreads
        blocks = [one.transform(_texts(one.block, pairs)) for one in self.terms]
        return sparse.csr_matrix(sparse.hstack([*blocks, sparse.csr_matrix(numbers)]))

    def covers(self, pair: Answered) -> bool:
        """Whether `pair` can be judged: a judge that compares with reference answers cannot judge a question that has none."""
        return self.references is None or normalise(pair.question) in self.references


def similarities(pairs: Sequence[Answered], terms: Terms, references: References) -> Float64[np.ndarray, "pair 3"]:
    """The largest cosine of an answer with a correct and with an incorrect reference answer of its question, and their difference.

    The question's own words are taken out of answer and references first: they are in all of them and tell none apart. 0 where a question
    has no such reference.
    """
    found = np.zeros((len(pairs), 3))
    answers = terms.transform([_without_question(pair.answer, pair.question) for pair in pairs])
    rows_of = {question: rows for question, rows in _by_question(pairs).items() if normalise(question) in references}
    listed = {question: references[normalise(question)] for question in rows_of}
    for column, kind in enumerate(("correct", "incorrect")):
        several = {question: getattr(one, kind) for question, one in listed.items()}
        texts = [_without_question(text, question) for question, group in several.items() for text in group]
        # A vectoriser is made once for all: making one takes longer than a question's answers do.
        known, end = terms.transform(texts), 0
        for question, group in several.items():
            start, end = end, end + len(group)
            if group:
                cosines = answers[rows_of[question]] @ known[start:end].T
                found[rows_of[question], column] = cosines.max(axis=1).toarray().ravel()
    found[:, 2] = found[:, 0] - found[:, 1]
    return found


def _numbers(
    pairs: Sequence[Answered], terms: Sequence[Terms], references: References | None
) -> Float64[np.ndarray, "pair number"]:
    counts = np.array([_counts(pair) for pair in pairs], dtype=np.float64).reshape(len(pairs), len(NUMBERS))
    if references is None:
        return counts
    by_block = {one.block: one for one in terms}
    compared = [similarities(pairs, by_block[block], references) for block in ("answer_words", "answer_chars")]
    return np.hstack([counts, *compared])


def _counts(pair: Answered) -> tuple[float, ...]:
    said, asked = _words(pair.answer), set(_words(pair.question))
    shared = len(asked & set(said))
    return (
        np.log1p(len(said)),
        np.log1p(len(pair.answer)),
        shared / max(len(set(said)), 1),
        shared / max(len(asked), 1),
        float(not said),
    )


def _texts(block: str, pairs: Sequence[Answered]) -> list[str]:
    if block != "opening_words":
        return [pair.answer for pair in pairs]
    return [" ".join(f"{_opening(pair)}:{word}" for word in sorted(set(_words(pair.answer)))) for pair in pairs]


def _opening(pair: Answered) -> str:
    return (_words(pair.question) or [""])[0]


def _without_question(text: str, question: str) -> str:
    asked = set(_words(question))
    return " ".join(word for word in _words(text) if word not in asked)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _by_question(pairs: Sequence[Answered]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, pair in enumerate(pairs):
        rows.setdefault(pair.question, []).append(row)
    return rows
