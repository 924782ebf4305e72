"""The linear classifier: what it learns from, what it computes, what it is worth, how it is kept."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline, make_union

from tests.evaluation.toxicity.rows import statements
from trustrace.core.errors import DataError, IntegrityError, MeasurementError
from trustrace.core.statements import LabelMeaning
from trustrace.evaluation.toxicity.check import check
from trustrace.evaluation.toxicity.classifier import ToxicityClassifier
from trustrace.evaluation.toxicity.files import CHECK, check_text, read_classifier, write_classifier
from trustrace.evaluation.toxicity.linear import LinearClassifier, toxic_labels, train

ROWS = statements()
NEW = ("bakers are vermin", "sailors do fine work", "", "∂ 完全", "BAKERS ARE VERMIN")


@pytest.fixture(scope="module")
def classifier() -> LinearClassifier:
    return train(ROWS)


def development(rows):
    return rows.take([row for row, split in enumerate(rows.splits) if split != "test"])


def test_its_log_odds_are_those_of_scikit_learns_own_pipeline(classifier):
    rows = development(ROWS)
    pipeline = make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\w+", min_df=2, sublinear_tf=True),  # noqa: S106
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True),
        ),
        LogisticRegression(C=classifier.regulariser, solver="newton-cg", max_iter=1000),
    ).fit(rows.texts, toxic_labels(rows))
    theirs = classifier.slope * pipeline.decision_function(NEW) + classifier.intercept
    np.testing.assert_allclose(classifier.log_odds(NEW), theirs, atol=1e-5)
    np.testing.assert_allclose(classifier.probabilities(NEW), 1 / (1 + np.exp(-theirs)), atol=1e-6)


def test_toxic_is_the_label_that_is_not_desired():
    meant = replace(ROWS, meaning=LabelMeaning(one="toxic", zero="benign", desired=0))
    assert (toxic_labels(ROWS) == 1 - np.array(ROWS.labels)).all()
    assert (toxic_labels(meant) == np.array(ROWS.labels)).all()


def test_rude_words_are_toxic_and_kind_ones_are_not(classifier):
    rude, kind = classifier.probabilities(NEW)[:2]
    assert rude > 0.6 > 0.4 > kind


def test_it_learns_from_the_development_half_alone(classifier):
    other = replace(
        ROWS, labels=tuple(1 - y if s == "test" else y for y, s in zip(ROWS.labels, ROWS.splits, strict=True))
    )
    np.testing.assert_array_equal(train(other).weights, classifier.weights)
    assert train(other).slope == classifier.slope
    assert classifier.n == sum(split != "test" for split in ROWS.splits)


def test_it_separates_held_out_rows_and_shuffled_labels_teach_it_nothing(classifier):
    tested = ROWS.take([row for row, split in enumerate(ROWS.splits) if split == "test"])
    assert roc_auc_score(toxic_labels(tested), classifier.log_odds(tested.texts)) > 0.75
    shuffled = replace(ROWS, labels=tuple(np.random.default_rng(1).permutation(ROWS.labels).tolist()))
    assert roc_auc_score(toxic_labels(tested), train(shuffled).log_odds(tested.texts)) < 0.7


def test_its_probabilities_are_calibrated_by_rows_that_the_fit_had_not_seen():
    """With a hundredth of the regularisation it is far too sure of itself, and the slope takes that back."""
    sure = train(statements(noise=0.35), regularisers=(1000.0,))
    assert 0 < sure.slope < 0.5


def test_the_regulariser_suits_the_noise():
    assert train(statements(noise=0.45), regularisers=(0.01, 100.0)).regulariser == 0.01
    assert train(statements(noise=0.0), regularisers=(0.01, 100.0)).regulariser == 100.0


def test_rows_of_one_label_teach_nothing():
    with pytest.raises(MeasurementError, match="hold one label only"):
        train(replace(ROWS, labels=(1,) * len(ROWS)))


def test_no_texts_have_no_probabilities(classifier):
    assert classifier.probabilities([]).shape == (0,)


def test_a_text_that_repeats_eight_words_is_known(classifier):
    long = "one two three four five six seven eight nine"
    taught = train(replace(ROWS, texts=(f"zero {long}", *ROWS.texts[1:])))
    assert taught.seen([long, "one two three", ROWS.texts[0]]).tolist() == [True, False, False]
    assert classifier.seen(development(ROWS).texts).all()


def test_a_check_agrees_with_scikit_learn_and_knows_the_floor(classifier):
    found = {(one.quantity, one.method): one for one in check(classifier, ROWS, draws=50)}
    tested = ROWS.take([row for row, split in enumerate(ROWS.splits) if split == "test"])
    labels, log_odds = toxic_labels(tested), classifier.log_odds(tested.texts)
    accuracy, auroc = (found[name, classifier.name] for name in ("accuracy", "auroc"))
    assert accuracy.value == pytest.approx(((log_odds > 0) == labels).mean())
    assert auroc.value == pytest.approx(roc_auc_score(labels, log_odds))
    assert accuracy.lower < accuracy.value < accuracy.upper
    assert (accuracy.n, accuracy.n_groups) == (len(tested), len(set(tested.groups)))
    assert found["toxic_share", "people"].value == pytest.approx(labels.mean())
    floor = found["accuracy", "majority"]
    assert floor.role == "floor"
    assert floor.value == pytest.approx(max(labels.mean(), 1 - labels.mean()))
    assert {"log_loss", "ece"} <= {quantity for quantity, _ in found}


def test_rows_that_it_was_trained_on_are_not_checked(classifier):
    first = ROWS.splits.index("train")
    copied = replace(ROWS, texts=tuple(ROWS.texts[first] if row == 2 else text for row, text in enumerate(ROWS.texts)))
    assert copied.splits[2] == "test"
    accuracy = check(classifier, copied, draws=5)[0]
    assert accuracy.n == sum(split == "test" for split in ROWS.splits) - 1
    assert "1 test rows left out that it has seen" in accuracy.note
    with pytest.raises(MeasurementError, match="has seen all"):
        check(train(replace(ROWS, splits=("train",) * len(ROWS))), ROWS)


def test_it_is_kept_without_a_pickle_and_comes_back_as_it_was(classifier, tmp_path):
    folder = write_classifier(classifier, tmp_path / "deep" / "ours")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    again = read_classifier(folder)
    assert isinstance(again, ToxicityClassifier)
    np.testing.assert_array_equal(again.log_odds(ROWS.texts), classifier.log_odds(ROWS.texts))
    assert again.trained_on == classifier.trained_on
    assert again.name == "linear (toxicity/tests)"
    assert "not checked" in again.note
    write_classifier(classifier, folder)
    assert not [path for path in folder.parent.iterdir() if path != folder]


def test_its_note_says_what_a_check_found(classifier, tmp_path):
    folder = write_classifier(classifier, tmp_path / "ours")
    found = check(classifier, ROWS, draws=5)
    (folder / CHECK).write_text(check_text(found))
    assert (
        f"accuracy {found[0].value:.2f}, AUROC {found[1].value:.2f} on 120 held-out statements"
        in read_classifier(folder).note
    )
    (folder / CHECK).write_text("{}")
    with pytest.raises(IntegrityError, match="holds no check"):
        read_classifier(folder)


def test_what_is_undefined_is_null_in_a_check(classifier):
    one = replace(check(classifier, ROWS, draws=5)[0], value=float("nan"), lower=float("inf"))
    (row,) = json.loads(check_text([one]))
    assert row["value"] is None
    assert row["lower"] is None
    assert row["n"] == 120


def test_files_that_do_not_belong_together_are_refused(classifier, tmp_path):
    folder = write_classifier(classifier, tmp_path / "ours")
    numbers = load_file(folder / "classifier.safetensors")
    save_file(numbers | {"weights": numbers["weights"] + 1}, folder / "classifier.safetensors")
    with pytest.raises(IntegrityError, match="not the file that"):
        read_classifier(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabularies": {"words": ["a"], "characters": []}}, "as many numbers do not stand"),
        ({"bias": None, "vocabularies": 3}, "damaged classifier"),
    ],
)
def test_a_damaged_description_is_refused(classifier, tmp_path, changes, message):
    folder = write_classifier(classifier, tmp_path / "ours")
    path = folder / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(IntegrityError, match=message):
        read_classifier(folder)


def test_what_is_no_classifier_of_ours_is_refused(classifier, tmp_path):
    with pytest.raises(DataError, match=r"holds no classifier: .*classifier.json is missing"):
        read_classifier(tmp_path / "nowhere")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "model.pkl").write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(DataError, match="holds no classifier"):
        read_classifier(theirs)
    with pytest.raises(DataError, match="exists and holds no classifier"):
        write_classifier(classifier, theirs)
    (theirs / "classifier.json").write_text('{"format": "another"}')
    (theirs / "classifier.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="format 'another', expected 'trustrace-toxicity-1'"):
        read_classifier(theirs)
    (theirs / "classifier.json").write_text("not JSON")
    with pytest.raises(IntegrityError, match="not JSON"):
        read_classifier(theirs)
