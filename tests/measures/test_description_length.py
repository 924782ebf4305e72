import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from tests.measures.examples import make_features
from trustrace.measures.description_length import code_lengths, mixture_bits, portions
from trustrace.measures.folds import Fold
from trustrace.measures.probing import fold_spaces

GRID = (1e-3, 1e-1, 1e1)


def code(x, labels, order, features="scaled", grid=GRID):
    everything = Fold(train=np.ones(len(labels), dtype=bool), test=np.zeros(len(labels), dtype=bool))
    spaces = fold_spaces(x, [everything], features=features)
    return code_lengths(x, spaces, torch.from_numpy(labels).double(), order, regularisers=grid, features=features)


def order_of(n, n_groups, seed=0):
    groups = [f"g{row % n_groups}" for row in range(n)]
    return groups, portions(groups, rows=np.ones(n, dtype=bool), rng=np.random.default_rng(seed))


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 120), st.integers(0, 50))
def test_portions_are_whole_groups_that_cover_every_row_once_in_growing_parts(n_groups, seed):
    groups, order = order_of(240, n_groups, seed)
    assert (np.sum(order.sent, axis=0) == 1).all()
    assert not order.seen[0].any()
    for step in range(1, len(order.sent)):
        assert (order.seen[step] == np.any(order.sent[:step], axis=0)).all()
    for sent in order.sent:
        inside = {group for group, chosen in zip(groups, sent, strict=True) if chosen}
        assert all(sent[row] for row, group in enumerate(groups) if group in inside)


def test_only_the_given_rows_are_sent():
    rows = np.arange(60) % 3 > 0
    order = portions([str(row) for row in range(60)], rows=rows, rng=np.random.default_rng(0))
    assert (np.any(order.sent, axis=0) == rows).all()


@pytest.mark.parametrize("features", ["scaled", "zscore"])
def test_each_label_costs_what_scikit_learn_trained_on_earlier_portions_says(features):
    x, labels = make_features(n=160, d=12, signal=2.0)
    _, order = order_of(160, 80)
    bits = code(x, labels, order, features=features)
    x = x.double().numpy()
    checked = 0
    for seen, sent in zip(order.seen, order.sent, strict=True):
        if len(np.unique(labels[seen])) < 2:
            assert (bits[sent] == 1).all()
            continue
        spread = x[seen].std(axis=0)
        scaled = (x - x[seen].mean(axis=0)) / (spread if features == "zscore" else np.sqrt((spread**2).mean()))
        for place, c in enumerate(GRID):
            model = LogisticRegression(C=c, tol=1e-10, max_iter=100_000).fit(scaled[seen], labels[seen])
            expected = -model.predict_log_proba(scaled[sent])[np.arange(sent.sum()), labels[sent]] / np.log(2)
            assert bits[sent, place].mean() == pytest.approx(expected.mean(), rel=2e-2)
            checked += 1
    assert checked >= 12


def test_the_mixture_costs_at_most_the_grid_more_than_its_best_member():
    bits = np.random.default_rng(0).exponential(size=(50, 3)) * [1.0, 2.0, 0.5]
    total = mixture_bits(bits, np.ones((50, 1)))[0] * 50
    best = bits.sum(axis=0).min()
    assert best <= total <= best + np.log2(3)


def test_a_single_regulariser_is_its_own_mixture():
    bits = np.random.default_rng(0).exponential(size=(20, 1))
    weights = np.random.default_rng(1).integers(0, 3, (20, 4)).astype(float)
    expected = (bits[:, 0] @ weights) / weights.sum(axis=0)
    np.testing.assert_allclose(mixture_bits(bits, weights), expected)


def test_a_readable_concept_is_short_and_noise_costs_about_a_bit():
    x, labels = make_features(n=600, d=10, signal=20.0)
    _, order = order_of(600, 300)
    noise = np.random.default_rng(3).permutation(labels)
    concept, null = (
        mixture_bits(code(x, y, order, grid=(1e-4, 1e-2, 1.0, 100.0)), np.ones((600, 1)))[0] for y in (labels, noise)
    )
    assert concept < 0.5
    assert 0.97 < null < 1.1
