"""Reliability: TruthfulQA, true and false answers to questions that people often get wrong."""

from pathlib import Path

from trustrace.core.config import Config
from trustrace.core.statements import LabelMeaning, Statements
from trustrace.datasets import sources
from trustrace.datasets.cleaning import distinct
from trustrace.datasets.grouping import connected, runs
from trustrace.datasets.splits import assign_splits

MEANING = LabelMeaning(one="a true answer to the question", zero="a false answer to the question", desired=1)


class TruthfulQAConfig(Config):
    """How reliability/defined is built.

    Attributes:
        canonical: Read the authors' current release, which has since been revised, in place of the pinned first release.
    """

    canonical: bool = False


def published(*, seed: int, data_dir: Path | None = None) -> Statements:
    r"""The paper's training CSV, row for row: 2,263 statements ``Q: ...\tA: ...`` about 410 questions.

    The label is the one the paper defines. Rows of one question, and of questions that share eight words in a row, form a group: some
    questions are asked again about another country or another asset.
    """
    texts, labels = sources.read_labelled(sources.PAPER_TRUTHFULQA_TRAIN, data_dir=data_dir)
    groups = connected([runs(text.removeprefix("Q: ").split("\tA: ")[0]) for text in texts])
    return Statements(
        name="reliability/published",
        dimension="reliability",
        texts=texts,
        labels=labels,
        groups=groups,
        splits=assign_splits(groups=groups, labels=labels, seed=seed),
        meaning=MEANING,
        source=sources.PAPER_TRUTHFULQA_TRAIN.source(
            "half of TruthfulQA's questions; 39 of the answers are not in its first release"
        ),
    )


def held_out_questions(*, data_dir: Path | None = None) -> tuple[str, ...]:
    """The 407 questions that the paper keeps for evaluating steered models; none of them is in reliability/published."""
    rows = sources.read_rows(sources.PAPER_TRUTHFULQA_TEST, data_dir=data_dir, columns=("Question",))
    return tuple(row["Question"] for row in rows)


def defined(config: TruthfulQAConfig, *, seed: int, data_dir: Path | None = None) -> Statements:
    r"""All questions of the original, each with each of its reference answers: 1 = true.

    A statement is ``Q: <question>\nA: <answer>``. Answers come from the columns of correct and incorrect answers, split at semicolons;
    every answer ends in a full stop, so that the last token is the same for all (as in the authors' own reading of the file).
    An answer that is listed twice for a question counts once, and one that is listed as both correct and incorrect not at all. Rows of
    one question, and of questions that share eight words in a row, form a group.
    """
    file = sources.CANONICAL_TRUTHFULQA if config.canonical else sources.TRUTHFULQA
    columns = ("Question", "Correct Answers", "Incorrect Answers")
    rows = sources.read_rows(file, data_dir=data_dir, columns=columns)
    listed = [
        (row["Question"].strip(), answer, label)
        for row in rows
        for column, label in (("Correct Answers", 1), ("Incorrect Answers", 0))
        for answer in _answers(row[column])
    ]
    texts = tuple(f"Q: {question}\nA: {answer}" for question, answer, _ in listed)
    labels = tuple(label for *_, label in listed)
    found = distinct(texts, labels)
    groups = connected([runs(listed[row][0]) for row in found.kept])
    kept_labels = tuple(labels[row] for row in found.kept)
    return Statements(
        name="reliability/defined",
        dimension="reliability",
        texts=tuple(texts[row] for row in found.kept),
        labels=kept_labels,
        groups=groups,
        splits=assign_splits(groups=groups, labels=kept_labels, seed=seed),
        meaning=MEANING,
        source=file.source(
            f"{len(rows)} questions; dropped: {found.duplicates} repeated answers, "
            f"{found.contradictions} rows listed as both true and false"
        ),
    )


def _answers(cell: str) -> list[str]:
    answers = [" ".join(answer.split()) for answer in cell.split(";")]
    return [f"{answer.rstrip('.')}." for answer in answers if answer]
