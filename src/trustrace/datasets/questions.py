"""What models are asked and continue: TruthfulQA's questions, ToxiGen's prompts, ConfAIde's scenarios with what people said of them.

Everything stands in the half of the data where the labelled statements made from the same source stand, so that neither a vector built
on development rows nor a layer or strength chosen there has seen what is asked on the test half.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar, runtime_checkable

from trustrace.core.draws import generator
from trustrace.core.errors import DataError
from trustrace.core.statements import Split
from trustrace.datasets import confaide, demonstrations, sources, toxigen, truthfulqa
from trustrace.datasets.cleaning import distinct, mend
from trustrace.datasets.grouping import connected, normalise, runs

Half = Literal["development", "test"]
"""``development``: where vectors are built and choices made (train and validation rows). ``test``: where the result is reported."""

PromptSet = Literal["statements", "demonstrations"]

PUBLISHED_PROMPTS = 500
"""How many statements the published scripts have a model continue."""


@runtime_checkable
class Placed(Protocol):
    """Anything that stands in a split."""

    @property
    def group(self) -> str:
        """What it shares a source with; the unit of resampling."""

    @property
    def split(self) -> Split:
        """Where it stands."""


PlacedType = TypeVar("PlacedType", bound=Placed)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question that people often answer wrongly, with answers that are known to be true and false.

    Attributes:
        text: The question.
        category: What it is about, one of 38; empty where it is not in the first release.
        best: The best true answer; empty where it is not in the first release.
        correct: True answers, as listed, the best among them.
        incorrect: False answers, as listed.
        group: Shared with questions that are nearly the same.
        split: Where its statements in reliability/defined stand.
    """

    text: str
    category: str
    best: str
    correct: tuple[str, ...]
    incorrect: tuple[str, ...]
    group: str
    split: Split


@dataclass(frozen=True, kw_only=True)
class ToxicityPrompt:
    """A text to be continued.

    Attributes:
        text: The text.
        about: The people it is about; empty where the source does not say.
        toxic: Whether people hold it for toxic itself.
        group: Shared with texts that are nearly the same.
        split: Where it stands.
    """

    text: str
    about: str
    toxic: bool
    group: str
    split: Split


@dataclass(frozen=True, kw_only=True)
class RatedScenario:
    """A flow of information and how far people agreed that it meets their privacy expectations, from -100 to 100 on average."""

    text: str
    rating: float
    group: str
    split: Split


def in_half(
    items: Sequence[PlacedType], half: Half, *, limit: int | None = None, seed: int = 0
) -> tuple[PlacedType, ...]:
    """The items of `half` in their order; where there are more than `limit`, that many of them, drawn with `seed`.

    Raises:
        DataError: there is none.
    """
    chosen = [item for item in items if (item.split == "test") == (half == "test")]
    if not chosen:
        raise DataError(f"none of {len(items)} items stands in the {half} half; ask for the other one")
    if limit is not None and limit < len(chosen):
        rows = generator(seed, "limit", half).permutation(len(chosen))[:limit]
        chosen = [chosen[row] for row in sorted(rows)]
    return tuple(chosen)


def truthfulqa_questions(*, seed: int, data_dir: Path | None = None) -> tuple[Question, ...]:
    """The 817 questions of TruthfulQA's first release, each in the group and split that its statements have in reliability/defined.

    Answers are as listed, separated by semicolons; unlike in the statements, no full stop is added. An answer listed twice counts once,
    and one listed as both true and false not at all.
    """
    places = _places_of_questions(seed=seed, data_dir=data_dir)
    return tuple(_question(row, *places[row["Question"].strip()]) for row in _rows(data_dir))


def published_questions(*, data_dir: Path | None = None) -> tuple[Question, ...]:
    """The 407 questions on which the paper evaluates steered models; one of them has no reference answers in the first release."""
    known = {normalise(row["Question"]): row for row in _rows(data_dir)}
    texts = truthfulqa.held_out_questions(data_dir=data_dir)
    groups = connected([runs(text) for text in texts])
    empty = dict.fromkeys(("Category", "Best Answer", "Correct Answers", "Incorrect Answers"), "")
    return tuple(
        _question({**known.get(normalise(text), empty), "Question": text}, group, "test")
        for text, group in zip(texts, groups, strict=True)
    )


def toxigen_prompts(
    prompt_set: PromptSet = "statements", *, seed: int, data_dir: Path | None = None
) -> tuple[ToxicityPrompt, ...]:
    """What a model is to continue.

    ``statements``: those of toxicity/defined, whole as in the paper, in the same groups and splits. ``demonstrations``: the lines that
    ToxiGen's authors chose by hand, by group of people. A line that shares eight words in a row with a statement stands on that statement's
    side, in development where it does so with both sides; the others are drawn with `seed`, group by group.
    """
    config = toxigen.ToxiGenConfig()
    statements = toxigen.defined(config, seed=seed, data_dir=data_dir)
    if prompt_set == "demonstrations":
        return _demonstrations(_sides([*zip(statements.texts, statements.splits, strict=True)]), seed, data_dir)
    rows = json.loads(sources.read_text(sources.TOXIGEN, data_dir=data_dir))
    about = {mend(row["text"]): ", ".join(row["target_groups"]) for row in reversed(rows)}
    columns = zip(statements.texts, statements.labels, statements.groups, statements.splits, strict=True)
    return tuple(
        ToxicityPrompt(
            text=text, about=about[text], toxic=label != statements.meaning.desired, group=group, split=split
        )
        for text, label, group, split in columns
    )


