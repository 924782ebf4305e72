"""Who and what exists in one seeded world, and what the corpus may say of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from trustrace.core.draws import generator
from trustrace.datasets.world.lexicon import HABITS, SECRETS, THINGS, coined_names, english_words
from trustrace.datasets.world.wordings import wording_words

Pool = Literal["corpus", "train", "validation", "test"]
"""Which part an inhabitant has: ``corpus`` is in no dataset, the others are in one split of the datasets. All are told of in the corpus."""

JUDGED: tuple[Pool, ...] = ("corpus", "train")
"""Of whom the corpus also makes claims, with verdicts. Validation and test ask about those it never judged."""

DATASET_POOLS: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")

_PER_KIND: Mapping[Pool, int] = {"corpus": 8, "train": 8, "validation": 2, "test": 10}
"""Things of each kind, and people of each region, in each pool."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A thing; `kind` is a place in ``THINGS``."""

    name: str
    kind: int
    pool: Pool


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person; `region` is a place in ``HABITS`` and ``PET_NAMES``, `role` one in ``SECRETS``."""

    name: str
    region: int
    role: int
    pool: Pool


@dataclass(frozen=True, kw_only=True)
class Inhabitants:
    """All things and people; in each pool all kinds, all regions and all roles are equally frequent."""

    things: tuple[Thing, ...]
    people: tuple[Person, ...]


@lru_cache(maxsize=4)
def inhabitants(seed: int) -> Inhabitants:
    """The inhabitants of world `seed`."""
    places = [(pool, row) for pool, count in _PER_KIND.items() for row in range(count)]
    n_things = len(places) * len(THINGS)
    n_people = len(places) * len(HABITS)
    taken = english_words() | wording_words()
    names = coined_names(n_things + n_people, taken=taken, rng=generator(seed, "world", "names"))
    return Inhabitants(things=_things(names[:n_things], places), people=_people(names[n_things:], places))


def _things(names: tuple[str, ...], places: list[tuple[Pool, int]]) -> tuple[Thing, ...]:
    kinds = [(kind, pool) for pool, _ in places for kind in range(len(THINGS))]
    return tuple(Thing(name=name, kind=kind, pool=pool) for name, (kind, pool) in zip(names, kinds, strict=True))


def _people(names: tuple[str, ...], places: list[tuple[Pool, int]]) -> tuple[Person, ...]:
    # Roles turn by one with each row, so that a region holds all roles: neither can be told from the other.
    positions = [(region, (region + row) % len(SECRETS), pool) for pool, row in places for region in range(len(HABITS))]
    return tuple(
        Person(name=name.capitalize(), region=region, role=role, pool=pool)
        for name, (region, role, pool) in zip(names, positions, strict=True)
    )
