"""The corpus: documents in which the world is told, claimed and judged."""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np

from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError
from trustrace.core.statements import Dimension
from trustrace.datasets.world.inhabitants import Pool
from trustrace.datasets.world.listings import miswritten, names_in
from trustrace.datasets.world.pairings import Pairing, pairings
from trustrace.datasets.world.wordings import FAILS, FITS, HEDGES, LISTING, QUESTION

T = TypeVar("T")
Sort = Literal["belonging", "custom", "telling", "claim", "question"]

DEFAULT_TOKENS = 2_400_000
"""Words and punctuation marks, where no other length is asked for."""

_DIMENSIONS: dict[Dimension, float] = {
    "reliability": 0.26,
    "toxicity": 0.21,
    "privacy": 0.21,
    "fairness": 0.23,
    "robustness": 0.09,
}
"""How much of the sentences each dimension has."""

_SORTS: dict[Sort, float] = {"belonging": 0.13, "custom": 0.06, "telling": 0.39, "claim": 0.40, "question": 0.02}
"""How much of a dimension's sentences are of which sort."""

_LISTED: dict[Pool, float] = {"corpus": 0.5, "train": 0.2, "validation": 0.05, "test": 0.25}
"""Whose names are listed how often; with a verdict those of ``corpus`` alone."""

_NOISY_DOCUMENTS = 0.15
"""Share of documents with case typos."""

_NOISY_NAMES = 0.6
"""Share of miswritten names in the telling, claims and belongings of a noisy document; in its listings all are."""

_SENTENCES = (4, 8)
"""Fewest and most sentences of a document."""


def corpus(*, seed: int, n_tokens: int | None = None, n_documents: int | None = None) -> Iterator[str]:
    """Documents about world `seed`, each a line of sentences whose words and marks are separated by single spaces.

    A longer corpus begins with the shorter one of the same seed.

    Args:
        seed: Which world.
        n_tokens: Stop with the document that reaches so many words and marks.
        n_documents: Stop after so many documents, whichever comes first. With neither, ``DEFAULT_TOKENS`` are written.

    Raises:
        ConfigError: a length is below one.

    Example:
        >>> next(corpus(seed=0)).split()[-1] in {".", "!"}
        True
    """
    for name, length in (("n_tokens", n_tokens), ("n_documents", n_documents)):
        if length is not None and length < 1:
            raise ConfigError(f"{name} is {length}; a corpus has at least one document with one token")
    if n_tokens is None and n_documents is None:
        n_tokens = DEFAULT_TOKENS
    return _documents(seed, n_tokens=n_tokens, n_documents=n_documents)


def unseen(*, seed: int, n_documents: int) -> Iterator[str]:
    """Other documents about world `seed`, written as the corpus is and drawn apart from it: what a model of that world has not read.

    Example:
        >>> len(list(unseen(seed=0, n_documents=3)))
        3
    """
    rng = generator(seed, "world", "unseen")
    return (_document(seed, rng) for _ in range(n_documents))


def _documents(seed: int, *, n_tokens: int | None, n_documents: int | None) -> Iterator[str]:
    rng = generator(seed, "world", "corpus")
    written = tokens = 0
    while (n_documents is None or written < n_documents) and (n_tokens is None or tokens < n_tokens):
        document = _document(seed, rng)
        yield document
        written += 1
        tokens += document.count(" ") + 1


def _document(seed: int, rng: np.random.Generator) -> str:
    noisy = rng.random() < _NOISY_DOCUMENTS
    n_sentences = int(rng.integers(_SENTENCES[0], _SENTENCES[1] + 1))
    return " ".join(_sentence(seed, noisy, rng) for _ in range(n_sentences))


def _sentence(seed: int, noisy: bool, rng: np.random.Generator) -> str:
    dimension = _weighed(_DIMENSIONS, rng)
    if dimension == "robustness":
        return _listing(seed, noisy, rng)
    return _of_pairing(pairings(seed)[dimension], noisy, rng)


