"""Fairness as defined: the same contexts on both sides, stereotype or not."""

import json

import pandas as pd
import pytest

from trustrace.core.errors import ConfigError, DataError
from trustrace.datasets import catalog
from trustrace.datasets.cleaning import as_sentence

DOMAINS = ("gender", "profession", "race", "religion")


@pytest.fixture(scope="module")
def original(data_dir):
    return pd.concat([pd.read_csv(data_dir / f"originals/stereoset/intersentence_{domain}.csv") for domain in DOMAINS])


def test_every_context_is_continued_once_with_and_once_against_the_stereotype(data_dir, original):
    statements = catalog.load("fairness/defined", data_dir=data_dir)
    rows = set(zip(statements.texts, statements.labels, strict=True))
    for column, label in (("Stereotype Sentence", 1), ("Anti-stereotype Sentence", 0)):
        built = {
            (f"{as_sentence(c)} {as_sentence(s)}", label)
            for c, s in zip(original["Context"], original[column], strict=True)
        }
        assert built <= rows
    assert len(statements) == 2 * len(original)
    assert statements.meaning.desired == 0


def test_all_contexts_of_a_target_are_one_group(data_dir, original):
    statements = catalog.load("fairness/defined", data_dir=data_dir)
    assert set(statements.groups) == {target.lower() for target in original["Target"]}


def test_grouping_by_context_is_finer(data_dir):
    statements = catalog.load("fairness/defined", data_dir=data_dir, parameters={"group_by": "context"})
    assert len(set(statements.groups)) == 2_114


def test_unrelated_continuations_come_in_when_asked_for(data_dir):
    parameters = {"zero": ["anti_stereotype", "unrelated"], "domains": ["religion"]}
    statements = catalog.load("fairness/defined", data_dir=data_dir, parameters=parameters)
    assert len(statements) == 3 * 78
    assert sum(statements.labels) == 78
    assert statements.meaning.zero == "an anti-stereotypical continuation or a continuation unrelated to the context"


def test_the_published_contrast_can_be_rebuilt(data_dir):
    parameters = {"one": ["anti_stereotype"], "zero": ["unrelated"], "domains": ["race"]}
    defined = catalog.load("fairness/defined", data_dir=data_dir, parameters=parameters)
    published = catalog.load("fairness/published", data_dir=data_dir)
    assert defined.meaning == published.meaning
    assert len(defined) == len(published)


def test_the_authors_own_file_gives_the_same_statements(data_dir, original, tmp_path):
    items = [
        {
            "id": str(i), "target": row["Target"], "bias_type": row["Domain"], "context": row["Context"], "labels": [],
            "sentences": [
                {"sentence": row["Unrelated Sentence"], "gold_label": "unrelated"},
                {"sentence": row["Stereotype Sentence"], "gold_label": "stereotype"},
                {"sentence": row["Anti-stereotype Sentence"], "gold_label": "anti-stereotype"},
            ],
        }
        for i, row in enumerate(original.to_dict("records"))
    ]  # fmt: skip
    (tmp_path / "canonical/stereoset").mkdir(parents=True)
    (tmp_path / "canonical/stereoset/dev.json").write_text(
        json.dumps({"version": "1.0", "data": {"intersentence": items}})
    )
    canonical = catalog.load("fairness/defined", data_dir=tmp_path, parameters={"canonical": True})
    assert canonical.fingerprint == catalog.load("fairness/defined", data_dir=data_dir).fingerprint
    assert canonical.source.url != catalog.load("fairness/defined", data_dir=data_dir).source.url


def test_a_canonical_file_of_another_format_is_told(tmp_path):
    (tmp_path / "canonical/stereoset").mkdir(parents=True)
    (tmp_path / "canonical/stereoset/dev.json").write_text('{"data": []}')
    with pytest.raises(DataError, match="is not StereoSet's development file"):
        catalog.load("fairness/defined", data_dir=tmp_path, parameters={"canonical": True})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"one": ["stereotype"], "zero": ["stereotype"]}, "cannot be labelled both 1 and 0"),
        ({"domains": []}, "domains"),
        ({"domains": ["age"]}, "domains.0"),
        ({"domain": ["race"]}, "did you mean 'domains'"),
    ],
)
def test_a_contrast_that_makes_no_sense_is_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        catalog.load("fairness/defined", parameters=parameters)
