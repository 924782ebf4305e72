"""Groups: what links rows, and how far links reach."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from trustrace.datasets.grouping import RUN_OF_WORDS, connected, normalise, runs

KEYS = st.lists(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=3), min_size=1, max_size=12)


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


def test_case_width_and_white_space_are_no_difference():
    assert normalise("Ｔhe\u00a0 SAME\r\nline ") == normalise("the same line")


def test_punctuation_and_accents_are_a_difference():
    assert len({normalise(text) for text in ("naïve", "naive", "naive.", "na ive")}) == 4


def test_texts_shorter_than_a_run_are_their_own_run():
    assert runs("Two words!") == ("two words",)
    assert runs("...") == ("...",)


@given(st.integers(1, 30), st.integers(1, 10))
def test_there_are_as_many_runs_as_places_to_start_one(n, words):
    assert len(runs(" ".join(f"w{i}" for i in range(n)), words=words)) == max(n - words + 1, 1)


@given(KEYS)
def test_connected_groups_are_the_components_of_the_graph_of_shared_keys(keys):
    names = sorted({key for row in keys for key in row})
    edges = [(i, len(keys) + names.index(key)) for i, row in enumerate(keys) for key in row]
    size = len(keys) + len(names)
    graph = coo_matrix((np.ones(len(edges)), tuple(zip(*edges, strict=True))), shape=(size, size))
    components = connected_components(graph, directed=False)[1][: len(keys)]
    groups = connected(keys)
    for i in range(len(keys)):
        for j in range(len(keys)):
            assert (groups[i] == groups[j]) == (components[i] == components[j])


@given(KEYS, st.randoms(use_true_random=False))
def test_a_groups_name_does_not_depend_on_the_order_of_rows(keys, random):
    order = list(range(len(keys)))
    random.shuffle(order)
    groups = connected(keys)
    assert connected([keys[i] for i in order]) == tuple(groups[i] for i in order)


@pytest.mark.parametrize(("shared", "together"), [(RUN_OF_WORDS, True), (RUN_OF_WORDS - 1, False)])
def test_a_copy_with_a_changed_ending_is_caught_from_eight_words_on(shared, together):
    opening = " ".join(f"w{i}" for i in range(shared))
    left, right = connected([runs(f"{opening} but first"), runs(f"{opening} and then second")])
    assert (left == right) is together
