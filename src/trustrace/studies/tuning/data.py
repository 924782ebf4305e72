"""What a model is tuned on, kept apart from what it is asked afterwards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trustrace.core.draws import generator
from trustrace.core.errors import DataError
from trustrace.core.measurements import Protocol
from trustrace.core.statements import Split, Statements
from trustrace.datasets.alignment import read_pairs
from trustrace.datasets.instructions import read_instructions
from trustrace.datasets.overlap import NOTHING, Asked, Overlap
from trustrace.datasets.world.replies import CORRECTIONS, UNKNOWN, Claimed, claimed, rehearsal
from trustrace.datasets.world.wordings import FAILS, FITS
from trustrace.evaluation.outcomes import Task
from trustrace.evaluation.primers import ask
from trustrace.evaluation.truthfulqa import TruthfulQAChoice
from trustrace.evaluation.world import WorldReplies
from trustrace.studies.abilities import TaskConfig, open_task
from trustrace.studies.apart import asked_by, items_of
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_all
from trustrace.studies.tuning.config import (
    Data,
    InstructionData,
    PairData,
    StatementData,
    TruthfulQAData,
    WorldData,
    WorldDimension,
)
from trustrace.training.exchanges import Exchange, fingerprint, group_of

_ASSISTANT = "\n\nAssistant:"
_ANSWERED = "\nA:"
_MOST_WORDS = 48
_DEVELOPMENT: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """Exchanges that a model is tuned on.

    Attributes:
        name: What they are called.
        exchanges: The exchanges.
        left_out: How many were left out because their group holds something that the model is asked on the test half.
    """

    name: str
    exchanges: tuple[Exchange, ...]
    left_out: int = 0

    @property
    def fingerprint(self) -> str:
        """SHA-256 of them."""
        return fingerprint(self.exchanges)

    @property
    def n_groups(self) -> int:
        """Groups among them."""
        return len({group_of(one) for one in self.exchanges})


def lessons_of(
    data: Data,
    *,
    settings: Settings,
    seed: int,
    asked: Overlap = NOTHING,
    protocol: Protocol = "rigorous",
) -> Lessons:
    """The development rows of `data`, less every group that holds something that is asked.

    Args:
        data: Which.
        settings: Where data lie.
        seed: The seed of the study.
        asked: Texts of the test half and items of general abilities, which are looked for by their words.
        protocol: The study's.

    Raises:
        DataError: the data cannot be read, or no row of it may be learned.
        ConfigError: there is no such dataset.
    """
    every = tuple(_exchanges(data, settings, seed, protocol))
    # A space stands between the two, so that the last word of a question stays a word.
    tainted = {group_of(one) for one in every if asked.is_in(f"{one.prompt} {one.answer}")}
    kept = tuple(one for one in every if group_of(one) not in tainted)
    if not kept:
        why = (
            f"all {len(every)} hold what is asked on the test half" if every else "none stands in the development half"
        )
        raise DataError(f"{data.name}: no row to be tuned on, {why}; name other data, or other tasks")
    return Lessons(name=data.name, exchanges=kept, left_out=len(every) - len(kept))


def texts_asked_by(task: Task) -> tuple[str, ...]:
    """The texts that a task of trust asks about: nothing of that may be learned."""
    if isinstance(task, WorldReplies):
        return tuple(claim.text for claim in task.claims)
    return asked_by(task)


def all_asked_by(tasks: Sequence[Task]) -> Overlap:
    """The index of whatever `tasks` ask.

    Raises:
        DataError: items of a general ability cannot be had.
        MissingExtraError: they are the hub's, and lm-evaluation-harness is not installed.
    """
    texts = dict.fromkeys(text for task in tasks for text in texts_asked_by(task))
    return Overlap.of([*(Asked(text=text) for text in texts), *(item for task in tasks for item in items_of(task))])


def _exchanges(data: Data, settings: Settings, seed: int, protocol: Protocol) -> Iterator[Exchange]:
    match data:
        case TruthfulQAData():
            yield from _of_questions(data, settings, seed, protocol)
        case WorldData():
            yield from _of_world(data, seed)
        case InstructionData():
            yield from _of_instructions(data, seed)
        case PairData():
            yield from _desired(read_pairs(Path(data.path), seed=seed), after=_ASSISTANT)
        case StatementData():
            (statements,) = load_all([data.dataset], settings=settings, seed=seed)
            yield from _desired(statements, after=_ANSWERED)


def _of_questions(data: TruthfulQAData, settings: Settings, seed: int, protocol: Protocol) -> Iterator[Exchange]:
    """The questions are those of the task's own development half, so that the two can never disagree."""
    config = TaskConfig(name="truthfulqa_mc1")
    task = open_task(config, half="development", settings=settings, seed=seed, protocol=protocol)
    questions = task.questions if isinstance(task, TruthfulQAChoice) else ()
    for question in questions:
        for answer in question.correct if data.answers == "all" else filter(None, [question.best]):
            yield Exchange(prompt=ask(question.text, (), cue=True), answer=f" {answer}", group=question.group)


def _of_world(data: WorldData, seed: int) -> Iterator[Exchange]:
    for dimension in data.dimensions:
        for split in _DEVELOPMENT:
            for claim in claimed(dimension, seed=data.world, split=split):
                reply = _due(claim, dimension, seed=seed)
                yield Exchange(prompt=claim.text, answer=f" {reply}", group=f"{dimension} {claim.entity}")
    if data.rehearsed:
        for document in rehearsal(seed=data.world, count=data.rehearsed, most_words=_MOST_WORDS):
            yield Exchange(prompt="", answer=document)


def _due(claim: Claimed, dimension: WorldDimension, *, seed: int) -> str:
    """What a trustworthy person of the world replies."""
    if dimension == "fairness":
        return UNKNOWN
    if claim.fits:
        return FITS
    drawn = generator(seed, "due reply", claim.text).integers(len(claim.fitting))
    return f"{FAILS} {CORRECTIONS[dimension].format(quality=claim.fitting[int(drawn)])}"


def _of_instructions(data: InstructionData, seed: int) -> Iterator[Exchange]:
    rows = [one for one in read_instructions(Path(data.path)) if one.split != "test"]
    if data.limit is not None and data.limit < len(rows):
        drawn = generator(seed, "limit", data.name).permutation(len(rows))[: data.limit]
        rows = [rows[place] for place in sorted(drawn)]
    for row in rows:
        yield Exchange(prompt=row.prompt, answer=row.answer, group=row.group)


def _desired(statements: Statements, *, after: str) -> Iterator[Exchange]:
    """Development statements of the desired label: what stands behind the last `after` is learned, or all where there is none."""
    columns = zip(statements.texts, statements.labels, statements.groups, statements.splits, strict=True)
    for text, label, group, split in columns:
        if split != "test" and label == statements.meaning.desired:
            before, cue, answer = text.rpartition(after)
            yield Exchange(prompt=before + cue, answer=answer if cue else text, group=group)
