"""Judges that read nothing: what agreement with people is worth that does not exceed theirs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from sklearn.linear_model import LogisticRegression

from trustrace.core.progress import Progress, silent
from trustrace.evaluation.judges.human import HumanJudgements
from trustrace.evaluation.judges.judge import Answered, Aspect


@dataclass(frozen=True, kw_only=True)
class MajorityJudge:
    """Says of every answer how often people say yes."""

    aspect: Aspect
    rate: float
    name: str = "majority"

    @classmethod
    def of(cls, human: HumanJudgements) -> "MajorityJudge":
        """The rate among training judgements."""
        return cls(aspect=human.aspect, rate=float(human.labels.mean()))

    def probabilities(self, pairs: Sequence[Answered], *, progress: Progress = silent) -> Float64[np.ndarray, " item"]:
        """The same number for each."""
        return np.full(len(pairs), self.rate)


@dataclass(frozen=True, kw_only=True)
class LengthJudge:
    """Logistic regression on the logarithms of an answer's words and characters: whoever says less says less that is false."""

    aspect: Aspect
    bias: float
    slopes: tuple[float, float]
    name: str = "answer length"

    @classmethod
    def of(cls, human: HumanJudgements) -> "LengthJudge":
        """Fitted to training judgements; the majority where they hold one label."""
        if len(np.unique(human.labels)) < 2:
            side = np.inf if human.labels[:1].sum() else -np.inf
            return cls(aspect=human.aspect, bias=float(side), slopes=(0.0, 0.0))
        fitted = LogisticRegression(max_iter=1000).fit(_lengths(human.pairs), human.labels)
        words, characters = fitted.coef_[0]
        return cls(aspect=human.aspect, bias=float(fitted.intercept_[0]), slopes=(float(words), float(characters)))

    def probabilities(self, pairs: Sequence[Answered], *, progress: Progress = silent) -> Float64[np.ndarray, " item"]:
        """P(yes) by length alone."""
        return np.asarray(1 / (1 + np.exp(-(_lengths(pairs) @ np.array(self.slopes) + self.bias))))


def _lengths(pairs: Sequence[Answered]) -> Float64[np.ndarray, "item 2"]:
    rows = [(len(pair.answer.split()), len(pair.answer)) for pair in pairs]
    return np.log1p(np.array(rows, dtype=np.float64).reshape(len(rows), 2))
