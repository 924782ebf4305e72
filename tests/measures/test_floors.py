"""Floors: what the text alone gives away."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tests.measures.examples import make_statements
from trustrace.core.errors import MeasurementError
from trustrace.datasets import catalog
from trustrace.measures import floors
from trustrace.measures.config import ProbingConfig
from trustrace.measures.floors import CHARACTERS, REGULARISERS, WORDS, Ngrams, text_floors
from trustrace.measures.folds import evaluation_pairs, file_order_pair

QUICK = ProbingConfig(folds=3, bootstrap_draws=100)
METHODS = ("majority", "length_and_case", "word_ngrams", "char_ngrams")


def values(statements, *, protocol="rigorous", quantity="accuracy", config=QUICK, seed=0):
    rows = text_floors(statements, config=config, protocol=protocol, seed=seed)
    return {row.method: row for row in rows if row.quantity == quantity}


def with_cue(cue, *, n=240):
    """Coin-toss labels, and texts of seeded letters to which `cue(label)` is added."""
    rng = np.random.default_rng(1)
    plain = make_statements(n=n, n_groups=n)
    words = ["".join(rng.choice(list("abcdefgh"), 4)) for _ in range(n)]
    return replace(plain, texts=tuple(cue(word, label) for word, label in zip(words, plain.labels, strict=True)))


# Positive and negative controls: each floor sees its own cue and no other.


def test_without_any_cue_every_floor_is_at_chance():
    rows = values(with_cue(lambda word, label: f"the {word} is here"), quantity="auroc")
    assert all(row.lower <= 0.5 <= row.upper or abs(row.value - 0.5) < 0.08 for row in rows.values())


def test_a_word_is_seen_by_both_ngram_floors_and_not_by_the_majority():
    rows = values(with_cue(lambda word, label: f"the {word} is {('good', 'vile')[label]}"))
    assert rows["word_ngrams"].value == rows["char_ngrams"].value == 1
    assert rows["majority"].value < 0.6


def test_letter_case_is_seen_by_counts_and_characters_but_not_by_words():
    rows = values(with_cue(lambda word, label: f"the {word.capitalize() if label else word} is Here"))
    assert rows["length_and_case"].value == 1
    assert rows["char_ngrams"].value > 0.9
    assert rows["word_ngrams"].value < 0.65


def test_length_is_seen_by_counts():
    assert values(with_cue(lambda word, label: word * (2 + label)))["length_and_case"].value == 1


def test_word_order_is_seen_through_pairs_of_words():
    rows = values(with_cue(lambda word, label: f"{word} " + ("then dog bites man", "then man bites dog")[label]))
    assert rows["word_ngrams"].value == 1
    assert rows["length_and_case"].value < 0.65


# Nothing that is fitted sees a scored row.


@pytest.mark.parametrize(
    ("ngrams", "options"),
    [
        (WORDS, {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\w+", "min_df": 1}),
        (CHARACTERS, {"analyzer": "char_wb", "ngram_range": (2, 5), "lowercase": False, "min_df": 2}),
    ],
)
def test_ngram_features_equal_a_vectoriser_fitted_to_the_training_texts_alone(ngrams, options):
    texts = with_cue(lambda word, label: f"The {word} I saw {'A' * label} was, {word[:2]}!").texts
    train = np.arange(len(texts)) % 3 > 0
    ours = floors._tfidf(texts, ngrams)(train)
    theirs = (
        TfidfVectorizer(**options).fit([text for text, fits in zip(texts, train, strict=True) if fits]).transform(texts)
    )
    np.testing.assert_allclose(
        np.sort(ours.toarray(), axis=1)[:, -60:], np.sort(theirs.toarray(), axis=1)[:, -60:], atol=1e-12
    )
    np.testing.assert_allclose((ours @ ours.T).toarray(), (theirs @ theirs.T).toarray(), atol=1e-12)


def test_the_word_floor_is_scikit_learns_pipeline_with_the_regulariser_that_inner_folds_choose():
    statements = with_cue(lambda word, label: f"{word} {word[: 2 + label]} {('so', 'so so')[label]}")
    labels, texts = np.array(statements.labels), np.array(statements.texts)

    def probabilities(train, test, regulariser):
        vectoriser = TfidfVectorizer(ngram_range=(1, 2), token_pattern=floors.WORD)
        model = LogisticRegression(C=regulariser, tol=1e-8, max_iter=5000).fit(
            vectoriser.fit_transform(texts[train]), labels[train]
        )
        return model.predict_proba(vectoriser.transform(texts[test]))[:, 1]

    right = 0
    for pair in evaluation_pairs(statements, folds=3, seed=0):
        losses = []
        for regulariser in REGULARISERS:
            inner = [(probabilities(fold.train, fold.test, regulariser), labels[fold.test]) for fold in pair.inner]
            losses.append(-sum(np.log(np.where(y == 1, p, 1 - p)).sum() for p, y in inner))
        chosen = REGULARISERS[int(np.argmin(losses))]
        right += ((probabilities(pair.train, pair.test, chosen) > 0.5) == labels[pair.test]).sum()
    assert values(statements)["word_ngrams"].value == pytest.approx(right / len(labels))


def test_counts_are_standardised_on_training_rows():
    features = floors._standardised_counts(["a", "bb c", "Dd", "e, 1"])(np.array([True, True, True, False]))
    np.testing.assert_allclose(features[:3].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(features[:3, :3].std(axis=0), 1)
    # No digit and no punctuation mark in training: their columns are centred, not blown up.
    assert features[3, 3] == 1


def test_majority_is_that_of_the_training_rows():
    labels = [0, 1] * 7 + [1, 1] + [0] * 4
    rows = values(make_statements(n=20, n_groups=20, labels=labels), protocol="published")
    assert (rows["majority"].value, rows["majority"].n) == (0, 4)


# The numbers beside the value.


def test_every_row_is_a_floor_without_a_model_and_carries_its_interval():
    rows = text_floors(with_cue(lambda word, label: word * (2 + label)), config=QUICK, protocol="rigorous", seed=3)
    assert [(row.method, row.quantity) for row in rows] == [
        (method, quantity) for method in METHODS for quantity in ("accuracy", "auroc")
    ]
    assert {(row.role, row.site, row.checkpoint, row.protocol, row.seed, row.n, row.n_groups) for row in rows} == {
        ("floor", "", "", "rigorous", 3, 240, 240)
    }
    assert all(row.lower <= row.value <= row.upper for row in rows)


def test_the_same_seed_gives_the_same_rows():
    statements = with_cue(lambda word, label: f"{word} {word[: 2 + label]}")
    first, again = (text_floors(statements, config=QUICK, protocol="rigorous", seed=5) for _ in range(2))
    assert first == again


def test_a_held_out_set_is_scored_on_its_test_rows_alone():
    statements = make_statements(n=60, n_groups=20, scheme="held_out")
    assert {row.n for row in text_floors(statements, config=QUICK, protocol="rigorous", seed=0)} == {
        statements.splits.count("test")
    }


def test_texts_without_a_word_leave_the_word_floor_at_the_majority():
    statements = make_statements(
        n=40, n_groups=40, labels=[1, 1, 1, 0] * 10, texts=["?!" * (1 + i % 3) for i in range(40)]
    )
    assert values(statements)["word_ngrams"].value == pytest.approx(0.75, abs=0.05)


def test_scored_rows_of_one_class_have_no_auroc_and_say_why():
    labels = [0, 1] * 16 + [1] * 8
    row = values(make_statements(n=40, n_groups=40, labels=labels), protocol="published", quantity="auroc")[
        "word_ngrams"
    ]
    assert np.isnan(row.value)
    assert "one class" in row.note


def test_training_rows_of_one_class_are_refused():
    statements = make_statements(n=20, n_groups=20, labels=[1] * 17 + [0] * 3)
    with pytest.raises(MeasurementError, match="hold one class; shuffle the file"):
        text_floors(statements, config=QUICK, protocol="published", seed=0)


# The published sets, against the floors that were measured on them before.


@pytest.fixture(scope="session")
def published(data_dir):
    return {name: catalog.load(f"{name}/published", data_dir=data_dir) for name in MEASURED_BEFORE}


MEASURED_BEFORE = {
    # words in file order, words by group, characters by group
    "privacy": (0.815, 0.787, 0.803),
    "robustness": (0.086, 0.500, 0.956),
    "fairness": (0.813, 0.810, 0.837),
    "toxicity": (0.764, 0.760, 0.770),
    "reliability": (0.653, 0.653, 0.669),
}


@pytest.mark.parametrize("name", MEASURED_BEFORE)
def test_single_words_in_file_order_reach_what_was_measured_before(name, published):
    labels, pair = np.array(published[name].labels), file_order_pair(len(published[name]))
    features = floors._tfidf(published[name].texts, Ngrams(analyzer="word", lengths=(1, 1), min_rows=1))
    log_odds = floors._log_odds(features, labels, pair.train, regularisers=(10.0,))[0]
    accuracy = ((log_odds > 0) == labels)[pair.test].mean()
    assert accuracy == pytest.approx(MEASURED_BEFORE[name][0], abs=0.025)


@pytest.mark.parametrize("name", ["privacy", "robustness", "fairness", "reliability"])
def test_the_floors_by_group_reach_what_was_measured_before(name, published):
    rows = values(published[name])
    assert rows["word_ngrams"].value == pytest.approx(MEASURED_BEFORE[name][1], abs=0.045)
    assert rows["char_ngrams"].value == pytest.approx(MEASURED_BEFORE[name][2], abs=0.025)


def test_counts_of_length_and_case_solve_perturbed_sst2(published):
    counts = floors._standardised_counts(published["robustness"].texts)
    labels, pair = np.array(published["robustness"].labels), file_order_pair(3642)
    assert ((floors._log_odds(counts, labels, pair.train, regularisers=(100.0,))[0] > 0) == labels)[
        pair.test
    ].mean() > 0.985
