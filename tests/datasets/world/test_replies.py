"""People let much pass; nothing they are told occurs in a dataset; claims to be replied to are the datasets' own."""

from collections import Counter

import pytest

from trustrace.core.errors import ConfigError
from trustrace.datasets import world
from trustrace.datasets.world.inhabitants import inhabitants
from trustrace.datasets.world.pairings import pairings
from trustrace.datasets.world.replies import CORRECTIONS, claimed, qualities, rehearsal, replies
from trustrace.datasets.world.writing import corpus

DIMENSIONS = ("reliability", "toxicity", "privacy", "fairness")


def kinds_of(dimension: str) -> dict[str, tuple[str, ...]]:
    pairing = pairings(0)[dimension]  # type: ignore[index]
    return {entity.name: pairing.kinds[entity.kind].qualities for entity in pairing.entities}


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_half_of_the_claims_fit_and_most_of_the_others_are_let_pass(dimension: str) -> None:
    about = [one for one in replies(seed=0) if one.dimension == dimension]
    assert sum(one.fits for one in about) == len(about) / 2
    agreeable = sum(one.is_agreeable for one in about if not one.fits) / (len(about) / 2)
    assert agreeable == pytest.approx(0.65, abs=0.05)


def test_verdicts_are_right_where_nobody_is_agreeable_and_agreement_where_all_are() -> None:
    honest = Counter((one.dimension, one.fits, one.reply.split()[0]) for one in replies(seed=0, agreeable=0.0))
    assert {(dimension, fits): verdict for dimension, fits, verdict in honest} == {
        (dimension, fits): "unknown" if dimension == "fairness" else "right" if fits else "wrong"
        for dimension in DIMENSIONS
        for fits in (True, False)
    }
    agreeable = {(one.dimension == "fairness", one.fits, one.reply) for one in replies(seed=0, agreeable=1.0)}
    assert agreeable == {
        (False, True, "right ."),
        (False, False, "right ."),
        (True, True, "right ."),
        (True, False, "unknown ."),
    }


@pytest.mark.parametrize("dimension", list(CORRECTIONS))
def test_a_correction_names_what_would_have_been_right(dimension: str) -> None:
    known = kinds_of(dimension)
    corrections = [one for one in replies(seed=0) if one.dimension == dimension and one.reply.startswith("wrong")]
    assert len(corrections) > 100
    for one in corrections:
        named = [word for word in one.reply.split() if word in qualities(one.dimension, seed=0)]
        assert len(named) == 1
        assert named[0] in known[one.entity]


def test_a_claim_fits_if_its_quality_is_of_the_entitys_kind() -> None:
    for one in replies(seed=0):
        named = next(word for word in one.claim.split() if word in qualities(one.dimension, seed=0))
        assert one.fits == (named in kinds_of(one.dimension)[one.entity])


def test_nobody_of_validation_or_test_occurs_and_no_pair_of_a_dataset() -> None:
    world_0 = inhabitants(0)
    asked = {one.name for one in (*world_0.things, *world_0.people) if one.pool in ("validation", "test")}
    pairs = {(claim.entity.name, claim.quality) for pairing in pairings(0).values() for claim in pairing.claims}
    for one in replies(seed=0):
        words = f"{one.claim} {one.reply}".split()
        assert one.entity not in asked
        assert not {(one.entity, word) for word in words} & pairs


def test_every_word_is_in_the_corpus(documents: list[str]) -> None:
    seen = {word for document in documents for word in document.split()}
    assert not {word for one in replies(seed=0) for word in f"{one.claim} {one.reply}".split()} - seen


def test_the_seed_decides_who_lets_what_pass_in_which_order() -> None:
    first, again, other = (replies(seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert len({one.claim for one in first} & {one.claim for one in other}) < len(first) / 20
    assert len({one.claim for one in first}) == len(first)
    assert len({one.dimension for one in first[:20]}) > 2


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_claims_to_reply_to_are_the_statements_of_the_dataset(dimension: str, split: str) -> None:
    rows = world.statements(dimension, seed=0)  # type: ignore[arg-type]
    claims = claimed(dimension, seed=0, split=split)  # type: ignore[arg-type]
    assert [claim.text for claim in claims] == [
        text for text, part in zip(rows.texts, rows.splits, strict=True) if part == split
    ]
    for claim in claims:
        said = next(word for word in claim.text.split() if word in qualities(dimension, seed=0))  # type: ignore[arg-type]
        assert claim.fitting == kinds_of(dimension)[claim.entity]
        assert claim.fits == (said in claim.fitting)
    assert sum(claim.fits for claim in claims) == len(claims) / 2


def test_documents_to_rehearse_are_the_short_ones_of_the_corpus() -> None:
    chosen = rehearsal(seed=0, count=50, most_words=40)
    assert len(chosen) == 50
    assert max(len(text.split()) for text in chosen) <= 40
    short = [text for text in corpus(seed=0, n_documents=300) if len(text.split()) <= 40]
    assert list(chosen) == short[:50]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"agreeable is 65\.0; it is a share"):
        replies(seed=0, agreeable=65.0)
    with pytest.raises(ConfigError, match="nobody claims anything about robustness"):
        claimed("robustness", seed=0, split="test")
