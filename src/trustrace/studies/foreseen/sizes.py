"""How large data sets and tasks are, so that a study's cost is known before any of them is read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from trustrace.core.measurements import Protocol
from trustrace.studies.abilities import Half, TaskConfig, TaskName
from trustrace.studies.config import DatasetConfig
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_statements

CHARACTERS_PER_TOKEN = 3.7
"""Of English prose, for the tokenizers of Llama, GPT-NeoX and OLMo; 3.7 tends to too many tokens rather than too few."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Some texts: how many, and how many characters they have together."""

    rows: int
    characters: int

    @property
    def tokens(self) -> float:
        """Estimated."""
        return self.characters / CHARACTERS_PER_TOKEN


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What one pass of a task sends through one version of a model.

    Attributes:
        items: Questions.
        read: Characters that are read for one of them, beyond what all share.
        written: Tokens that are written for one, at most.
        judged: Characters that judges read for one, all of them together.
        once: Characters that are read once for all items.
        classified: Whether a classifier reads each answer.
    """

    items: int
    read: float
    written: int = 0
    judged: float = 0.0
    once: float = 0.0
    classified: bool = False


STATEMENTS: Mapping[str, Texts] = {
    "reliability/published": Texts(rows=2263, characters=260_104),
    "toxicity/published": Texts(rows=6514, characters=640_053),
    "privacy/published": Texts(rows=2346, characters=208_614),
    "fairness/published": Texts(rows=1952, characters=158_907),
    "robustness/published": Texts(rows=3642, characters=374_984),
    "reliability/defined": Texts(rows=5880, characters=669_795),
    "toxicity/defined": Texts(rows=6397, characters=624_935),
    "privacy/defined": Texts(rows=2325, characters=221_975),
    "fairness/defined": Texts(rows=4246, characters=379_036),
    "robustness/defined": Texts(rows=1634, characters=177_248),
}
"""The shipped sets at their defaults; a test reads them and compares."""

PAIRS = Texts(rows=20_000, characters=20_000 * 350)
"""Alignment pairs that are not here yet: 10,000 with two answers, each with its prompt some 350 characters. Assumed."""

_ANSWER = 120
"""Characters of an answer of 50 tokens, cut at its stop. Assumed."""

_ITEMS: Mapping[TaskName, Asked] = {
    "truthfulqa": Asked(items=817, read=66.0, written=50, once=600.0),
    "truthfulqa_mc1": Asked(items=817, read=5 * 110.0, once=600.0),
    "truthfulqa_mc2": Asked(items=817, read=8 * 110.0, once=600.0),
    "truthfulqa_classification": Asked(items=5880, read=2 * 130.0, once=150.0),
    "toxigen": Asked(items=6397, read=98.0, written=64, classified=True),
    "confaide": Asked(items=2325, read=2 * 110.0, once=150.0),
    "stereoset": Asked(items=4246, read=2 * 100.0, once=150.0),
    "sst2": Asked(items=1634, read=2 * 120.0, once=150.0),
    "lambada": Asked(items=5153, read=340.0),
    "lambada_text": Asked(items=5153, read=340.0),
    "arc_easy": Asked(items=2376, read=4 * 160.0),
    "arc_challenge": Asked(items=1172, read=4 * 180.0),
    "mmlu": Asked(items=14_042, read=4 * 500.0),
    "mathqa": Asked(items=2985, read=5 * 190.0),
    "race": Asked(items=1045, read=4 * 2100.0),
}
"""Whole tasks: questions, and the characters of all that is read for one (each choice with its question)."""

_HALVED = frozenset(
    {
        "truthfulqa",
        "truthfulqa_mc1",
        "truthfulqa_mc2",
        "truthfulqa_classification",
        "toxigen",
        "confaide",
        "stereoset",
        "sst2",
        "lambada",
        "lambada_text",
    }
)

_PUBLISHED: Mapping[TaskName, Asked] = {
    "truthfulqa_classification": Asked(items=2263, read=130.0, written=2, once=150.0),
    "confaide": Asked(items=2346, read=110.0, written=2, once=150.0),
    "stereoset": Asked(items=1952, read=100.0, written=2, once=150.0),
    "sst2": Asked(items=3642, read=120.0, written=2, once=150.0),
}
"""Tasks that write under ``published`` where they are scored under ``rigorous``."""


def statements_size(dataset: DatasetConfig, *, settings: Settings, seed: int) -> Texts:
    """How large a data set is; one that is not shipped, or has parameters of its own, is read.

    Raises:
        DataError: it cannot be read.
    """
    known = STATEMENTS.get(dataset.shipped or dataset.name)
    if known and dataset.path is None and not dataset.parameters:
        return known
    statements = load_statements(dataset, settings=settings, seed=seed)
    return Texts(rows=len(statements), characters=sum(map(len, statements.texts)))


def task_size(task: TaskConfig, *, half: Half, protocol: Protocol) -> Asked | None:
    """What a pass of `task` asks; None where its size is not known."""
    table = {**_ITEMS, **_PUBLISHED} if protocol == "published" else _ITEMS
    whole = table.get(task.name)
    if whole is None:
        return None
    items = whole.items
    if task.name in _HALVED:
        items = math.ceil(items / 2)
    if protocol == "published" and task.name == "toxigen" and half == "test":
        items = 500
    judges = len(task.truth) + len(task.info)
    return Asked(
        items=min(items, task.limit or items),
        read=whole.read,
        written=whole.written,
        judged=judges * 2.0 * (60 + _ANSWER) if task.name == "truthfulqa" else 0.0,
        once=whole.once * (task.shots / 6 if task.name.startswith("truthfulqa") else 1),
        classified=whole.classified,
    )
