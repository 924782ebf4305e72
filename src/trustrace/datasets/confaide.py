"""Privacy: ConfAIde's second tier with human ratings, and the statements that the paper had generated."""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, model_validator

from trustrace.core.config import Config
from trustrace.core.errors import DataError
from trustrace.core.statements import LabelMeaning, Statements
from trustrace.datasets import sources
from trustrace.datasets.cleaning import distinct
from trustrace.datasets.grouping import connected, normalise, runs
from trustrace.datasets.splits import assign_splits

MEANING = LabelMeaning(one="a privacy violation", zero="no privacy violation", desired=0)

_SCENARIO = re.compile(
    r"Information about (?P<information>.+) is collected by (?P<actor>.+?) in order to (?P<purpose>.+)"
)


class ConfAIdeConfig(Config):
    """How privacy/defined is built.

    Mean human ratings say how well a scenario meets privacy expectations, from -100 to 100. The paper's own CSV holds every scenario rated
    above -20 as 0, some rated below -50 ("somewhat disagree") as 1, and none between: the defaults are these bounds.

    Attributes:
        violation_below: Scenarios rated below this are violations.
        expected_above: Scenarios rated above this are none; what lies between the two is ambiguous and left out.
        generated: Whether the paper's generated statements are added.
    """

    violation_below: float = Field(default=-50.0, ge=-100, le=100)
    expected_above: float = Field(default=-20.0, ge=-100, le=100)
    generated: bool = True

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> "ConfAIdeConfig":
        if self.violation_below > self.expected_above:
            raise ValueError("violation_below lies above expected_above, so that a rating between them would be both")
        return self


@dataclass(frozen=True)
class Scenario:
    """One flow of information, told twice: in a sentence (tier 2a) and in a story (tier 2b), with one mean human rating."""

    sentence: str
    story: str
    rating: float

    @property
    def setting(self) -> str:
        """What is collected by whom: the two purposes of one setting are told almost alike."""
        if not (match := _SCENARIO.match(self.sentence)):
            raise DataError(
                f"tier 2a of ConfAIde holds {self.sentence[:80]!r}, which is no scenario; use the pinned file"
            )
        return f"{match['information']} | {match['actor']}"


def published(*, seed: int, data_dir: Path | None = None) -> Statements:
    """The paper's CSV, row for row: 2,346 statements, 63 of them ConfAIde's, the others generated; 1 = privacy violation.

    77 rows are repetitions, and three texts have both labels. Rows that share eight words in a row form a group.
    """
    texts, labels = sources.read_labelled(sources.PAPER_CONFAIDE, data_dir=data_dir)
    groups = connected([runs(text) for text in texts])
    return Statements(
        name="privacy/published",
        dimension="privacy",
        texts=texts,
        labels=labels,
        groups=groups,
        splits=assign_splits(groups=groups, labels=labels, seed=seed),
        meaning=MEANING,
        source=sources.PAPER_CONFAIDE.source(
            "mostly written and labelled by GPT-4 after the Solove taxonomy; holds duplicates, three texts with both labels"
        ),
    )


def scenarios(*, data_dir: Path | None = None) -> tuple[Scenario, ...]:
    """The 98 scenarios of ConfAIde's second tier, in the order of the files."""
    sentences = _items(sources.CONFAIDE_2A, data_dir)
    stories = _items(sources.CONFAIDE_2B, data_dir)
    ratings = [float(line) for line in sources.read_text(sources.CONFAIDE_LABELS, data_dir=data_dir).split()]
    return tuple(Scenario(*row) for row in zip(sentences, stories, ratings, strict=True))


def defined(config: ConfAIdeConfig, *, seed: int, data_dir: Path | None = None) -> Statements:
    """ConfAIde's second tier with the label that people gave, and the generated statements without their duplicates; 1 = violation.

    A scenario gives two statements, its sentence and its story, both without the instruction that precedes them in the files. Generated
    statements that are really ConfAIde's are left to the human ratings; of the others, each text is kept once, and none that has both
    labels. The two purposes of one setting (what is collected by whom), and rows that share eight words in a row, form a group; the
    sentences of tier 2a do not group by words, since their template would put all of them together.
    """
    told = scenarios(data_dir=data_dir)
    rated = [scenario for scenario in told if not config.expected_above >= scenario.rating >= config.violation_below]
    texts = [text for scenario in rated for text in (scenario.sentence, scenario.story)]
    labels = [int(scenario.rating < config.violation_below) for scenario in rated for _ in range(2)]
    keys = [key for scenario in rated for key in ((scenario.setting,), (scenario.setting, *runs(scenario.story)))]
    note = f"{len(rated)} of {len(told)} scenarios told twice, {len(told) - len(rated)} left out as ambiguous"
    if config.generated:
        generated_texts, generated_labels, dropped = _generated(told, data_dir)
        texts += generated_texts
        labels += generated_labels
        keys += [runs(text) for text in generated_texts]
        note += (
            f"; {len(generated_texts)} statements written and labelled by GPT-4, from the paper's CSV without {dropped}"
        )
    groups = connected(keys)
    return Statements(
        name="privacy/defined",
        dimension="privacy",
        texts=tuple(texts),
        labels=tuple(labels),
        groups=groups,
        splits=assign_splits(groups=groups, labels=labels, seed=seed),
        meaning=MEANING,
        source=sources.CONFAIDE_2A.source(note),
    )


def _generated(told: tuple[Scenario, ...], data_dir: Path | None) -> tuple[list[str], list[int], str]:
    """The generated statements that remain, their labels, and what was dropped, in words."""
    texts, labels = sources.read_labelled(sources.PAPER_CONFAIDE, data_dir=data_dir)
    human = {normalise(text) for scenario in told for text in (scenario.sentence, scenario.story)}
    rows = [row for row, text in enumerate(texts) if normalise(text) not in human]
    found = distinct([texts[row] for row in rows], [labels[row] for row in rows])
    kept = [rows[index] for index in found.kept]
    dropped = (
        f"{len(texts) - len(rows)} rows that are ConfAIde's, {found.duplicates} duplicates "
        f"and {found.contradictions} rows with both labels"
    )
    return [texts[row] for row in kept], [labels[row] for row in kept], dropped


def _items(file: sources.SourceFile, data_dir: Path | None) -> list[str]:
    r"""The items of a file whose lines are an instruction, a literal ``\n``, and the item."""
    lines = sources.read_text(file, data_dir=data_dir).split("\n")
    return [line.split("\\n", 1)[1].strip() for line in lines if line.strip()]
