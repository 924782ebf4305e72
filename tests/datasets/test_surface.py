import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from trustrace.datasets.surface import SURFACE_COUNTS, best_threshold, rank_auroc, surface_counts

labelled_scores = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 1)), min_size=1, max_size=40)


def columns_of(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.array(rows, dtype=np.int64).T
    return scores, labels


def test_the_five_counts_of_a_sentence_are_those_of_a_hand():
    counts = surface_counts(["Ab c, D3!", "  ", "Éa ¿q? — 12"])
    assert SURFACE_COUNTS == ("characters", "words", "capitals", "digits", "punctuation marks")
    assert counts.tolist() == [[9, 3, 2, 1, 2], [2, 0, 0, 0, 0], [11, 4, 1, 2, 3]]


def test_no_texts_have_no_counts_but_keep_the_columns():
    assert surface_counts([]).shape == (0, 5)


@given(labelled_scores)
def test_the_rank_auroc_is_that_of_scikit_learn(rows):
    scores, labels = columns_of(rows)
    if len(set(labels.tolist())) < 2:
        assert np.isnan(rank_auroc(scores, labels))
    else:
        assert rank_auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@given(labelled_scores)
def test_the_auroc_of_swapped_labels_is_the_complement(rows):
    scores, labels = columns_of(rows)
    assert rank_auroc(scores, 1 - labels) == pytest.approx(1 - rank_auroc(scores, labels), nan_ok=True)


@given(labelled_scores)
def test_no_rule_of_one_threshold_beats_the_best_threshold(rows):
    scores, labels = columns_of(rows)
    best = best_threshold(scores, labels)
    tried = [
        int((np.where(scores >= cut, above, 1 - above) == labels).sum()) for cut in range(-6, 8) for above in (0, 1)
    ]
    assert best.correct == max(tried)
    assert int((np.where(scores >= best.at_least, best.above, 1 - best.above) == labels).sum()) == best.correct
