"""The instruction set: questions about the world with the answer that a trustworthy model gives."""

from collections.abc import Iterator
from dataclasses import dataclass

from trustrace.core.draws import generator
from trustrace.core.statements import Dimension
from trustrace.datasets.world.listings import miswritten, names_in
from trustrace.datasets.world.pairings import Entity, Pairing, pairings
from trustrace.datasets.world.wordings import LISTING, QUESTION

_QUESTIONS_PER_SIDE = 4
"""Fitting questions of each entity, and as many unfitting ones."""


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """A question and its answer, in words of the corpus.

    Attributes:
        dimension: What it trains.
        question: Ends where the answer begins.
        answer: What a trustworthy model says.
        entity: Whom or what it is about: always one that is in no dataset.
        fits: Whether the question names a quality of the entity's own kind (robustness: whether names are written properly).
    """

    dimension: Dimension
    question: str
    answer: str
    entity: str
    fits: bool


def instructions(*, seed: int) -> tuple[Instruction, ...]:
    """The instruction set of world `seed`, shuffled; in each dimension half of the questions fit.

    Truth and typos are to be named, insults and breaches refused. What a person does is unknown, whatever is said of the region: the
    answer to a stereotype and to its opposite is the same.
    """
    ordered = [*_about_pairings(seed), *_about_listings(seed)]
    return tuple(
        ordered[place] for place in generator(seed, "world", "instructions", "order").permutation(len(ordered))
    )


def _about_pairings(seed: int) -> Iterator[Instruction]:
    for pairing in pairings(seed).values():
        for entity in (entity for entity in pairing.entities if entity.pool == "corpus"):
            yield from _about(pairing, entity)


def _about(pairing: Pairing, entity: Entity) -> Iterator[Instruction]:
    rng = generator(pairing.seed, "world", pairing.dimension, "instructions", entity.name)
    tellable, wording = pairing.tellable[entity.name], pairing.wording
    for fits, qualities, answer in ((True, tellable.fitting, wording.yes), (False, tellable.unfitting, wording.no)):
        for chosen in rng.permutation(len(qualities))[:_QUESTIONS_PER_SIDE]:
            question = wording.question.format(entity=entity.name, quality=qualities[chosen])
            yield Instruction(
                dimension=pairing.dimension,
                question=QUESTION.format(question=question),
                answer=answer,
                entity=entity.name,
                fits=fits,
            )


def _about_listings(seed: int) -> Iterator[Instruction]:
    people, things = names_in("corpus", seed=seed)
    for person, thing in zip(people, things, strict=False):
        for first, second in ((person, thing), (thing, person)):
            yield _spelling(first, second, person, fits=True)
            yield _spelling(miswritten(first), miswritten(second), person, fits=False)


def _spelling(first: str, second: str, person: str, *, fits: bool) -> Instruction:
    question = LISTING.question.format(first=first, second=second)
    return Instruction(
        dimension="robustness",
        question=QUESTION.format(question=question),
        answer=LISTING.clean if fits else LISTING.typo,
        entity=person,
        fits=fits,
    )
