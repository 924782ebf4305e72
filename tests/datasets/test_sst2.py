"""Robustness as defined: twins that differ in case alone."""

import csv
import math
import zipfile

import numpy as np
import pytest

from trustrace.core.errors import ConfigError, DataError
from trustrace.datasets import catalog
from trustrace.datasets.grouping import runs


def _sentences(data_dir, name="test.tsv"):
    with (data_dir / "originals/sst2" / name).open(encoding="utf-8", newline="") as stream:
        return [row["sentence"].strip() for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)]


@pytest.mark.parametrize("rate", [0.05, 0.20])
def test_twins_differ_in_the_case_of_about_so_many_letters(data_dir, rate):
    statements = catalog.load("robustness/defined", data_dir=data_dir, parameters={"rate": rate})
    originals, perturbed = statements.texts[::2], statements.texts[1::2]
    assert set(statements.labels[::2]) == {0}
    assert set(statements.labels[1::2]) == {1}
    assert statements.groups[::2] == statements.groups[1::2]
    flips = [sum(a != b for a, b in zip(*pair, strict=True)) for pair in zip(originals, perturbed, strict=True)]
    letters = [sum(character.isalpha() for character in text) for text in originals]
    assert min(flips) > 0
    # A pair is kept if any of its n letters flipped, so n letters flip n rate / (1 - (1 - rate)^n) times in expectation.
    expected = sum(n * rate / (1 - (1 - rate) ** n) for n in letters)
    assert sum(flips) == pytest.approx(expected, abs=4 * math.sqrt(sum(letters) * rate))


def test_as_many_pairs_are_dropped_as_chance_leaves_untouched(data_dir):
    statements = catalog.load("robustness/defined", data_dir=data_dir)
    sentences = _sentences(data_dir)
    untouched = np.array([0.95 ** sum(character.isalpha() for character in text) for text in sentences])
    dropped = len(sentences) - len(statements) // 2
    assert dropped == pytest.approx(untouched.sum(), abs=4 * math.sqrt((untouched * (1 - untouched)).sum()))
    assert f"{dropped} pairs" in statements.source.note


def test_originals_are_the_development_sentences(data_dir):
    statements = catalog.load("robustness/defined", data_dir=data_dir, parameters={"rate": 0.9})
    assert statements.texts[::2] == tuple(_sentences(data_dir))


def test_added_phrases_overlap_neither_each_other_nor_the_sentences(data_dir):
    statements = catalog.load("robustness/defined", data_dir=data_dir, parameters={"rate": 0.9, "more_phrases": 300})
    originals = statements.texts[::2]
    assert len(originals) == 872 + 300
    assert set(originals[872:]) <= set(_sentences(data_dir, "train.tsv"))
    taken = set()
    for text in originals[872:]:
        assert len(text.split()) >= 10
        assert taken.isdisjoint(runs(text))
        taken.update(runs(text))
    assert taken.isdisjoint(run for text in originals[:872] for run in runs(text))


def test_another_seed_makes_other_typos_in_the_same_sentences(data_dir):
    first, second = (
        catalog.load("robustness/defined", seed=seed, data_dir=data_dir, parameters={"rate": 0.5}) for seed in (1, 2)
    )
    assert first.texts[::2] == second.texts[::2]
    assert first.texts[1::2] != second.texts[1::2]


def test_glues_archive_gives_the_same_statements(data_dir, tmp_path):
    (tmp_path / "canonical/sst2").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "canonical/sst2/SST-2.zip", "w") as archive:
        archive.write(data_dir / "originals/sst2/test.tsv", "SST-2/dev.tsv")
    canonical = catalog.load("robustness/defined", data_dir=tmp_path, parameters={"canonical": True})
    assert canonical.fingerprint == catalog.load("robustness/defined", data_dir=data_dir).fingerprint


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_an_archive_that_is_none_is_told(tmp_path, content):
    (tmp_path / "canonical/sst2").mkdir(parents=True)
    (tmp_path / "canonical/sst2/SST-2.zip").write_bytes(content)
    with pytest.raises(DataError, match="is not GLUE's archive"):
        catalog.load("robustness/defined", data_dir=tmp_path, parameters={"canonical": True})


def test_more_phrases_than_there_are_is_told(data_dir):
    with pytest.raises(DataError, match=r"only \d+ phrases overlap no other"):
        catalog.load("robustness/defined", data_dir=data_dir, parameters={"more_phrases": 60_000})


@pytest.mark.parametrize("rate", [0, 1.5, "much"])
def test_a_rate_outside_its_range_is_refused(rate):
    with pytest.raises(ConfigError, match="rate"):
        catalog.load("robustness/defined", parameters={"rate": rate})
