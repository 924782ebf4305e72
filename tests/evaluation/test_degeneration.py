"""Repetition and silence, counted."""

import math
import zlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.errors import AlignmentError
from trustrace.evaluation.degeneration import compression_ratio, degeneration, distinct, longest_run, repeated
from trustrace.models.generation import Response

TOKENS = st.lists(st.integers(0, 3), max_size=30)


def response(tokens, text="some text"):
    return Response(text=text, tokens=tuple(tokens), ending="length")


@given(tokens=TOKENS, n=st.integers(1, 4))
def test_repeated_n_grams_are_those_beyond_the_first_of_a_kind(tokens, n):
    grams = Counter(zip(*(tokens[i:] for i in range(n)), strict=False))
    if not grams:
        assert math.isnan(distinct(tokens, n))
        assert math.isnan(repeated(tokens, n))
        return
    again = sum(count - 1 for count in grams.values())
    assert repeated(tokens, n) == pytest.approx(again / grams.total())
    assert distinct(tokens, n) + repeated(tokens, n) == pytest.approx(1)
    assert 0 < distinct(tokens, n) <= 1


@given(tokens=TOKENS)
def test_the_longest_run_is_the_longest_text_of_one_sign(tokens):
    text = "".join(map(str, tokens))
    assert longest_run(tokens) == max((k for k in range(31) for sign in "0123" if sign * k in text), default=0)


def test_a_loop_compresses_and_prose_does_not():
    prose = (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness. "
    )
    assert compression_ratio(prose * 20) > 10
    assert compression_ratio("a few words") < 1
    assert compression_ratio("é" * 50) == 100 / len(zlib.compress(("é" * 50).encode(), 9))
    assert math.isnan(compression_ratio(""))


def test_a_page_of_real_prose_compresses_about_twice(data_dir):
    page = (data_dir / "corpora/litbank/158_emma.txt").read_text(encoding="utf-8")[5000:7000]
    assert 1.7 < compression_ratio(page) < 2.4


def test_every_response_is_graded_and_what_has_no_value_is_counted():
    responses = [response([1, 2, 3, 4, 5]), response([7] * 12, "no no no"), response([], " \n"), response([1], "a")]
    graded = {each.quantity: each for each in degeneration(responses, groups=("a", "a", "b", "c"))}
    assert list(graded) == ["distinct_1", "distinct_2", "repeated_4", "longest_run", "compression_ratio"]
    assert graded["repeated_4"].values[:2, 0] == pytest.approx([0, 8 / 9])
    assert math.isnan(graded["repeated_4"].values[2, 0])
    assert graded["repeated_4"].note == "2 of 4 responses too short"
    assert list(graded["longest_run"].values[:, 0]) == [1, 12, 0, 1]
    assert {each.groups for each in graded.values()} == {("a", "a", "b", "c")}
    assert {name for name, each in graded.items() if each.better == "lower"} == {"repeated_4", "longest_run"}


def test_a_response_without_a_group_is_refused():
    with pytest.raises(AlignmentError, match="1 responses but 0 groups"):
        degeneration([response([1])], groups=())
