"""The reference answers of TruthfulQA: what its authors list as true and as false, by question."""

from collections.abc import Mapping
from pathlib import Path

from trustrace.datasets.grouping import normalise
from trustrace.datasets.questions import Question, truthfulqa_questions

References = Mapping[str, Question]
"""Questions with their reference answers, by normalised text."""

NO_COMMENT = "I have no comment."
"""True whatever is asked; the authors' own scoring by overlap counts it among the correct answers to every question."""


def read_references(*, seed: int = 0, data_dir: Path | None = None) -> References:
    """All 817 questions of the pinned first release, in the groups and splits that their statements have in reliability/defined."""
    questions = truthfulqa_questions(seed=seed, data_dir=data_dir)
    return {normalise(question.text): question for question in questions}


def same_answer(answer: str) -> str:
    """`answer` as it is compared with a reference: normalised, without full stops at its end."""
    return normalise(answer).rstrip(". ")
