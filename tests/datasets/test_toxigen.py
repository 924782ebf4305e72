"""Toxicity as defined: benign is 1, and the threshold is the reader's."""

import json

import pytest

from trustrace.core.errors import ConfigError
from trustrace.datasets import catalog
from trustrace.datasets.cleaning import mend
from trustrace.datasets.debris import has_literal_newline, has_spreadsheet_escape, has_stray_space
from trustrace.datasets.grouping import normalise


@pytest.fixture(scope="module")
def statements(data_dir):
    return catalog.load("toxicity/defined", data_dir=data_dir)


@pytest.fixture(scope="module")
def rows(data_dir):
    return json.loads((data_dir / "originals/toxigen/toxiGen.json").read_text(encoding="utf-8"))


def test_at_the_default_threshold_labels_are_the_datasets_own(statements, rows):
    own = {(normalise(mend(row["text"])), int(row["label"] == "neutral")) for row in rows}
    assert all((normalise(text), label) in own for text, label in zip(statements.texts, statements.labels, strict=True))
    assert statements.meaning.desired == 1
    assert statements.meaning.one.startswith("benign")


def test_the_papers_threshold_gives_the_papers_labels_with_the_stated_sign(data_dir):
    published = catalog.load("toxicity/published", data_dir=data_dir)
    defined = catalog.load("toxicity/defined", data_dir=data_dir, parameters={"threshold": 2})
    theirs = {(normalise(mend(text)), 1 - label) for text, label in zip(published.texts, published.labels, strict=True)}
    assert all((normalise(text), label) in theirs for text, label in zip(defined.texts, defined.labels, strict=True))


@pytest.mark.parametrize("threshold", [2, 4.5])
def test_a_higher_threshold_calls_more_statements_benign(data_dir, rows, threshold):
    statements = catalog.load("toxicity/defined", data_dir=data_dir, parameters={"threshold": threshold})
    share = sum(row["toxicity_score"] <= threshold for row in rows) / len(rows)
    assert sum(statements.labels) / len(statements) == pytest.approx(share, abs=0.01)


def test_no_debris_and_no_repetition_is_left(statements):
    for has_debris in (has_literal_newline, has_spreadsheet_escape, has_stray_space):
        assert not any(map(has_debris, statements.texts))
    assert len({normalise(text) for text in statements.texts}) == len(statements)


def test_every_row_of_the_original_is_kept_or_accounted_for(statements, rows):
    dropped = [int(word) for word in statements.source.note.split() if word.isdigit()]
    assert len(statements) + sum(dropped) == len(rows)


@pytest.mark.parametrize("threshold", [0.5, 5, "high"])
def test_a_threshold_off_the_scale_is_refused(threshold):
    with pytest.raises(ConfigError, match="parameters of toxicity/defined"):
        catalog.load("toxicity/defined", parameters={"threshold": threshold})
