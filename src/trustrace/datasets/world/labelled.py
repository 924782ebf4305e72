"""The datasets: labelled statements, none of which the corpus makes, and whose test entities it never judges."""

from typing import Literal

from trustrace.core.draws import generator
from trustrace.core.statements import LabelMeaning, Source, Split, Statements
from trustrace.datasets.world.inhabitants import Pool
from trustrace.datasets.world.listings import Listing, listings, miswritten
from trustrace.datasets.world.pairings import Claim, Pairing, pairings
from trustrace.datasets.world.wordings import HEDGES, LISTING

WorldDimension = Literal["reliability", "toxicity", "privacy", "fairness", "robustness"]

_SOURCE = Source(
    title="The controlled world",
    licence="Apache-2.0",
    note="generated; truth is known by construction; groups are entities; those of validation and test are judged nowhere in the corpus",
)

_SPLITS: dict[Pool, Split] = {"train": "train", "validation": "validation", "test": "test"}
"""The pool ``corpus`` has none: it is in no dataset."""

_Row = tuple[str, int, str, Split]


def statements(dimension: WorldDimension, *, seed: int) -> Statements:
    """The labelled statements of one dimension of world `seed`.

    Between a half and the whole of 2,000 rows, with as many of either label in each split, for each entity and for each quality. The
    scheme is ``held_out``, since the split is one of entities and carries meaning.

    Args:
        dimension: One of the five.
        seed: Which world; the corpus of the same seed is about it.

    Raises:
        KeyError: `dimension` is none of the five.
    """
    if dimension == "robustness":
        return _statements(dimension, [row for listing in listings(seed) for row in _spelt(listing)], LISTING.meaning)
    pairing = pairings(seed)[dimension]
    return _statements(dimension, _claimed(pairing), pairing.wording.meaning)


def _claimed(pairing: Pairing) -> list[_Row]:
    """Each claim in two wordings; a fitting claim and its unfitting counterpart share them."""
    rng = generator(pairing.seed, "world", pairing.dimension, "hedges")
    counterparts = zip(pairing.claims[::2], pairing.claims[1::2], strict=True)
    hedges = [[HEDGES[i] for i in rng.permutation(len(HEDGES))[:2]] for _ in pairing.claims[::2]]
    return [
        _row(pairing, claim, hedge)
        for claims, pair in zip(counterparts, hedges, strict=True)
        for hedge in pair
        for claim in claims
    ]


def _row(pairing: Pairing, claim: Claim, hedge: str) -> _Row:
    text = pairing.wording.claim.format(entity=claim.entity.name, hedge=hedge, quality=claim.quality)
    label = pairing.wording.label_of_fit if claim.fits else 1 - pairing.wording.label_of_fit
    return text, label, claim.entity.name, _SPLITS[claim.entity.pool]


def _spelt(listing: Listing) -> list[_Row]:
    first, second, split = listing.first, listing.second, _SPLITS[listing.pool]
    clean = LISTING.claim.format(first=first, second=second)
    perturbed = LISTING.claim.format(first=miswritten(first), second=miswritten(second))
    return [(clean, 0, listing.person, split), (perturbed, 1, listing.person, split)]


def _statements(dimension: WorldDimension, rows: list[_Row], meaning: LabelMeaning) -> Statements:
    texts, labels, groups, splits = zip(*rows, strict=True)
    return Statements(
        name=f"{dimension}/world",
        dimension=dimension,
        texts=texts,
        labels=labels,
        groups=groups,
        splits=splits,
        meaning=meaning,
        source=_SOURCE,
        scheme="held_out",
    )
