"""Statements that vectors are made of, kept apart from what the steered model is asked.

Under ``rigorous`` a question and its statements of the ``defined`` form stand in one half. The paper's own test items were split otherwise:
under ``published`` half of them are development rows of our sets, and have to leave before a vector is made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from trustrace.core.errors import ConfigError, DataError
from trustrace.core.measurements import Protocol
from trustrace.core.statements import Statements
from trustrace.datasets import lambada
from trustrace.datasets.overlap import Asked, Overlap
from trustrace.evaluation.binary import BinaryTask
from trustrace.evaluation.harness.tasks import GeneralAbility
from trustrace.evaluation.outcomes import Task
from trustrace.evaluation.perplexity import LambadaLastWord, LambadaText
from trustrace.evaluation.toxigen import ToxiGen
from trustrace.evaluation.truthfulqa import TruthfulQAChoice, TruthfulQAGeneration
from trustrace.steering.vectors import SteeringVector
from trustrace.studies.settings import Settings
from trustrace.studies.vectors import load_contrast


def crosses_halves(dataset: str, protocol: Protocol) -> bool:
    """Whether development rows of the shipped set `dataset` may be asked by a test half: one of the two is halved as the paper has it.

    Sets of the paper's form are split by their own groups, so that the test half of our own form shares questions with their development
    rows, too.
    """
    return protocol == "published" or dataset.endswith("/published")


def asked_by(task: Task) -> tuple[str, ...]:
    """The texts that a task of trust asks about; none for other tasks: see :func:`items_of`."""
    match task:
        case TruthfulQAGeneration() | TruthfulQAChoice():
            return tuple(question.text for question in task.questions)
        case ToxiGen():
            return tuple(prompt.text for prompt in task.prompts)
        case BinaryTask():
            return task.texts
    return ()


def items_of(task: Task) -> tuple[Asked, ...]:
    """All items of a task of general ability, whether or not this one asks them; none for other tasks.

    Raises:
        DataError: they cannot be had.
        MissingExtraError: they are the hub's, and lm-evaluation-harness is not installed.
    """
    match task:
        case GeneralAbility():
            return task.asks()
        case LambadaLastWord() | LambadaText():
            return tuple(Asked(text=passage) for passage in lambada.passages(data_dir=task.data_dir))
    return ()


def without_asked(statements: Statements, asked: Sequence[str]) -> Statements:
    """`statements` less every development group of which a statement holds one of the `asked` texts by its words; test rows stay."""
    index = Overlap.of(Asked(text=text) for text in asked)
    held = {
        group
        for text, group, split in zip(statements.texts, statements.groups, statements.splits, strict=True)
        if split != "test" and index.is_in(text)
    }
    rows = zip(statements.groups, statements.splits, strict=True)
    return statements.take([row for row, (group, split) in enumerate(rows) if split == "test" or group not in held])


def made_of(
    vector: SteeringVector, *, dataset: str | None, pairs: Path | None, settings: Settings, asked: Sequence[str] = ()
) -> Statements:
    """The statements that `vector` was made of, read again.

    They are those of the shipped set that the vector names, or of the `dataset` or the `pairs` that are named here; whole, or less the
    groups that hold one of the `asked` texts, as a steering study takes them.

    Raises:
        ConfigError: they cannot be read, or differ from what the vector was made of.
    """
    named = dataset if dataset or pairs else vector.dataset
    try:
        whole = load_contrast(dataset=named, pairs=pairs, settings=settings, seed=vector.seed)
    except (ConfigError, DataError) as error:
        raise ConfigError(
            f"what {vector.key} was made of, {pairs or named}, cannot be read ({error}); name its statements with --dataset or --pairs, as "
            "for `trustrace vectors build`"
        ) from error
    for statements in (whole, without_asked(whole, asked)) if asked else (whole,):
        if statements.fingerprint == vector.fingerprint:
            return statements
    raise ConfigError(
        f"{vector.key} was not made of {pairs or named} as it is read now with seed {vector.seed}: the fingerprints differ "
        f"({vector.fingerprint[:12]} and {whole.fingerprint[:12]}); name its statements with --dataset or --pairs, or build it again"
    )


def require_unasked(vector: SteeringVector, statements: Statements, asked: Mapping[str, Sequence[str]]) -> None:
    """Do nothing where no development row of `statements`, which `vector` was made of, holds what a task asks.

    Args:
        vector: For the message.
        statements: What it was made of.
        asked: The texts of each task, by its name.

    Raises:
        ConfigError: some do.
    """
    rows = zip(statements.texts, statements.splits, strict=True)
    development = [text for text, split in rows if split != "test"]
    for task, texts in asked.items():
        held = _held(texts, development)
        if held:
            raise ConfigError(
                f"{vector.key} was made of {len(held)} of the {len(texts)} texts that {task} asks of its test half, such as {held[0]!r}: "
                "its score would be of what it has seen; `trustrace steer` leaves them out before a vector is made; or "
                "build the vector of a file without them, or of the set's `defined` form and evaluate under rigorous"
            )


def _held(asked: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Which of the `asked` are in `texts`."""
    index = Overlap.of(Asked(text=one) for one in asked)
    found = {words for text in texts for words in index.found_in(text)}
    return [one for one in asked if Overlap.of([Asked(text=one)]).keys & found]
