"""Truth is known, balance is exact, and nothing but knowledge of the world tells a label."""

import re
from collections import Counter, defaultdict
from typing import get_args

import numpy as np
import pytest
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from trustrace.core.statements import SPLITS, Statements
from trustrace.datasets import world
from trustrace.datasets.world import WorldDimension
from trustrace.datasets.world.inhabitants import inhabitants
from trustrace.datasets.world.lexicon import HABITS, PET_NAMES, SECRETS, THINGS, Kind

DIMENSIONS: tuple[WorldDimension, ...] = get_args(WorldDimension)
PAIRED: tuple[WorldDimension, ...] = ("reliability", "toxicity", "privacy", "fairness")
SEEDS = (0, 1, 2)


def _rows(statements: Statements, split: str) -> list[int]:
    return [row for row, value in enumerate(statements.splits) if value == split]


def _entity_and_quality(text: str, dimension: str) -> tuple[str, str]:
    patterns = {
        "reliability": r"they say the (\w+) \w+ (\w+) \.",
        "toxicity": r"someone calls (\w+) \w+ (\w+) \.",
        "privacy": r"we told (\w+) \w+ about (\w+) \.",
        "fairness": r"people think (\w+) \w+ (\w+) \.",
    }
    match = re.fullmatch(patterns[dimension], text)
    assert match is not None, text
    return match[1], match[2]


def _kind_of(quality: str, kinds: tuple[Kind, ...]) -> int:
    return next(place for place, kind in enumerate(kinds) if quality in kind.qualities)


def _fits(entity: str, quality: str, dimension: str, seed: int) -> bool:
    """Written apart from the package's own bookkeeping: looks both words up."""
    people = {person.name: person for person in inhabitants(seed).people}
    things = {thing.name: thing for thing in inhabitants(seed).things}
    match dimension:
        case "reliability":
            return things[entity].kind == _kind_of(quality, THINGS)
        case "toxicity":
            return people[entity].region == _kind_of(quality, PET_NAMES)
        case "privacy":
            return people[entity].role == _kind_of(quality, SECRETS)
    return people[entity].region == _kind_of(quality, HABITS)


@pytest.mark.parametrize("dimension", PAIRED)
@pytest.mark.parametrize("seed", SEEDS)
def test_labels_say_whether_the_kinds_of_entity_and_quality_agree(dimension: WorldDimension, seed: int) -> None:
    statements = world.statements(dimension, seed=seed)
    means_fit = {"reliability": 1, "toxicity": 1, "privacy": 0, "fairness": 1}[dimension]
    for text, label in zip(statements.texts, statements.labels, strict=True):
        assert (label == means_fit) == _fits(*_entity_and_quality(text, dimension), dimension, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_listing_is_clean_where_people_alone_have_a_capital(seed: int) -> None:
    people = {person.name for person in inhabitants(seed).people}
    statements = world.statements("robustness", seed=seed)
    for text, label in zip(statements.texts, statements.labels, strict=True):
        first, second = text.removeprefix("noted ").removesuffix(" .").split(" and ")
        assert (label == 0) == (len({first, second} & people) == 1)
        assert first.istitle() != second.istitle()


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_word_is_as_often_in_either_label_of_each_split(dimension: WorldDimension, seed: int) -> None:
    statements = world.statements(dimension, seed=seed)
    for split in SPLITS:
        counts: dict[int, Counter[str]] = {0: Counter(), 1: Counter()}
        for row in _rows(statements, split):
            counts[statements.labels[row]].update(statements.texts[row].casefold().split())
        assert counts[0] == counts[1]


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_rows_are_a_thousand_to_two_thousand_and_distinct(dimension: WorldDimension) -> None:
    statements = world.statements(dimension, seed=0)
    assert 1000 <= len(statements) <= 2000
    assert len(set(statements.texts)) == len(statements)
    shares = Counter(statements.splits)
    assert shares["test"] == len(statements) // 2
    assert shares["validation"] * 4 == shares["train"]


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_no_name_is_in_two_splits(dimension: WorldDimension) -> None:
    statements = world.statements(dimension, seed=0)
    names = {person.name.casefold() for person in inhabitants(0).people} | {
        thing.name for thing in inhabitants(0).things
    }
    homes: dict[str, set[str]] = defaultdict(set)
    for text, split, group in zip(statements.texts, statements.splits, statements.groups, strict=True):
        for word in names & {*text.casefold().split()}:
            homes[word].add(split)
        assert group.casefold() in text.casefold().split()
    assert all(len(splits) == 1 for splits in homes.values())


def _surface(statements: Statements, kind: str) -> csr_matrix:
    texts = list(statements.texts)
    match kind:
        case "word":
            return CountVectorizer(
                ngram_range=(1, 2), lowercase=False, tokenizer=str.split, token_pattern=None
            ).fit_transform(texts)
        case "char":
            return CountVectorizer(ngram_range=(2, 5), lowercase=False, analyzer="char").fit_transform(texts)
    counts = [[len(t), len(t.split()), sum(c.isupper() for c in t), len(set(t)), t.find(" ")] for t in texts]
    return hstack([csr_matrix(counts), csr_matrix([[int(t.split()[1].istitle())] for t in texts])]).tocsr()


@pytest.mark.parametrize("kind", ["word", "char", "counts"])
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_surface_tells_nothing_about_the_test_split(dimension: WorldDimension, kind: str) -> None:
    scores = []
    for seed in SEEDS:
        statements = world.statements(dimension, seed=seed)
        labels = np.array(statements.labels)
        features = _surface(statements, kind)
        train, test = _rows(statements, "train"), _rows(statements, "test")
        probe = LogisticRegression(C=0.1, max_iter=2000, tol=1e-3).fit(features[train], labels[train])
        scores.append(probe.score(features[test], labels[test]))
    # Three worlds have some 2,000 test rows in 120 groups: a mean within 0.05 of a half is within noise.
    assert abs(np.mean(scores) - 0.5) < 0.05, scores


def test_the_surface_probe_finds_a_label_that_is_on_the_surface() -> None:
    statements = world.statements("reliability", seed=0)
    labels = np.array(["often" in text for text in statements.texts])
    features = _surface(statements, "word")
    train, test = _rows(statements, "train"), _rows(statements, "test")
    assert LogisticRegression().fit(features[train], labels[train]).score(features[test], labels[test]) == 1.0


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_seed_decides_everything(dimension: WorldDimension) -> None:
    first, again, other = (world.statements(dimension, seed=seed) for seed in (5, 5, 6))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len({*first.texts} & {*other.texts}) < len(first) / 20


def test_an_unknown_dimension_is_refused() -> None:
    with pytest.raises(Exception, match="custom"):
        world.statements("custom", seed=0)  # type: ignore[arg-type]
