"""Splits: by group, in their shares, stratified, and a function of the rows as a set."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.errors import AlignmentError, DataError
from trustrace.datasets.splits import assign_splits

ROWS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1)), min_size=3, max_size=120).filter(
    lambda rows: len({group for group, _ in rows}) >= 3
)


def _split(rows, seed=0):
    return assign_splits(groups=[f"g{group}" for group, _ in rows], labels=[label for _, label in rows], seed=seed)


@given(ROWS, st.integers(0, 5))
def test_no_group_straddles_a_split(rows, seed):
    places = {}
    for (group, _), split in zip(rows, _split(rows, seed), strict=True):
        assert places.setdefault(group, split) == split


@given(ROWS, st.integers(0, 5))
def test_every_part_holds_rows(rows, seed):
    assert set(_split(rows, seed)) == {"train", "validation", "test"}


@given(ROWS)
def test_the_test_half_misses_half_of_the_rows_by_less_than_the_largest_group(rows):
    largest = max(Counter(group for group, _ in rows).values())
    assert abs(_split(rows).count("test") - len(rows) / 2) <= largest


@given(ROWS, st.randoms(use_true_random=False))
def test_a_row_keeps_its_split_when_rows_are_reordered(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    splits = _split(rows)
    assert _split([rows[i] for i in order]) == tuple(splits[i] for i in order)


def test_single_rows_are_split_exactly_and_with_equal_label_shares():
    rows = [(i, int(i % 4 == 0)) for i in range(400)]
    splits = _split(rows)
    count = Counter((split, label) for (_, label), split in zip(rows, splits, strict=True))
    assert count == {
        ("train", 0): 120, ("train", 1): 40, ("validation", 0): 30, ("validation", 1): 10, ("test", 0): 150, ("test", 1): 50,
    }  # fmt: skip


def test_groups_of_one_label_each_are_stratified_too():
    rows = [(i // 5, int(i // 5 % 3 == 0)) for i in range(600)]
    splits = _split(rows)
    for part in ("train", "validation", "test"):
        labels = [label for (_, label), split in zip(rows, splits, strict=True) if split == part]
        assert sum(labels) / len(labels) == pytest.approx(1 / 3, abs=0.04)


@pytest.mark.parametrize("seed", range(10))
def test_large_groups_are_placed_first_so_that_small_ones_can_make_up_for_them(seed):
    rows = [(0, i % 2) for i in range(40)] + [(i, i % 2) for i in range(1, 61)]
    assert _split(rows, seed).count("test") == 50


def test_one_huge_group_leaves_the_other_half_to_all_others():
    rows = [(0, i % 2) for i in range(90)] + [(i, i % 2) for i in range(1, 11)]
    splits = _split(rows)
    assert len({splits[0], *splits[:90]}) == 1
    assert set(splits) == {"train", "validation", "test"}


def test_another_seed_is_another_split_and_the_same_seed_the_same():
    rows = [(i, i % 2) for i in range(100)]
    assert _split(rows, 1) == _split(rows, 1) != _split(rows, 2)


def test_which_groups_are_tested_is_up_to_chance():
    rows = [(i, i % 2) for i in range(20)]
    tested = Counter(i for seed in range(200) for i, split in enumerate(_split(rows, seed)) if split == "test")
    assert min(tested.values()) > 60
    assert max(tested.values()) < 140


@pytest.mark.parametrize("n_groups", [1, 2])
def test_fewer_groups_than_parts_are_refused_with_the_way_out(n_groups):
    with pytest.raises(DataError, match=f"{n_groups} group.*groups of their own"):
        assign_splits(groups=[f"g{i % n_groups}" for i in range(20)], labels=[0, 1] * 10, seed=0)


def test_columns_of_different_length_are_refused():
    with pytest.raises(AlignmentError, match="3 groups but 2 labels"):
        assign_splits(groups=["a", "b", "c"], labels=[0, 1], seed=0)
