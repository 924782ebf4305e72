"""Reliability as defined: every question, every reference answer, true or false."""

import pandas as pd
import pytest

from trustrace.datasets import catalog
from trustrace.datasets.grouping import normalise


@pytest.fixture(scope="module")
def statements(data_dir):
    return catalog.load("reliability/defined", data_dir=data_dir)


@pytest.fixture(scope="module")
def original(data_dir):
    return pd.read_csv(data_dir / "originals/truthfulqa/TruthfulQA_v0.csv")


def _question(text):
    return text.removeprefix("Q: ").split("\nA: ")[0]


def test_all_817_questions_are_asked(statements, original):
    assert {_question(text) for text in statements.texts} == {question.strip() for question in original["Question"]}


def test_a_best_answer_is_true_for_every_question(statements, original):
    truths = {normalise(text) for text, label in zip(statements.texts, statements.labels, strict=True) if label == 1}
    best = {
        normalise(f"Q: {row.Question}\nA: {row._4.strip().rstrip('.')}.") for row in original.itertuples()
    }  # the column is called "Best Answer"
    assert len(best - truths) == 0


def test_every_answer_ends_alike_so_that_the_last_token_says_nothing(statements):
    assert {text[-1] for text in statements.texts} == {"."}
    assert not any(text.endswith("..") for text in statements.texts)


def test_no_answer_is_both_true_and_false(statements):
    labels = {}
    for text, label in zip(statements.texts, statements.labels, strict=True):
        assert normalise(text) not in labels
        labels[normalise(text)] = label
    assert "4 rows listed as both true and false" in statements.source.note


def test_questions_that_are_asked_again_in_other_words_share_a_group(statements):
    about_value = [
        group for text, group in zip(statements.texts, statements.groups, strict=True) if "gone up" in _question(text)
    ]
    assert len(set(about_value)) == 1
    assert len(about_value) > 20


def test_another_release_is_read_by_the_same_rules(tmp_path, monkeypatch):
    monkeypatch.delenv("TRUSTRACE_DATA", raising=False)
    (tmp_path / "canonical/truthfulqa").mkdir(parents=True)
    rows = "".join(f"Question {i}?,Yes.; Yes; Sure,No; No way\n" for i in range(6))
    (tmp_path / "canonical/truthfulqa/TruthfulQA.csv").write_text("Question,Correct Answers,Incorrect Answers\n" + rows)
    built = catalog.load("reliability/defined", data_dir=tmp_path, parameters={"canonical": True})
    assert built.texts[:4] == tuple(f"Q: Question 0?\nA: {answer}." for answer in ("Yes", "Sure", "No", "No way"))
    assert built.labels[:4] == (1, 1, 0, 0)
    assert "6 repeated answers" in built.source.note
