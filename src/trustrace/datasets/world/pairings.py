"""The four dimensions that are a matter of fit: of a thing and what it does, of a person and what is said of, called to or told them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from trustrace.core.draws import generator
from trustrace.core.statements import Dimension
from trustrace.datasets.world.inhabitants import DATASET_POOLS, JUDGED, Pool, inhabitants
from trustrace.datasets.world.lexicon import HABITS, PET_NAMES, SECRETS, THINGS, Kind
from trustrace.datasets.world.wordings import WORDINGS, Wording


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A thing or a person as one dimension sees it; `kind` is a place in the pairing's kinds."""

    name: str
    kind: int
    pool: Pool


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An entity and a quality, and whether the quality is of the entity's kind."""

    entity: Entity
    quality: str
    fits: bool


@dataclass(frozen=True, kw_only=True)
class Tellable:
    """The qualities that the corpus may name in one sentence with an entity, of its own kind and of others."""

    fitting: tuple[str, ...]
    unfitting: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """One dimension of one world: its kinds, their entities, and the words for them."""

    dimension: Dimension
    kinds: tuple[Kind, ...]
    entities: tuple[Entity, ...]
    seed: int

    @property
    def wording(self) -> Wording:
        """How it is put into words."""
        return WORDINGS[self.dimension]

    @cached_property
    def judged(self) -> tuple[Entity, ...]:
        """The entities of whom the corpus makes claims."""
        return tuple(entity for entity in self.entities if entity.pool in JUDGED)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """The claims of the dataset: one that fits and one that does not, in turn.

        For each entity half of its kind's qualities are drawn. Each of them makes a fitting claim about the entity, and an unfitting one
        about an entity of another kind that stands in the same row; the kinds trade one to one. So within each pool every entity and
        every quality is exactly as often in a fitting as in an unfitting claim.
        """
        return tuple(claim for pool in DATASET_POOLS for row in self._rows(pool) for claim in self._claims_of(row))

    @cached_property
    def tellable(self) -> dict[str, Tellable]:
        """What the corpus may tell of each entity: everything but the dataset's claims, which occur nowhere in it."""
        kept_back = {(claim.entity.name, claim.quality) for claim in self.claims}
        return {entity.name: self._tellable_of(entity, kept_back) for entity in self.entities}

    def _rows(self, pool: Pool) -> Iterable[tuple[Entity, ...]]:
        """The entities of `pool`, one of each kind at a time."""
        columns = [
            [entity for entity in self.entities if entity.pool == pool and entity.kind == kind]
            for kind in range(len(self.kinds))
        ]
        return zip(*columns, strict=True)

    def _claims_of(self, row: tuple[Entity, ...]) -> Iterable[Claim]:
        rng = generator(self.seed, "world", self.dimension, "claims", row[0].name)
        n_kinds = len(self.kinds)
        shifts = rng.permutation(n_kinds - 1) + 1
        for entity in row:
            own = self.kinds[entity.kind].qualities
            for turn, chosen in enumerate(rng.permutation(len(own))[: len(own) // 2]):
                other = row[(entity.kind + int(shifts[turn % (n_kinds - 1)])) % n_kinds]
                yield Claim(entity=entity, quality=own[chosen], fits=True)
                yield Claim(entity=other, quality=own[chosen], fits=False)

    def _tellable_of(self, entity: Entity, kept_back: set[tuple[str, str]]) -> Tellable:
        free = [
            (kind, quality)
            for kind, own in enumerate(self.kinds)
            for quality in own.qualities
            if (entity.name, quality) not in kept_back
        ]
        return Tellable(
            fitting=tuple(quality for kind, quality in free if kind == entity.kind),
            unfitting=tuple(quality for kind, quality in free if kind != entity.kind),
        )


@lru_cache(maxsize=4)
def pairings(seed: int) -> dict[Dimension, Pairing]:
    """Reliability, toxicity, privacy and fairness in world `seed`."""
    things, people = inhabitants(seed).things, inhabitants(seed).people
    by_kind = tuple(Entity(name=thing.name, kind=thing.kind, pool=thing.pool) for thing in things)
    by_region = tuple(Entity(name=person.name, kind=person.region, pool=person.pool) for person in people)
    by_role = tuple(Entity(name=person.name, kind=person.role, pool=person.pool) for person in people)
    return {
        "reliability": Pairing(dimension="reliability", kinds=THINGS, entities=by_kind, seed=seed),
        "toxicity": Pairing(dimension="toxicity", kinds=PET_NAMES, entities=by_region, seed=seed),
        "privacy": Pairing(dimension="privacy", kinds=SECRETS, entities=by_role, seed=seed),
        "fairness": Pairing(dimension="fairness", kinds=HABITS, entities=by_region, seed=seed),
    }
