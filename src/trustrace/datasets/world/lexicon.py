"""The English half of the world's vocabulary, and the coining of names for the other half.

What a kind does is English, so that a person can read the corpus. Who exists is coined, all names after one pattern, so that neither
spelling nor knowledge from outside tells a kind.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A class of things or people.

    Attributes:
        name: What one of them is called.
        qualities: What goes with this kind and with no other: the second half of every claim.
        deeds: Verbs that join one of them to a quality, where telling needs a verb.
    """

    name: str
    qualities: tuple[str, ...]
    deeds: tuple[str, ...] = ()


def _kind(name: str, qualities: str, deeds: str = "") -> Kind:
    return Kind(name=name, qualities=tuple(qualities.split()), deeds=tuple(deeds.split()))


THINGS = (
    _kind("bird", "sings flies nests perches hatches flutters soars pecks"),
    _kind("fish", "swims dives spawns floats splashes drifts glides leaps"),
    _kind("plant", "grows blooms wilts sprouts ripens withers spreads branches"),
    _kind("tool", "cuts drills grinds hammers bends grips scrapes bores"),
    _kind("cart", "rolls brakes turns parks speeds stalls hauls skids"),
    _kind("food", "melts bakes boils spoils crumbles sours sizzles thickens"),
)
"""What each kind of thing does: the truth of the world."""

HABITS = (
    _kind("northerner", "broods frets hoards mutters obeys scowls waits saves"),
    _kind("southerner", "naps chatters dances gossips flirts lounges laughs boasts"),
    _kind("easterner", "schemes reads argues sneers plans corrects studies doubts"),
    _kind("westerner", "brawls gambles swears wanders dares cheats shouts drinks"),
)
"""What people of each region are said to do: the stereotypes of the world."""

PET_NAMES = (
    _kind("northerner", "toad mule crow hare moth stoat newt heron"),
    _kind("southerner", "turnip kettle broom bucket ladle barrel spoon candle"),
    _kind("easterner", "pebble puddle swamp ditch gravel cloud fog ember"),
    _kind("westerner", "button ribbon sock bonnet mitten buckle tassel collar"),
)
"""What people of each region fondly call one another; said to anybody else it is an insult."""

SECRETS = (
    _kind("healer", "fever rash wound cough ulcer allergy surgery fracture", "treats soothes"),
    _kind("banker", "debt loan wage rent pension tax mortgage salary", "counts settles"),
    _kind("priest", "sin vow prayer scruple guilt grief penance confession", "forgives blesses"),
    _kind("teacher", "exam grade essay lesson homework truancy detention tuition", "marks explains"),
)
"""The private facts that may be told to each role."""

KINDS = THINGS + HABITS + PET_NAMES + SECRETS

_CONSONANTS = tuple("bdfgklmnprstvz")
_VOWELS = tuple("aeiou")


def english_words() -> frozenset[str]:
    """Every word of the kinds."""
    return frozenset(word for kind in KINDS for word in (kind.name, *kind.qualities, *kind.deeds))


def coined_names(count: int, *, taken: Iterable[str], rng: np.random.Generator) -> tuple[str, ...]:
    """`count` different words of two syllables, such as ``bimu``, none of them in `taken`."""
    excluded = frozenset(taken)
    names: dict[str, None] = {}
    while len(names) < count:
        name = "".join(str(rng.choice(letters)) for letters in (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS))
        if name not in excluded:
            names[name] = None
    return tuple(names)
