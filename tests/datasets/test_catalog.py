"""The catalogue: fifteen names, what they take, and ten sets that stay what they are."""

import json
from collections import Counter
from pathlib import Path

import pytest

from trustrace.core.errors import ConfigError
from trustrace.core.statements import DIMENSIONS
from trustrace.datasets import catalog
from trustrace.datasets.files import read_statements, write_statements
from trustrace.datasets.splits import assign_splits

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "datasets.json").read_text(encoding="utf-8"))
REAL = [name for name in catalog.names() if not name.endswith("/world")]


@pytest.fixture(scope="module", params=REAL)
def statements(request, data_dir):
    return catalog.load(request.param, data_dir=data_dir)


def test_there_are_five_dimensions_in_three_forms():
    expected = {
        f"{dimension}/{form}"
        for dimension in DIMENSIONS
        if dimension != "custom"
        for form in ("published", "defined", "world")
    }
    assert set(catalog.names()) == expected
    assert len(catalog.names()) == 15


def test_a_set_is_what_it_was(statements):
    labels, splits = Counter(statements.labels), Counter(statements.splits)
    assert GOLDEN["sets"][statements.name] == {
        "rows": len(statements),
        "ones": labels[1],
        "groups": len(set(statements.groups)),
        "splits": dict(sorted(splits.items())),
        "fingerprint": statements.fingerprint,
    }


def test_a_set_knows_its_dimension_meaning_and_source(statements):
    assert statements.dimension == statements.name.split("/")[0]
    assert statements.meaning.one != statements.meaning.zero
    assert len(statements.source.commit) == 40
    assert statements.source.licence
    assert statements.source.note
    assert statements.scheme == "folds"


def test_no_group_straddles_a_split(statements):
    places = {}
    for group, split in zip(statements.groups, statements.splits, strict=True):
        assert places.setdefault(group, split) == split


def test_halves_and_fifths_hold_to_two_rows_in_a_hundred_and_so_do_labels(statements):
    share = Counter(statements.splits)
    assert share["test"] / len(statements) == pytest.approx(1 / 2, abs=0.02)
    assert share["validation"] / (share["train"] + share["validation"]) == pytest.approx(1 / 5, abs=0.02)
    balance = sum(statements.labels) / len(statements)
    for part, size in share.items():
        ones = sum(label for label, split in zip(statements.labels, statements.splits, strict=True) if split == part)
        assert ones / size == pytest.approx(balance, abs=0.02)


@pytest.mark.parametrize("name", ["reliability/published", "privacy/defined", "fairness/defined", "robustness/defined"])
def test_a_seed_moves_the_split_and_the_rows_only_where_they_are_drawn(name, data_dir):
    statements, other = (catalog.load(name, seed=seed, data_dir=data_dir) for seed in (0, 1))
    assert other.splits != statements.splits
    assert other.splits == assign_splits(groups=other.groups, labels=other.labels, seed=1)
    assert (other.texts == statements.texts) == (name != "robustness/defined")


def test_the_controlled_world_is_loaded_by_name_and_by_its_own_seed_whatever_the_seed_of_the_study():
    from trustrace.datasets import world

    loaded = catalog.load("fairness/world", seed=7, parameters={"world": 3})
    assert loaded.name == "fairness/world"
    assert loaded.fingerprint == world.statements("fairness", seed=3).fingerprint


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_exported_set_is_read_back_row_for_row(data_dir, tmp_path, suffix):
    statements = catalog.load("reliability/published", data_dir=data_dir)
    write_statements(statements, tmp_path / f"set{suffix}")
    again = read_statements(tmp_path / f"set{suffix}", meaning=statements.meaning)
    assert again.fingerprint == statements.fingerprint


def test_the_data_folder_may_be_named_by_the_environment(data_dir, monkeypatch):
    monkeypatch.setenv("TRUSTRACE_DATA", str(data_dir))
    assert catalog.load("fairness/published").fingerprint == GOLDEN["sets"]["fairness/published"]["fingerprint"]


@pytest.mark.parametrize("name", catalog.names())
def test_a_set_is_described_without_being_read(name, monkeypatch):
    monkeypatch.delenv("TRUSTRACE_DATA", raising=False)
    row = catalog.describe(name)
    assert row["name"] == name
    assert set(row["parameters"].replace("=", " ").split()) >= set(catalog.parameters_of(name).model_fields)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reliability/publised", "did you mean 'reliability/published'"),
        ("reliability", "did you mean 'reliability/"),
        ("sst-2", "there are reliability/published, "),
        ("", "unknown dataset ''"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name, message):
    with pytest.raises(ConfigError, match=message):
        catalog.load(name)


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("toxicity/defined", "treshold", "treshold: unknown key; did you mean 'threshold'"),
        ("toxicity/published", "threshold", "parameters of toxicity/published .*\n.*threshold: unknown key"),
        ("toxicity/world", "threshold", "parameters of toxicity/world .*\n.*threshold: unknown key"),
    ],
)
def test_an_unknown_parameter_is_refused(name, key, message):
    with pytest.raises(ConfigError, match=message):
        catalog.load(name, parameters={key: 3})
