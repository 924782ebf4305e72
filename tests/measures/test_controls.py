import numpy as np
import torch

from tests.measures.examples import make_features, make_statements
from trustrace.measures.controls import control_log_odds, control_task, last_word
from trustrace.measures.folds import evaluation_pairs
from trustrace.measures.probing import fold_spaces


def task_of(statements, draws=3):
    pairs = evaluation_pairs(statements, folds=5, seed=0)
    rng = np.random.default_rng(0)
    return pairs, control_task(statements.texts, statements.groups, statements.labels, pairs, draws=draws, rng=rng)


def test_the_last_word_is_bare_and_in_lower_case():
    assert [last_word(text) for text in ('He said "Stop!"', "It's DON'T.", "well-known ...", "?!")] == [
        "stop",
        "don't",
        "well-known",
        "",
    ]


def test_every_word_type_has_one_label_and_the_share_of_ones_is_kept():
    statements = make_statements(n=200, n_groups=50, labels=[int(row % 4 == 0) for row in range(200)])
    _, task = task_of(statements)
    words = np.array([last_word(text) for text in statements.texts])
    for word in set(words):
        assert (task.labels[words == word] == task.labels[words == word][0]).all()
    firsts = [np.flatnonzero(words == word)[0] for word in sorted(set(words))]
    assert task.labels[firsts].sum(axis=0).tolist() == [round(0.25 * 17)] * 3
    assert task.note == ""
    assert len({column.tobytes() for column in task.labels.T}) == 3


def test_groups_stand_in_where_nearly_all_rows_end_alike():
    statements = make_statements(n=200, n_groups=50, texts=[f"fact {row} is right ." for row in range(200)])
    _, task = task_of(statements)
    assert "control labels by group" in task.note
    groups = np.array(statements.groups)
    assert all(len(set(task.labels[groups == group, 0])) == 1 for group in set(groups))


def test_a_probe_that_reads_the_last_word_memorises_the_control_task():
    statements = make_statements(n=300, n_groups=60)
    pairs, task = task_of(statements)
    words = np.array([int(last_word(text).removeprefix("word")) for text in statements.texts])
    one_hot = torch.eye(17)[torch.from_numpy(words)]
    blind, _ = make_features(n=300, d=17)
    for features, low, high in ((one_hot, 0.99, 1.0), (blind, 0.3, 0.7)):
        spaces = fold_spaces(features, pairs, features="unit_rms")
        log_odds = control_log_odds(spaces, task, pairs, regularisers=[1.0] * 5)
        assert low <= np.mean((log_odds > 0) == (task.labels == 1)) <= high


def test_labellings_that_leave_a_training_set_one_class_are_left_out():
    statements = make_statements(n=60, n_groups=6, labels=[int(row % 6 < 3) for row in range(60)], texts=["same"] * 60)
    pairs = evaluation_pairs(statements, folds=3, seed=0)
    task = control_task(statements.texts, ["one"] * 60, statements.labels, pairs, draws=4, rng=np.random.default_rng(0))
    assert task.labels.shape == (60, 0)
