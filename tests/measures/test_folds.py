import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measures.examples import make_statements
from trustrace.core.errors import MeasurementError
from trustrace.measures.folds import evaluation_pairs, file_order_pair, grouped_folds

LABELLED_GROUPS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1)), min_size=40, max_size=200).filter(
    lambda rows: len({group for group, _ in rows}) >= 5
)


@settings(max_examples=60, deadline=None)
@given(LABELLED_GROUPS, st.integers(0, 3))
def test_a_group_never_straddles_two_folds_and_no_fold_is_empty(rows, seed):
    groups = [str(group) for group, _ in rows]
    fold_of = grouped_folds(groups, [label for _, label in rows], folds=5, rng=np.random.default_rng(seed))
    assert {len({int(fold_of[i]) for i, other in enumerate(groups) if other == group}) for group in groups} == {1}
    assert set(fold_of.tolist()) == {0, 1, 2, 3, 4}


def test_folds_hold_equal_shares_of_both_labels():
    rng = np.random.default_rng(0)
    groups, labels = rng.integers(0, 300, 2000).astype(str).tolist(), (rng.random(2000) < 0.3).astype(int)
    fold_of = grouped_folds(groups, labels.tolist(), folds=5, rng=rng)
    for label, count in ((0, (labels == 0).sum()), (1, (labels == 1).sum())):
        shares = [(labels[fold_of == fold] == label).sum() / count for fold in range(5)]
        assert max(shares) - min(shares) < 0.01


def test_every_row_is_tested_once_and_inner_folds_stay_inside_the_training_rows():
    pairs = evaluation_pairs(make_statements(n=120, n_groups=30), folds=4, seed=1)
    assert (np.sum([pair.test for pair in pairs], axis=0) == 1).all()
    for pair in pairs:
        assert not (pair.train & pair.test).any()
        assert (np.sum([inner.test for inner in pair.inner], axis=0) == pair.train).all()
        for inner in pair.inner:
            assert not (inner.train & (inner.test | pair.test)).any()


def test_a_model_that_leaves_out_two_folds_serves_both():
    pairs = evaluation_pairs(make_statements(n=120, n_groups=30), folds=5, seed=0)
    assert len({inner.train.tobytes() for pair in pairs for inner in pair.inner}) == 5 * 4 / 2


def test_a_held_out_split_is_one_pair_whose_inner_folds_are_development_rows():
    statements = make_statements(n=120, n_groups=30, scheme="held_out")
    (pair,) = evaluation_pairs(statements, folds=5, seed=0)
    assert pair.test.tolist() == [split == "test" for split in statements.splits]
    assert (np.sum([inner.test for inner in pair.inner], axis=0) == ~pair.test).all()
    assert not any((inner.train & pair.test).any() for inner in pair.inner)


def test_folds_depend_on_the_seed_and_on_nothing_else():
    statements = make_statements(n=120, n_groups=30)
    first, again, other = (evaluation_pairs(statements, folds=5, seed=seed) for seed in (0, 0, 1))
    assert all((a.test == b.test).all() for a, b in zip(first, again, strict=True))
    assert any((a.test != b.test).any() for a, b in zip(first, other, strict=True))


def test_the_published_split_is_the_first_four_fifths_of_file_order():
    pair = file_order_pair(1561)
    assert pair.train.sum() == 1248
    assert pair.train[:1248].all()
    assert (pair.test == ~pair.train).all()


def test_fewer_groups_than_folds_is_an_error_that_says_so():
    with pytest.raises(MeasurementError, match="3 groups cannot fill 5 folds"):
        evaluation_pairs(make_statements(n=60, n_groups=3), folds=5, seed=0)


def test_a_class_that_lives_in_one_group_is_an_error():
    statements = make_statements(n=60, n_groups=20, labels=[int(row % 20 == 0) for row in range(60)])
    with pytest.raises(MeasurementError, match="one class"):
        evaluation_pairs(statements, folds=5, seed=0)


def test_a_held_out_split_without_test_rows_is_an_error():
    with pytest.raises(MeasurementError, match="0 of 60 rows are marked 'test'"):
        evaluation_pairs(make_statements(n=60, n_groups=20, scheme="held_out", splits=["train"] * 60), folds=5, seed=0)


def test_a_group_on_both_sides_of_a_given_split_is_an_error():
    statements = make_statements(n=60, n_groups=20, scheme="held_out", splits=["train", "test"] * 30)
    straddled = make_statements(n=60, n_groups=7, scheme="held_out", splits=["train", "test"] * 30)
    evaluation_pairs(statements, folds=5, seed=0)
    with pytest.raises(MeasurementError, match="7 groups have rows on both sides"):
        evaluation_pairs(straddled, folds=5, seed=0)