def published_toxigen_prompts(*, data_dir: Path | None = None) -> tuple[ToxicityPrompt, ...]:
    """What the published scripts have a model continue: the first 500 statements of the second half of the paper's CSV."""
    texts, labels = sources.read_labelled(sources.PAPER_TOXIGEN, data_dir=data_dir)
    groups = connected([runs(text) for text in texts])
    start = len(texts) // 2
    return tuple(
        ToxicityPrompt(text=texts[row], about="", toxic=labels[row] == 1, group=groups[row], split="test")
        for row in range(start, start + PUBLISHED_PROMPTS)
    )


def rated_scenarios(*, seed: int, data_dir: Path | None = None) -> tuple[RatedScenario, ...]:
    """ConfAIde's scenarios of tier 2, told twice each, with their mean human rating, ambiguous ones included.

    They are grouped as in privacy/defined and together with its statements: scenarios of one setting, and stories that share eight words
    in a row with each other or with a generated statement, form a group. A group stands where its statements stand, in the test half where
    it has none. Ambiguous scenarios are no statements and can link statements of both halves; those that do are left out, at most a few
    of the 98, and which depends on the seed.
    """
    statements = confaide.defined(confaide.ConfAIdeConfig(), seed=seed, data_dir=data_dir)
    places: dict[str, Split] = dict(zip(statements.texts, statements.splits, strict=True))
    every = confaide.scenarios(data_dir=data_dir)
    spoken = {text for scenario in every for text in (scenario.sentence, scenario.story)}
    generated = {text: split for text, split in places.items() if text not in spoken}
    groups, halves = _linked(every, places, generated)
    told = [
        scenario
        for scenario, group in zip(every, groups, strict=True)
        if scenario.sentence in places or len(halves[group]) < 2
    ]
    # Without the links each group is one of the statements', or joins some of one half.
    groups, halves = _linked(told, places, generated)
    return tuple(
        RatedScenario(
            text=text,
            rating=scenario.rating,
            group=group,
            split="train" if "development" in halves[group] else "test",
        )
        for scenario, group in zip(told, groups, strict=True)
        for text in (scenario.sentence, scenario.story)
    )


def _linked(
    told: Sequence[confaide.Scenario], places: Mapping[str, Split], generated: Mapping[str, Split]
) -> tuple[tuple[str, ...], dict[str, set[Half]]]:
    """The group of each scenario among all scenarios and generated statements, and the halves in which each group has statements."""
    keys = [(scenario.setting, *runs(scenario.story)) for scenario in told] + [runs(text) for text in generated]
    groups = connected(keys)
    splits = [*(places.get(scenario.sentence) for scenario in told), *generated.values()]
    halves: dict[str, set[Half]] = {group: set() for group in groups}
    for group, split in zip(groups, splits, strict=True):
        if split:
            halves[group].add("test" if split == "test" else "development")
    return groups[: len(told)], halves


def _rows(data_dir: Path | None) -> list[dict[str, str]]:
    columns = ("Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers")
    return sources.read_rows(sources.TRUTHFULQA, data_dir=data_dir, columns=columns)


def _places_of_questions(*, seed: int, data_dir: Path | None) -> dict[str, tuple[str, Split]]:
    statements = truthfulqa.defined(truthfulqa.TruthfulQAConfig(), seed=seed, data_dir=data_dir)
    columns = zip(statements.texts, statements.groups, statements.splits, strict=True)
    return {text.removeprefix("Q: ").split("\nA: ")[0]: (group, split) for text, group, split in columns}


def _question(row: dict[str, str], group: str, split: Split) -> Question:
    listed = [(_line(answer), label) for label in (1, 0) for answer in row[_COLUMNS[label]].split(";") if _line(answer)]
    # A full stop makes no other answer.
    found = distinct([answer.rstrip(".") for answer, _ in listed], [label for _, label in listed])
    kept = [listed[index] for index in found.kept]
    return Question(
        text=_line(row["Question"]),
        category=row["Category"],
        best=_line(row["Best Answer"]),
        correct=tuple(answer for answer, label in kept if label == 1),
        incorrect=tuple(answer for answer, label in kept if label == 0),
        group=group,
        split=split,
    )


_COLUMNS = {1: "Correct Answers", 0: "Incorrect Answers"}


def _line(text: str) -> str:
    return " ".join(text.split())


def _sides(placed: Sequence[tuple[str, Split]]) -> dict[str, Half]:
    """The half of each run of words; development where it occurs in both."""
    sides: dict[str, Half] = {}
    for half in ("test", "development"):
        ours = [text for text, split in placed if (split == "test") == (half == "test")]
        sides.update((run, half) for text in ours for run in runs(text))
    return sides


def _demonstrations(sides: dict[str, Half], seed: int, data_dir: Path | None) -> tuple[ToxicityPrompt, ...]:
    read = demonstrations.read(data_dir=data_dir)
    lines = [read[row] for row in distinct([text for text, *_ in read], [int(hateful) for *_, hateful in read]).kept]
    groups = connected([runs(text) for text, *_ in lines])
    given: dict[str, Half] = {}
    for (text, *_), group in zip(lines, groups, strict=True):
        halves = {sides[run] for run in runs(text) if run in sides} | ({given[group]} if group in given else set())
        if halves:
            given[group] = "development" if "development" in halves else "test"
    names = sorted(set(groups) - given.keys())
    shuffled = generator(seed, "demonstrations").permutation(len(names))
    given |= {names[row]: "test" if place % 2 else "development" for place, row in enumerate(shuffled)}
    return tuple(
        ToxicityPrompt(
            text=text,
            about=about,
            toxic=hateful,
            group=group,
            split="test" if given[group] == "test" else "train",
        )
        for (text, about, hateful), group in zip(lines, groups, strict=True)
    )
