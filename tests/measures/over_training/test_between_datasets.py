from dataclasses import replace

import numpy as np
import pytest

from tests.measures.over_training.planted import QUICK, activations, coins, design_of, statements_of, views_of
from trustrace.core.errors import AlignmentError
from trustrace.core.statements import LabelMeaning
from trustrace.measures.over_training.between_datasets import Part, lesson, linked, transfer_between
from trustrace.measures.over_training.transfer import fit_views, log_odds_of

CONFIG = QUICK.model_copy(update={"features": "scaled"})


def part(name, labels, *, turn=0.0, seed=0, strength=1.5, desired=1, texts=None, groups=None, scheme="folds"):
    statements = statements_of(labels, scheme=scheme)
    statements = replace(
        statements,
        name=name,
        texts=tuple(texts or (f"{name} says {row}" for row in range(len(labels)))),
        groups=tuple(groups or (f"{name} {group}" for group in statements.groups)),
        meaning=LabelMeaning(one="yes", zero="no", desired=desired),
    )
    (values,) = activations(labels, np.array([strength]), turn=np.array([turn]), seed=seed)
    (view,) = views_of([values])
    return Part(statements=statements, design=design_of(statements, config=CONFIG), view=view)


def told(*parts):
    return {
        (c.source, c.target, c.estimate.quantity.removeprefix("transfer "), c.estimate.method): c.estimate
        for c in transfer_between(parts, config=CONFIG, draws=200)
    }


def test_a_shared_direction_is_read_and_another_one_is_not():
    one, same = part("one", coins(300)), part("same", coins(240, 1), seed=1)
    other = part("other", coins(240, 2), turn=np.pi / 2, seed=2)
    got = told(one, same, other)
    assert got[("one", "same", "accuracy", "logistic own")].value > 0.85
    assert got[("one", "other", "auroc", "mass_mean own")].value == pytest.approx(0.5, abs=0.15)
    assert got[("one", "one", "accuracy", "logistic own")].n == 300
    assert got[("one", "same", "accuracy", "logistic own")].n_groups == 120


def test_the_diagonal_is_the_ordinary_measurement():
    one, other = part("one", coins(120)), part("two", coins(120, 1), seed=1)
    got = told(one, other)[("one", "one", "accuracy", "logistic source")]
    probes = fit_views([one.view], one.design, config=CONFIG)["logistic"]
    (row,) = log_odds_of(probes, one.view, one.design, standardisation="source", config=CONFIG)
    assert got.value == pytest.approx(np.mean((row > 0) == one.design.labels))


def test_labels_are_turned_where_the_desired_ones_differ():
    one = part("one", coins(200))
    turned = part("turned", coins(200, 1), seed=1, turn=np.pi, desired=0)
    cell = told(one, turned)[("one", "turned", "sign", "logistic own")]
    assert cell.value == 1
    assert "labels turned" in cell.note


def test_rows_that_share_a_group_or_a_text_with_tested_rows_leave_the_training_rows_with_their_group():
    words = "one two three four five six seven eight"
    texts = [f"plain {row}" for row in range(120)]
    texts[6] = f"before {words} after"
    one = part("one", coins(120), texts=texts)
    others = [f"other {row}" for row in range(120)]
    others[3] = f"{words} and an end"
    groups = [f"other {row % 60}" for row in range(120)]
    groups[10] = "one group_20"
    other = part("other", coins(120, 1), texts=others, groups=groups)
    apart = linked(one.statements, other.statements, tested=other.design.tested)
    left = np.isin(np.asarray(one.statements.groups), ["one group_6", "one group_20"])
    assert (apart == left).all()
    learned = lesson(one, other)
    assert (learned.fold.train == ~left).all()
    assert not any(fold.train[left].any() or fold.test[left].any() for fold in learned.fold.inner)
    assert "4 rows left out" in told(one, other)[("one", "other", "auroc", "logistic own")].note


def test_a_copy_of_a_dataset_leaves_nothing_to_train_on_and_says_so():
    labels = coins(60)
    texts = [f"the same text {row}" for row in range(60)]
    one, copy = part("one", labels, texts=texts), part("copy", labels, texts=texts)
    got = told(one, copy)[("one", "copy", "accuracy", "logistic own")]
    assert np.isnan(got.value)
    assert "too few rows" in got.note


def test_where_the_split_carries_meaning_development_rows_train_and_test_rows_are_scored():
    one = part("one", coins(200), scheme="held_out")
    other = part("other", coins(200, 1), seed=1, scheme="held_out")
    tested = np.array([split == "test" for split in one.statements.splits])
    assert (lesson(one, other).fold.train == ~tested).all()
    assert told(one, other)[("one", "other", "accuracy", "logistic own")].n == tested.sum()


def test_two_checkpoints_are_refused():
    one, other = part("one", coins(60)), part("other", coins(60))
    later = replace(other, view=replace(other.view, site="block_1"))
    with pytest.raises(AlignmentError, match="own checkpoint and site"):
        list(transfer_between([one, later], config=CONFIG, draws=100))
