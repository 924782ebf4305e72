"""Judgements made by a rule, small enough to fit a judge in a second."""

import numpy as np

from trustrace.datasets.questions import Question
from trustrace.evaluation.judges.human import HumanJudgements
from trustrace.evaluation.judges.judge import Answered

ANIMALS = tuple(
    f"{first}{second}" for first in ("bo", "ka", "li", "mu") for second in ("dan", "fir", "gol", "hep", "jin", "lor")
)
"""Invented: no rule can be looked up anywhere else."""


def question_of(animal: str) -> str:
    return f"What do {animal}s do at night?"


def references() -> dict[str, Question]:
    """Every other animal sleeps, the rest sing; what is true of one is false of the other."""
    found = {}
    for place, animal in enumerate(ANIMALS):
        acts = ("sleep in a burrow", "sing by the river")
        true, false = acts if place % 2 else acts[::-1]
        text = question_of(animal)
        found[text.lower()] = Question(
            text=text,
            category="Night" if place < 12 else "Day",
            best=f"They {true}",
            correct=(f"They {true}", f"The {animal}s {true}"),
            incorrect=(f"They {false}",),
            group=animal,
            split="test" if place >= 16 else "train",
        )
    return found


def judgements(*, shuffled: int | None = None) -> HumanJudgements:
    """Three answers to each question, of which people affirm the true ones; labels shuffled with a seed tell nothing."""
    pairs, labels, animals = [], [], []
    for place, animal in enumerate(ANIMALS):
        acts = ("sleep", "sing")
        for which, wording in enumerate(
            ("I think they {} then", "{} is what they do", "Mostly they {} a lot", "They all {} here")
        ):
            act = which % 2
            pairs.append(Answered(question_of(animal), wording.format(acts[act])))
            labels.append(int(acts[act] == acts[(place + 1) % 2]))
            animals.append(animal)
    if shuffled is not None:
        labels = list(np.random.default_rng(shuffled).permutation(labels))
    places = [ANIMALS.index(animal) for animal in animals]
    return HumanJudgements(
        aspect="truth",
        pairs=tuple(pairs),
        labels=np.array(labels),
        groups=tuple(animals),
        splits=tuple("test" if place >= 16 else "train" for place in places),
        categories=tuple("Night" if place < 12 else "Day" for place in places),
        kinds=("model",) * len(pairs),
        duplicates=0,
        contradictions=0,
    )
