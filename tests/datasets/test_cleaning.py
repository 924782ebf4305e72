"""Cleaning: debris goes, words stay, and what is dropped is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.datasets.cleaning import as_sentence, distinct, mend
from trustrace.datasets.grouping import normalise


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        (" how to be a man_x000D_- how to", "how to be a man - how to"),
        (r"it is over\\n", "it is over"),
        (r"one\n- two\r- three", "one - two - three"),
        (r"a religion \\t\\t\\t", "a religion"),
        (r"we wouldn\\t even", r"we wouldn\\t even"),
        (r"it\\u2019s common", "it’s common"),
        (r"my \'pride\' and \\\"joy\\\"", "my 'pride' and \"joy\""),
        ("kept as it is: 50 % <b>", "kept as it is: 50 % <b>"),
    ],
)
def test_escapes_are_mended_and_words_stay(broken, mended):
    assert mend(broken) == mended


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("i have a friend in morocco", "i have a friend in morocco."),
        ("He is tall.", "He is tall."),
        ("Is he? ", "Is he?"),
        ('She said "no."', 'She said "no."'),
        ("so\nmuch,", "so much,."),
    ],
)
def test_a_sentence_ends_in_a_mark(text, sentence):
    assert as_sentence(text) == sentence


def test_repetitions_count_once_and_contradictions_not_at_all():
    texts = ["a", "b", "A", "c ", "C", "c", "d"]
    found = distinct(texts, [0, 1, 0, 1, 0, 1, 1])
    assert found.kept == (0, 1, 6)
    assert (found.duplicates, found.contradictions) == (1, 3)


@given(st.lists(st.tuples(st.sampled_from(["a", "A ", "b", "c", "d"]), st.integers(0, 1))))
def test_every_row_is_kept_or_accounted_for_and_no_text_is_kept_twice(rows):
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    found = distinct(texts, labels)
    assert len(found.kept) + found.duplicates + found.contradictions == len(rows)
    kept = [normalise(texts[row]) for row in found.kept]
    assert len(set(kept)) == len(kept)
    assert list(found.kept) == sorted(found.kept)
