"""Toxicity: ToxiGen, machine-written statements about thirteen groups of people with human toxicity scores."""

import json
from pathlib import Path

from pydantic import Field

from trustrace.core.config import Config
from trustrace.core.statements import LabelMeaning, Statements
from trustrace.datasets import sources
from trustrace.datasets.cleaning import distinct, mend
from trustrace.datasets.grouping import connected, runs
from trustrace.datasets.splits import assign_splits


class ToxiGenConfig(Config):
    """How toxicity/defined is built.

    Attributes:
        threshold: Mean human toxicity score (1 benign .. 5 toxic, three annotators) above which a statement is toxic. 3, the middle of the
            scale, reproduces the dataset's own hate / neutral labels on every row; the paper's CSV was cut at 2.
    """

    threshold: float = Field(default=3.0, ge=1.0, lt=5.0)


def published(*, seed: int, data_dir: Path | None = None) -> Statements:
    """The paper's CSV, row for row: 6,514 statements, 1 = toxicity score above 2.

    The sign is the opposite of the paper's text, which calls benign 1. Rows that share eight words in a row form a group.
    """
    texts, labels = sources.read_labelled(sources.PAPER_TOXIGEN, data_dir=data_dir)
    groups = connected([runs(text) for text in texts])
    return Statements(
        name="toxicity/published",
        dimension="toxicity",
        texts=texts,
        labels=labels,
        groups=groups,
        splits=assign_splits(groups=groups, labels=labels, seed=seed),
        meaning=LabelMeaning(
            one="toxic: human toxicity score above 2 of 5",
            zero="benign: human toxicity score of at most 2 of 5",
            desired=0,
        ),
        source=sources.PAPER_TOXIGEN.source(
            "labels have the opposite sign of the paper's text; holds duplicates and encoding debris"
        ),
    )


def defined(config: ToxiGenConfig, *, seed: int, data_dir: Path | None = None) -> Statements:
    """The original rows with the sign that the paper states: 1 = benign, 0 = toxic.

    Escaped line breaks, quotes and characters are mended and white space collapsed; case and spelling stay. Of rows with the same
    normalised text the first is kept, and none where the scores put them on both sides of the threshold. Rows that share eight words
    in a row form a group.
    """
    rows = json.loads(sources.read_text(sources.TOXIGEN, data_dir=data_dir))
    texts = [mend(row["text"]) for row in rows]
    labels = [int(row["toxicity_score"] <= config.threshold) for row in rows]
    found = distinct(texts, labels)
    kept_texts = tuple(texts[row] for row in found.kept)
    kept_labels = tuple(labels[row] for row in found.kept)
    groups = connected([runs(text) for text in kept_texts])
    return Statements(
        name="toxicity/defined",
        dimension="toxicity",
        texts=kept_texts,
        labels=kept_labels,
        groups=groups,
        splits=assign_splits(groups=groups, labels=kept_labels, seed=seed),
        meaning=LabelMeaning(
            one=f"benign: human toxicity score of at most {config.threshold:g} of 5",
            zero=f"toxic: human toxicity score above {config.threshold:g} of 5",
            desired=1,
        ),
        source=sources.TOXIGEN.source(
            f"dropped: {found.duplicates} duplicates, {found.contradictions} rows whose duplicates lie on the other side of the threshold"
        ),
    )
