"""Case typos: as many as asked for, seeded by sentence, and nothing but case."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.errors import ConfigError
from trustrace.datasets.grouping import normalise
from trustrace.datasets.perturbation import flip_case

LETTERS = "abcdefghij" * 2_000


@given(st.text())
def test_nothing_but_case_changes(text):
    flipped = flip_case(text, rate=1.0, seed=0)
    assert len(flipped) == len(text)
    assert normalise(flipped) == normalise(text)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_at_rate_one_every_ascii_letter_flips(text):
    assert flip_case(text, rate=1.0, seed=0) == text.swapcase()


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.7])
def test_the_share_of_flipped_letters_is_the_rate_within_four_standard_errors(rate):
    share = np.mean([a != b for a, b in zip(LETTERS, flip_case(LETTERS, rate=rate, seed=3), strict=True)])
    assert share == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / len(LETTERS)))


def test_letters_flip_independently():
    flips = np.array([a != b for a, b in zip(LETTERS, flip_case(LETTERS, rate=0.2, seed=3), strict=True)], dtype=float)
    assert abs(np.corrcoef(flips[1:], flips[:-1])[0, 1]) < 4 / np.sqrt(len(flips))


def test_a_sentence_is_perturbed_alike_in_any_company():
    sentences = [f"sentence number {i} of a corpus" for i in range(50)]
    alone = {sentence: flip_case(sentence, rate=0.2, seed=1) for sentence in sentences}
    assert all(flip_case(sentence, rate=0.2, seed=1) == alone[sentence] for sentence in reversed(sentences))


def test_another_seed_flips_other_letters():
    assert flip_case(LETTERS, rate=0.2, seed=1) != flip_case(LETTERS, rate=0.2, seed=2)


def test_a_higher_rate_flips_what_a_lower_one_flips_and_more():
    low, high = (flip_case(LETTERS, rate=rate, seed=1) for rate in (0.05, 0.2))
    flipped = [{i for i, (a, b) in enumerate(zip(LETTERS, text, strict=True)) if a != b} for text in (low, high)]
    assert flipped[0] < flipped[1]


@pytest.mark.parametrize("character", ["ß", "ŉ", "ı", "İ", "ς", "ſ", "\u00b5", "\u212a", "7", "!", "中", "\n"])
def test_characters_without_one_other_case_stay(character):
    assert flip_case(character * 50, rate=1.0, seed=0) == character * 50


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, float("nan")])
def test_a_rate_outside_its_range_is_refused(rate):
    with pytest.raises(ConfigError, match="rate"):
        flip_case("text", rate=rate, seed=0)
