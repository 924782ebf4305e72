"""Every kind, region and role is equally frequent, and names tell none of them."""

from collections import Counter

import numpy as np
import pytest

from trustrace.datasets.world.inhabitants import inhabitants
from trustrace.datasets.world.lexicon import KINDS, PET_NAMES, SECRETS, THINGS, coined_names, english_words


@pytest.mark.parametrize("seed", [0, 1])
def test_kinds_regions_and_roles_are_equally_frequent_in_each_pool(seed: int) -> None:
    world = inhabitants(seed)
    for counts in (
        Counter((thing.pool, thing.kind) for thing in world.things),
        Counter((person.pool, person.region) for person in world.people),
        Counter((person.pool, person.role) for person in world.people),
    ):
        assert {pool: {n for (p, _), n in counts.items() if p == pool} for pool, _ in counts} == {
            "corpus": {8},
            "train": {8},
            "validation": {2},
            "test": {10},
        }


def test_a_region_tells_no_role() -> None:
    together = Counter((person.region, person.role) for person in inhabitants(0).people)
    assert len(together) == len(PET_NAMES) * len(SECRETS)
    assert max(together.values()) - min(together.values()) <= 2


def test_names_are_distinct_and_have_one_pattern() -> None:
    world = inhabitants(0)
    names = [named.name.casefold() for named in (*world.things, *world.people)]
    assert len({*names}) == len(names)
    assert not {*names} & english_words()
    assert all(len(name) == 4 and name[1] in "aeiou" and name[3] in "aeiou" for name in names)
    assert all(thing.name.islower() for thing in world.things)
    assert all(person.name.istitle() for person in world.people)


def test_a_quality_belongs_to_one_kind_of_the_whole_world() -> None:
    counts = Counter(quality for kind in KINDS for quality in kind.qualities)
    assert set(counts.values()) == {1}
    assert len({len(kind.qualities) for kind in KINDS}) == 1
    assert len(THINGS) == 6


def test_coining_avoids_what_is_taken() -> None:
    first = coined_names(50, taken=(), rng=np.random.default_rng(0))
    again = coined_names(50, taken=first[:25], rng=np.random.default_rng(0))
    assert len({*first}) == len({*again}) == 50
    assert not {*first[:25]} & {*again}
