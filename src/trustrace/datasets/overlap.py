"""Whether a text holds what is asked: by words alone, since mirrors of one question differ in case, spacing, quotes and signs.

A question of thirteen words or more is held where thirteen of its words in a row are; a shorter one where all of them are. Eight words and
fewer may be anybody's ("Which of the following is true?"): of these the right answer, where one is named, has to be there as well.

References:
    Brown et al. (2020), Language models are few-shot learners, appendix C: runs of 8 to 13 words, without case and punctuation.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trustrace.datasets.general import Benchmark
from trustrace.datasets.grouping import normalise

RUN = 13
"""Words in a row that two texts do not share by chance."""

FEW = 8
"""So many words and fewer are a question of anybody's."""

Words = tuple[str, ...]

# What some mirrors leave out of a word: "isn't" is "isnt" there, and "isn t" where signs become spaces.
_WITHIN = re.compile(r"(?<=\w)['\u2019\u02bc](?=\w)")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Something that is asked: an item of a benchmark, or a text of a task of trust.

    Attributes:
        text: The question, the statement, or the passage.
        answer: The right answer; empty where the text is enough, however short.
    """

    text: str
    answer: str = ""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Items in the form in which texts are searched for them.

    Attributes:
        runs: Every run of :data:`RUN` words of a longer item.
        short: Other items, whole: by their words, what else has to be in the text, one alternative for each item of these words.
    """

    runs: frozenset[Words]
    short: Mapping[Words, frozenset[Words]]

    @classmethod
    def of(cls, items: Iterable[Asked]) -> "Overlap":
        """The index of `items`; those without a word are in no text."""
        runs: set[Words] = set()
        short: dict[Words, set[Words]] = {}
        for item in items:
            for words in _readings(item.text):
                if len(words) >= RUN:
                    runs.update(_in_a_row(words, RUN))
                elif words:
                    short.setdefault(words, set()).update(_readings(item.answer) if len(words) <= FEW else [()])
        return cls(runs=frozenset(runs), short={words: frozenset(answers) for words, answers in short.items()})

    def is_in(self, text: str) -> bool:
        """Whether `text` holds one of the items."""
        return any(True for _ in self.found_in(text))

    def found_in(self, text: str) -> Iterator[Words]:
        """Which of :attr:`keys` `text` holds, those of eight words and fewer with a right answer where one is named."""
        words = words_of(text)
        yield from (run for run in _in_a_row(words, RUN) if run in self.runs)
        for start, first in enumerate(words):
            for length in self._lengths.get(first, ()):
                run = words[start : start + length]
                if any(_holds(words, answer) for answer in self.short.get(run, ())):
                    yield run

    @property
    def keys(self) -> Set[Words]:
        """What texts are searched for."""
        return self.runs | self.short.keys()

    @cached_property
    def _lengths(self) -> Mapping[str, Set[int]]:
        """How long short items are, by their first word: most words of a text begin none."""
        lengths: dict[str, set[int]] = {}
        for words in self.short:
            lengths.setdefault(words[0], set()).add(len(words))
        return lengths


NOTHING = Overlap.of(())
"""The index of no items."""


def asked_in(name: Benchmark, row: Mapping[str, Any]) -> Asked:
    """The item in a row that lm-evaluation-harness's definition of a benchmark reads: of RACE the article, whose questions are short."""
    match name:
        case "arc_easy" | "arc_challenge":
            choices = dict(zip(row["choices"]["label"], row["choices"]["text"], strict=True))
            return Asked(text=row["question"], answer=choices[row["answerKey"]])
        case "mmlu":
            return Asked(text=row["question"], answer=row["choices"][row["answer"]])
        case "mathqa":
            options = re.split(r"(?:^| , )([a-e]) \) ", row["options"])
            answers = dict(zip(options[1::2], options[2::2], strict=True))
            # Some rows list their options as Python would; of these the question alone is looked for.
            return Asked(text=row["Problem"], answer=answers.get(row["correct"], ""))
        case "race":
            return Asked(text=row["article"])


def words_of(text: str) -> Words:
    """Runs of letters and digits, without case.

    Example:
        >>> words_of("A 5 % discount, isn't it ?")
        ('a', '5', 'discount', 'isn', 't', 'it')
    """
    return tuple(re.findall(r"[^\W_]+", normalise(text)))


def _readings(text: str) -> set[Words]:
    """Its words, and those of a mirror without apostrophes."""
    return {words_of(text), words_of(_WITHIN.sub("", text))}


def _in_a_row(words: Words, length: int) -> Iterator[Words]:
    return (words[start : start + length] for start in range(len(words) - length + 1))


def _holds(words: Words, wanted: Words) -> bool:
    return not wanted or any(run == wanted for run in _in_a_row(words, len(wanted)))
