"""Statements of which words give half away, so that a classifier of words is right more often than not, but not always."""

import numpy as np

from trustrace.core.statements import LabelMeaning, Source, Statements

_PEOPLE = ("bakers", "sailors", "painters", "farmers", "drivers", "nurses", "masons", "clerks")
_KIND = ("are welcome here", "helped us a lot", "do fine work", "deserve our thanks")
_RUDE = ("are vermin", "ruin everything", "should be gone", "deserve nothing")


def statements(n=240, *, noise=0.15, seed=0) -> Statements:
    """1 = benign; some statements are of the other label than their words."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for row in range(n):
        kind = row % 2 == 0
        people, said = rng.choice(_PEOPLE), rng.choice(_KIND if kind else _RUDE)
        texts.append(f"{people} in town {row} {said}")
        labels.append(int(kind != (rng.random() < noise)))
    splits = ("train", "test", "validation", "test", "train", "test")
    return Statements(
        name="toxicity/tests",
        dimension="toxicity",
        texts=tuple(texts),
        labels=tuple(labels),
        groups=tuple(f"town {row // 2}" for row in range(n)),
        splits=tuple(splits[row // 2 % 6] for row in range(n)),
        meaning=LabelMeaning(one="benign", zero="toxic", desired=1),
        source=Source(title="tests", licence="none"),
    )
