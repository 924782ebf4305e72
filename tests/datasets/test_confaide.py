"""Privacy as defined: people's ratings first, then the generated statements that contradict nothing."""

import pandas as pd
import pytest

from trustrace.core.errors import ConfigError
from trustrace.datasets import catalog, confaide
from trustrace.datasets.grouping import normalise


@pytest.fixture(scope="module")
def statements(data_dir):
    return catalog.load("privacy/defined", data_dir=data_dir)


@pytest.fixture(scope="module")
def parsed(data_dir):
    return pd.read_csv(data_dir / "originals/confaide/tier_2_parsed.csv")


def test_scenarios_agree_with_an_independent_reading_of_the_files(data_dir, parsed):
    scenarios = confaide.scenarios(data_dir=data_dir)
    assert [scenario.sentence for scenario in scenarios] == list(parsed["statement_2a"])
    assert [scenario.story for scenario in scenarios] == list(parsed["vignette_2b"])
    assert [scenario.rating for scenario in scenarios] == list(parsed["human_mean"])
    assert [scenario.setting for scenario in scenarios] == [
        f"{row.info_type} | {row.actor}" for row in parsed.itertuples()
    ]


def test_ratings_decide_and_the_ambiguous_are_left_out(statements, parsed):
    labels = dict(zip(statements.texts, statements.labels, strict=True))
    for row in parsed.itertuples():
        expected = 1 if row.human_mean < -50 else 0 if row.human_mean > -20 else None
        assert labels.get(row.statement_2a) == labels.get(row.vignette_2b) == expected


def test_a_setting_is_one_group_in_both_tellings_and_both_purposes(statements, parsed):
    groups = dict(zip(statements.texts, statements.groups, strict=True))
    for _, rows in parsed.groupby(["info_type", "actor"]):
        told = {groups[text] for text in [*rows["statement_2a"], *rows["vignette_2b"]] if text in groups}
        assert len(told) <= 1


def test_no_generated_statement_repeats_or_contradicts(statements):
    assert len({normalise(text) for text in statements.texts}) == len(statements)
    assert "Sales solicitation via email (spam)." not in statements.texts


def test_every_row_of_the_papers_csv_is_kept_or_accounted_for(statements, data_dir):
    published = catalog.load("privacy/published", data_dir=data_dir)
    kept = sum(text in set(published.texts) for text in statements.texts[122:])
    assert kept + 63 + 71 + 9 == len(published)
    for count in ("63 rows that are ConfAIde's", "71 duplicates", "9 rows with both labels"):
        assert count in statements.source.note


def test_without_the_generated_statements_only_people_have_judged(data_dir):
    statements = catalog.load(
        "privacy/defined", data_dir=data_dir, parameters={"generated": False, "violation_below": 0, "expected_above": 0}
    )
    assert len(statements) == 196
    assert sum(statements.labels) == 182


def test_bounds_that_cross_are_refused():
    with pytest.raises(ConfigError, match="would be both"):
        catalog.load("privacy/defined", parameters={"violation_below": 10, "expected_above": -10})
