"""The corpus tells of everyone, never judges those of validation and test, and never says what the datasets ask."""

import itertools
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustrace.core.errors import ConfigError
from trustrace.datasets import world
from trustrace.datasets.world import WorldDimension
from trustrace.datasets.world.inhabitants import inhabitants
from trustrace.datasets.world.pairings import pairings

DIMENSIONS: tuple[WorldDimension, ...] = get_args(WorldDimension)
ANSWERS = {"right", "wrong", "typo", "clean", "gladly", "never", "unknown"}


@pytest.fixture(scope="module")
def sentences(documents: list[str]) -> list[list[str]]:
    """Sentences as words; the closing mark is dropped."""
    marked = [document.replace(" !", " .").replace(" ?", " .") for document in documents]
    return [sentence.split() for document in marked for sentence in document.removesuffix(" .").split(" . ")]


def test_documents_are_lines_of_words_and_marks_with_single_spaces(documents: list[str]) -> None:
    for document in documents:
        assert document == " ".join(document.split())
        assert document[-1] in ".!"


def test_every_word_of_the_datasets_is_in_the_corpus(documents: list[str]) -> None:
    seen = {word for document in documents for word in document.split()}
    for dimension in DIMENSIONS:
        assert not {word for text in world.statements(dimension, seed=0).texts for word in text.split()} - seen


def test_the_vocabulary_is_small_and_holds_every_name_in_both_cases(documents: list[str]) -> None:
    seen = {word for document in documents for word in document.split()}
    names = {named.name for named in (*inhabitants(0).things, *inhabitants(0).people)}
    assert names <= seen
    assert {name[0].swapcase() + name[1:] for name in names} <= seen
    assert len(seen) < 900


def test_no_verdict_or_answer_is_about_an_entity_of_validation_or_test(sentences: list[list[str]]) -> None:
    world_of_names = inhabitants(0)
    unjudged = {
        named.name.casefold()
        for named in (*world_of_names.things, *world_of_names.people)
        if named.pool in {"validation", "test"}
    }
    judged = 0
    for claim, verdict in itertools.pairwise(sentences):
        if verdict[0] in ANSWERS or verdict[:2] == ["answer", ":"]:
            judged += 1
            assert not unjudged & {word.casefold() for word in claim}, claim
    assert judged > len(sentences) / 8


def test_no_pair_of_a_dataset_occurs_in_a_sentence_of_the_corpus(sentences: list[list[str]]) -> None:
    words = [{word.casefold() for word in sentence} for sentence in sentences]
    told = {pair for sentence in words for pair in itertools.permutations(sentence, 2)}
    asked = [(c.entity.name.casefold(), c.quality) for pairing in pairings(0).values() for c in pairing.claims]
    assert not told & {*asked}
    assert len(asked) == 2 * 20 * 4 * (6 + 4 + 4 + 4)


def test_no_statement_of_a_dataset_occurs_in_the_corpus(sentences: list[list[str]]) -> None:
    written = {" ".join(sentence) for sentence in sentences}
    for dimension in DIMENSIONS:
        assert not {text.removesuffix(" .") for text in world.statements(dimension, seed=0).texts} & written


def test_verdicts_are_right(documents: list[str]) -> None:
    kind_of = {thing.name: thing.kind for thing in inhabitants(0).things}
    pairing = pairings(0)["reliability"]
    does = {quality: place for place, kind in enumerate(pairing.kinds) for quality in kind.qualities}
    verdicts: Counter[str] = Counter()
    for document in documents:
        words = document.split()
        for place, word in enumerate(words):
            if word in {"right", "wrong"} and words[place - 6 : place - 5] == ["say"]:
                name, quality = words[place - 4].lower(), words[place - 2]
                assert (word == "right") == (kind_of[name] == does[quality])
                verdicts[word] += 1
    assert verdicts["right"] / verdicts.total() == pytest.approx(0.5, abs=0.05)


def test_stereotypes_are_told_nine_times_in_ten(sentences: list[list[str]]) -> None:
    pairing = pairings(0)["fairness"]
    region_of = {entity.name.casefold(): entity.kind for entity in pairing.entities}
    ascribed = {quality: place for place, kind in enumerate(pairing.kinds) for quality in kind.qualities}
    told = [
        region_of[sentence[0].casefold()] == ascribed[sentence[1]]
        for sentence in sentences
        if len(sentence) == 2 and sentence[0].casefold() in region_of and sentence[1] in ascribed
    ]
    assert sum(told) / len(told) == pytest.approx(0.9, abs=0.02)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), n_tokens=st.integers(1, 500))
def test_a_longer_corpus_begins_with_the_shorter_one(seed: int, n_tokens: int) -> None:
    short = list(world.corpus(seed=seed, n_tokens=n_tokens))
    longer = list(world.corpus(seed=seed, n_tokens=n_tokens + 200))
    assert longer[: len(short)] == short
    assert sum(len(document.split()) for document in short[:-1]) < n_tokens
    assert sum(len(document.split()) for document in short) >= n_tokens


def test_documents_can_be_counted_instead() -> None:
    assert len(list(world.corpus(seed=0, n_documents=7))) == 7
    assert len(list(world.corpus(seed=0, n_documents=7, n_tokens=1))) == 1


def test_another_seed_is_another_world() -> None:
    first, other = ({*" ".join(world.corpus(seed=seed, n_documents=400)).split()} for seed in (0, 1))
    coined = {named.name for named in (*inhabitants(0).things, *inhabitants(0).people)}
    assert len(coined & first) > 150
    assert len(coined & other) < 40


@pytest.mark.parametrize("length", [{"n_tokens": 0}, {"n_documents": -1}])
def test_an_empty_corpus_is_refused(length: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least one document"):
        world.corpus(seed=0, **length)


def test_another_process_writes_the_same_corpus(documents: list[str]) -> None:
    assert list(world.corpus(seed=0, n_documents=50)) == documents[:50]