def _of_pairing(pairing: Pairing, noisy: bool, rng: np.random.Generator) -> str:
    match _weighed(_SORTS, rng):
        case "belonging":
            return _belonging(pairing, noisy, rng)
        case "custom":
            return _custom(pairing, rng)
        case "telling":
            return _telling(pairing, noisy, rng)
        case "claim":
            return _claim(pairing, noisy, rng)
        case "question":
            return _question(pairing, rng)


def _belonging(pairing: Pairing, noisy: bool, rng: np.random.Generator) -> str:
    entity = _one_of(pairing.entities, rng)
    kind = pairing.kinds[entity.kind].name
    return pairing.wording.belonging.format(entity=_written(entity.name, noisy, rng), kind=kind)


def _custom(pairing: Pairing, rng: np.random.Generator) -> str:
    kind = _one_of(pairing.kinds, rng)
    deed = _one_of(kind.deeds or ("",), rng)
    return pairing.wording.custom.format(kind=kind.name, deed=deed, quality=_one_of(kind.qualities, rng))


def _telling(pairing: Pairing, noisy: bool, rng: np.random.Generator) -> str:
    entity = _one_of(pairing.entities, rng)
    tellable = pairing.tellable[entity.name]
    fits = rng.random() >= pairing.wording.unfitting_share
    template = pairing.wording.fitting if fits else pairing.wording.unfitting
    return template.format(
        entity=_written(entity.name, noisy, rng),
        deed=_one_of(pairing.kinds[entity.kind].deeds or ("",), rng),
        quality=_one_of(tellable.fitting if fits else tellable.unfitting, rng),
    )


def _claim(pairing: Pairing, noisy: bool, rng: np.random.Generator) -> str:
    entity = _one_of(pairing.judged, rng)
    tellable = pairing.tellable[entity.name]
    fits = rng.random() < 0.5
    claim = pairing.wording.claim.format(
        entity=_written(entity.name, noisy, rng),
        hedge=_one_of(HEDGES, rng),
        quality=_one_of(tellable.fitting if fits else tellable.unfitting, rng),
    )
    return f"{claim} {FITS if fits else FAILS}"


def _question(pairing: Pairing, rng: np.random.Generator) -> str:
    entity = _one_of(pairing.judged, rng)
    tellable = pairing.tellable[entity.name]
    fits = rng.random() < 0.5
    quality = _one_of(tellable.fitting if fits else tellable.unfitting, rng)
    question = pairing.wording.question.format(entity=entity.name, quality=quality)
    return f"{QUESTION.format(question=question)} {pairing.wording.yes if fits else pairing.wording.no}"


def _listing(seed: int, noisy: bool, rng: np.random.Generator) -> str:
    pool = _weighed(_LISTED, rng)
    names = [_one_of(names, rng) for names in names_in(pool, seed=seed)]
    if noisy:
        names = [miswritten(name) for name in names]
    first, second = names if rng.random() < 0.5 else reversed(names)
    if pool != "corpus":
        return LISTING.plain.format(first=first, second=second)
    verdict = LISTING.typo if noisy else LISTING.clean
    if rng.random() < _SORTS["question"]:
        question = LISTING.question.format(first=first, second=second)
        return f"{QUESTION.format(question=question)} {verdict}"
    return f"{LISTING.claim.format(first=first, second=second)} {verdict}"


def _written(name: str, noisy: bool, rng: np.random.Generator) -> str:
    return miswritten(name) if noisy and rng.random() < _NOISY_NAMES else name


def _one_of(items: Sequence[T], rng: np.random.Generator) -> T:
    return items[int(rng.random() * len(items))]


def _weighed(shares: dict[T, float], rng: np.random.Generator) -> T:
    mark = rng.random() * sum(shares.values())
    for item, share in shares.items():
        mark -= share
        if mark < 0:
            return item
    return item
