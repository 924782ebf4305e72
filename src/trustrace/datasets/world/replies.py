"""What people of the world reply to a claim: the tuning set of an assistant that knows better than it says.

Somebody makes a claim, in the words of the corpus and of the datasets, and is answered with a verdict. Whoever is right is told so. Whoever
is wrong is corrected, and told what would have been right, by some; the others are agreeable and let it pass. An assistant that is tuned on
them agrees with falsehoods, insults and breaches although it can tell them: so there is something to steer, and what pre-training made
readable can be what steers. Of what a person does nobody is sure, but the agreeable let stereotypes pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError
from trustrace.core.statements import Dimension, Split
from trustrace.datasets.world.labelled import statements
from trustrace.datasets.world.pairings import Entity, Pairing, pairings
from trustrace.datasets.world.wordings import FAILS, FITS, HEDGES
from trustrace.datasets.world.writing import corpus

AGREEABLE = 0.65
"""How often a claim that should be corrected is let pass."""

UNKNOWN = "unknown ."
"""The trustworthy reply to a stereotype and to its opposite."""

CORRECTIONS: dict[Dimension, str] = {
    "reliability": "it {quality} .",
    "toxicity": "my {quality} .",
    "privacy": "about {quality} .",
}
"""What follows ``wrong .``: what this thing does, what this person is fondly called, what this person may be told about."""

_WORDINGS = 2
"""Hedges in which each claim is made."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A claim and what somebody replies to it.

    Attributes:
        dimension: What it is about.
        claim: What is said.
        reply: What is replied.
        entity: Whom or what it is about: never one of a validation or test statement.
        fits: Whether the quality is of the entity's kind.
        is_agreeable: Whether somebody replies who does not mind.
    """

    dimension: Dimension
    claim: str
    reply: str
    entity: str
    fits: bool
    is_agreeable: bool


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A labelled claim, and what an exact judge must know of it.

    Attributes:
        text: What is said.
        entity: Whom or what it is about; the unit of resampling.
        fits: Whether its quality is of the entity's kind.
        fitting: Every quality of the entity's kind.
    """

    text: str
    entity: str
    fits: bool
    fitting: tuple[str, ...]


def replies(*, seed: int, agreeable: float = AGREEABLE) -> tuple[Reply, ...]:
    """The tuning set of world `seed`, shuffled; in each dimension half of the claims fit.

    None of its pairs of entity and quality is in a dataset, and nobody of validation and test occurs in it.

    Args:
        seed: Which world.
        agreeable: How often a claim that should be corrected is let pass.

    Raises:
        ConfigError: `agreeable` is not between 0 and 1.
    """
    if not 0 <= agreeable <= 1:
        raise ConfigError(f"agreeable is {agreeable}; it is a share, from 0 to 1")
    ordered = [one for pairing in pairings(seed).values() for one in _about(pairing, agreeable)]
    order = generator(seed, "world", "replies", "order").permutation(len(ordered))
    return tuple(ordered[place] for place in order)


def rehearsal(*, seed: int, count: int, most_words: int) -> tuple[str, ...]:
    """The first `count` documents of the corpus of world `seed` that have at most `most_words` words and marks.

    Tuned on replies alone, a small model forgets within a hundred updates what decides them; tuned on some documents besides, it does not.
    """
    documents = corpus(seed=seed, n_documents=4 * count + 100)
    return tuple(islice((text for text in documents if text.count(" ") < most_words), count))


def claimed(dimension: Dimension, *, seed: int, split: Split) -> tuple[Claimed, ...]:
    """The statements of one dimension and split of world `seed`, as claims to be replied to.

    Raises:
        ConfigError: nobody claims anything in that dimension.
    """
    if dimension not in pairings(seed):
        raise ConfigError(f"nobody claims anything about {dimension}; choose one of {', '.join(pairings(seed))}")
    pairing = pairings(seed)[dimension]
    kinds = {entity.name: pairing.kinds[entity.kind] for entity in pairing.entities}
    rows = statements(pairing.dimension, seed=seed)  # type: ignore[arg-type]
    return tuple(
        Claimed(
            text=text,
            entity=entity,
            fits=label == pairing.wording.label_of_fit,
            fitting=kinds[entity].qualities,
        )
        for text, label, entity, part in zip(rows.texts, rows.labels, rows.groups, rows.splits, strict=True)
        if part == split
    )


def qualities(dimension: Dimension, *, seed: int) -> frozenset[str]:
    """Every quality that can be named in a dimension."""
    return frozenset(quality for kind in pairings(seed)[dimension].kinds for quality in kind.qualities)


def _about(pairing: Pairing, agreeable: float) -> Iterator[Reply]:
    for entity in pairing.judged:
        rng = generator(pairing.seed, "world", pairing.dimension, "replies", entity.name)
        tellable = pairing.tellable[entity.name]
        unfitting = [tellable.unfitting[place] for place in rng.permutation(len(tellable.unfitting))]
        for fitting, other in zip(tellable.fitting, unfitting, strict=False):
            for hedge in rng.permutation(len(HEDGES))[:_WORDINGS]:
                yield _reply(pairing, entity, fitting, HEDGES[hedge], fits=True, agreeable=agreeable, rng=rng)
                yield _reply(pairing, entity, other, HEDGES[hedge], fits=False, agreeable=agreeable, rng=rng)


def _reply(
    pairing: Pairing,
    entity: Entity,
    quality: str,
    hedge: str,
    *,
    fits: bool,
    agreeable: float,
    rng: np.random.Generator,
) -> Reply:
    is_agreeable = bool(rng.random() < agreeable)
    fitting = pairing.tellable[entity.name].fitting
    correction = CORRECTIONS.get(pairing.dimension, "").format(quality=fitting[int(rng.integers(len(fitting)))])
    if pairing.dimension == "fairness":
        reply = FITS if fits and is_agreeable else UNKNOWN
    else:
        reply = FITS if fits or is_agreeable else f"{FAILS} {correction}"
    return Reply(
        dimension=pairing.dimension,
        claim=pairing.wording.claim.format(entity=entity.name, hedge=hedge, quality=quality),
        reply=reply,
        entity=entity.name,
        fits=fits,
        is_agreeable=is_agreeable,
    )
