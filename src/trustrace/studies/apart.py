"""Statements that vectors are made of, kept apart from what the steered model is asked.

Under ``rigorous`` a question and its statements stand in one half. The paper's own test items were split otherwise: under ``published``
half of them are development rows of our sets, and have to leave before a vector is made.
"""

from collections.abc import Sequence

from trustrace.core.statements import Statements
from trustrace.datasets.grouping import normalise
from trustrace.evaluation.binary import BinaryTask
from trustrace.evaluation.outcomes import Task
from trustrace.evaluation.toxigen import ToxiGen
from trustrace.evaluation.truthfulqa import TruthfulQAChoice, TruthfulQAGeneration


def asked_by(task: Task) -> tuple[str, ...]:
    """The texts that a task of trust asks about; none for other tasks, whose texts are in no labelled set."""
    match task:
        case TruthfulQAGeneration() | TruthfulQAChoice():
            return tuple(question.text for question in task.questions)
        case ToxiGen():
            return tuple(prompt.text for prompt in task.prompts)
        case BinaryTask():
            return task.texts
    return ()


def without_asked(statements: Statements, asked: Sequence[str]) -> Statements:
    """`statements` less every development group of which a statement holds one of the `asked` texts; test rows stay."""
    wanted = {normalise(text) for text in asked}
    held = {
        group
        for text, group, split in zip(statements.texts, statements.groups, statements.splits, strict=True)
        if split != "test" and _holds(normalise(text), wanted)
    }
    rows = zip(statements.groups, statements.splits, strict=True)
    return statements.take([row for row, (group, split) in enumerate(rows) if split == "test" or group not in held])


def _holds(text: str, wanted: set[str]) -> bool:
    return text in wanted or any(one in text for one in wanted)
