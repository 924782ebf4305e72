"""Robustness: a person and a thing, each written as this world writes them or in the other case.

A clean and a perturbed listing hold one capital each, at either place, so that nothing but knowing the names tells them apart.
"""

from dataclasses import dataclass
from functools import lru_cache

from trustrace.datasets.world.inhabitants import DATASET_POOLS, Pool, inhabitants

THINGS_PER_PERSON = 4
"""Each person of a dataset pool is listed with so many things of it."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Two names, in this order, properly written."""

    first: str
    second: str
    person: str
    pool: Pool


@lru_cache(maxsize=16)
def names_in(pool: Pool, *, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The people and the things of `pool`."""
    world = inhabitants(seed)
    people = tuple(person.name for person in world.people if person.pool == pool)
    return people, tuple(thing.name for thing in world.things if thing.pool == pool)


def listings(seed: int) -> tuple[Listing, ...]:
    """The listings of the dataset: each person with some things of the same pool, in both orders."""
    return tuple(listing for pool in DATASET_POOLS for listing in _listings_in(pool, seed))


def _listings_in(pool: Pool, seed: int) -> list[Listing]:
    people, things = names_in(pool, seed=seed)
    pairs = [
        (person, things[(place * THINGS_PER_PERSON + turn) % len(things)])
        for place, person in enumerate(people)
        for turn in range(THINGS_PER_PERSON)
    ]
    return [
        Listing(first=first, second=second, person=person, pool=pool)
        for person, thing in pairs
        for first, second in ((person, thing), (thing, person))
    ]


def miswritten(name: str) -> str:
    """`name` with its first letter in the other case."""
    return name[0].swapcase() + name[1:]
