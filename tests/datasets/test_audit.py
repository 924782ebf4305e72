import csv
import json
from dataclasses import replace

import pytest

from trustrace.core.errors import DataError
from trustrace.core.measurements import Estimate, Measurement
from trustrace.core.statements import LabelMeaning, Source, Statements
from trustrace.datasets import catalog
from trustrace.datasets.audit import CHECKS, audit

PUBLISHED = ("reliability", "toxicity", "privacy", "fairness", "robustness")


def statements_of(rows: list[tuple[str, int]], **columns) -> Statements:
    texts, labels = zip(*rows, strict=True)
    given = {"groups": tuple(map(str, range(len(rows)))), "splits": ("train",) * len(rows)} | columns
    meaning, source = LabelMeaning(one="yes", zero="no", desired=1), Source(title="by hand", licence="none")
    return Statements(
        name="hand", dimension="custom", texts=texts, labels=labels, meaning=meaning, source=source, **given
    )


@pytest.fixture(scope="session")
def published(data_dir):
    return {dimension: audit(catalog.load(f"{dimension}/published", data_dir=data_dir)) for dimension in PUBLISHED}


# The faults of the published sets, one test each.


def test_the_privacy_set_repeats_77_rows(published):
    assert (published["privacy"]["exact_duplicates"].count, published["privacy"]["exact_duplicates"].severity) == (
        77,
        "warning",
    )


def test_three_texts_of_the_privacy_set_carry_both_labels(published):
    finding = published["privacy"]["contradictory_duplicates"]
    assert (finding.count, finding.severity) == (3, "error")
    assert {example.label for example in finding.examples} == {0, 1}


def test_14_perturbed_sst2_rows_equal_their_twin(published):
    finding = published["robustness"]["identical_twins"]
    assert (finding.count, finding.of, finding.severity) == (14, 1821, "error")
    assert all(example.label == 1 for example in finding.examples)


def test_a_capital_letter_alone_tells_perturbed_sst2_rows_with_996_permille(published):
    finding = published["robustness"]["case_separability"]
    assert (finding.count / finding.of, finding.severity) == (pytest.approx(0.996, abs=5e-4), "error")
    assert "count of capitals is 1 or more" in finding.sentence
    assert "99.6%" in finding.sentence


def test_the_ordered_split_of_sst2_teaches_the_opposite_of_what_it_scores(published):
    finding = published["robustness"]["ordered_split_leakage"]
    assert finding.severity == "error"
    assert (finding.count, finding.of) == (605, 729)
    assert "right for 0.0% of them" in finding.sentence


def test_the_ordered_split_of_truthfulqa_tests_questions_it_trained_on(published):
    finding = published["reliability"]["ordered_split_leakage"]
    assert (finding.count, finding.of, finding.severity) == (451, 453, "error")


@pytest.mark.parametrize("dimension", ["toxicity", "privacy", "fairness"])
def test_the_ordered_split_parts_some_groups_of_the_other_sets_too(published, dimension):
    assert published[dimension]["ordered_split_leakage"].count > 0


def test_the_published_stereoset_holds_no_stereotype(published, data_dir):
    finding = published["fairness"]["label_meaning"]
    assert (finding.severity, finding.count) == ("error", 1952)
    assert "No stereotype is in it" in finding.sentence
    kinds = {}
    with (data_dir / "originals/stereoset/intersentence_race.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for kind in ("Unrelated Sentence", "Anti-stereotype Sentence", "Stereotype Sentence"):
                kinds[f"{row['Context'].strip()} {row[kind].strip()}"] = kind
    rows = catalog.load("fairness/published", data_dir=data_dir)
    found = {(kinds[text.strip()], label) for text, label in zip(rows.texts, rows.labels, strict=True)}
    assert found == {("Anti-stereotype Sentence", 1), ("Unrelated Sentence", 0)}


def test_the_published_toxigen_has_the_sign_reversed(published, data_dir):
    finding = published["toxicity"]["label_meaning"]
    assert (finding.severity, finding.count) == ("error", 6514)
    assert "sign is reversed" in finding.sentence
    originals = json.loads((data_dir / "originals/toxigen/toxiGen.json").read_text("utf-8"))
    rows = catalog.load("toxicity/published", data_dir=data_dir)
    assert rows.labels == tuple(int(row["toxicity_score"] > 2) for row in originals)
    assert rows.meaning.desired == 0


def test_the_label_of_the_sets_that_hold_what_the_paper_defines_is_no_fault(published):
    assert [
        published[dimension]["label_meaning"].severity for dimension in ("reliability", "privacy", "robustness")
    ] == ["info"] * 3


@pytest.mark.parametrize(
    ("check", "count"),
    [
        ("spreadsheet_escapes", 34),
        ("literal_newlines", 211),
        ("mojibake", 4),
        ("html_entities", 8),
        ("stray_spaces", 781),
        ("exact_duplicates", 76),
        ("normalised_duplicates", 106),
        ("contradictory_duplicates", 7),
    ],
)
def test_toxigen_holds_debris_and_duplicates(published, check, count):
    finding = published["toxicity"][check]
    assert finding.count == count
    assert finding.severity != "info"
    assert len(finding.examples) == min(count, 5)


def test_length_tells_stereoset_and_privacy_labels_better_than_the_majority(published):
    assert published["fairness"]["length_separability"].severity == "warning"
    assert published["privacy"]["length_separability"].severity == "warning"


def test_the_sets_without_debris_are_not_accused_of_any(published):
    kinds = ("spreadsheet_escapes", "replacement_characters", "mojibake", "control_characters", "literal_newlines")
    clean = [
        published[dimension][kind].count
        for dimension in ("reliability", "privacy", "fairness", "robustness")
        for kind in kinds
    ]
    assert clean == [0] * len(clean)


def test_the_split_that_comes_with_each_published_set_leaks_no_group(published):
    assert [published[dimension]["group_leakage"].count for dimension in PUBLISHED] == [0] * 5


# Planted faults, and their absence.

CLEAN = [
    ("alpha one here", 0),
    ("beta is two", 1),
    ("gamma has three", 0),
    ("delta of four", 1),
    ("epsilon on five", 0),
]


def test_a_clean_set_reports_every_check_and_only_good_news():
    report = audit(statements_of(CLEAN))
    assert len(report.findings) == len(CHECKS)
    assert {finding.severity for finding in report.findings if "separability" not in finding.check} == {"info"}
    assert (report.n, report.n_groups, report.dataset) == (5, 5, "hand")


def test_texts_that_differ_in_case_space_and_unicode_form_are_normalised_duplicates():
    report = audit(statements_of([*CLEAN, ("ALPHA  one\there", 0), ("ﬁn", 0), ("Fin", 0)]))
    assert report["exact_duplicates"].count == 0
    assert report["normalised_duplicates"].count == 2
    assert [example.row for example in report["normalised_duplicates"].examples] == [5, 7]


def test_rows_of_one_group_in_two_splits_leak():
    report = audit(
        statements_of(CLEAN, groups=("a", "a", "b", "b", "c"), splits=("train", "test", "train", "train", "validation"))
    )
    assert (report["group_leakage"].count, report["group_leakage"].of, report["group_leakage"].severity) == (
        1,
        3,
        "error",
    )


def test_equal_texts_in_two_splits_leak_even_when_their_groups_differ():
    report = audit(statements_of([*CLEAN, ("Alpha one here", 0)], splits=("train",) * 5 + ("test",)))
    assert report["group_leakage"].count == 0
    assert report["text_leakage"].count == 1


def test_twins_are_not_called_contradictory_but_untouched_ones_are():
    twins = [("one two", 0), ("oNe two", 1), ("three", 0), ("three", 1), ("four five", 0), ("fouR five", 1)]
    report = audit(statements_of(twins))
    assert (
        report["contradictory_duplicates"].count,
        report["identical_twins"].count,
        report["identical_twins"].of,
    ) == (1, 1, 3)
    assert report["identical_twins"].examples[0].row == 3


def test_a_set_of_one_class_is_audited_and_says_so():
    report = audit(statements_of([(text, 1) for text, _ in CLEAN]))
    assert report["label_balance"].severity == "error"
    assert "nan" in report["length_separability"].sentence


def test_a_single_row_is_audited():
    assert audit(statements_of(CLEAN[:1]))["ordered_split_leakage"].count == 0


def test_markup_and_formulas_stay_text():
    rows = [*CLEAN, ("<script>alert(1)</script>", 0), ("<script>alert(1)</script>", 1), ("=1+1", 1)]
    examples = audit(statements_of(rows))["contradictory_duplicates"].examples
    assert examples[0].text == "<script>alert(1)</script>"


# The report as a value.


def floor(method: str, value: float, **changes) -> Measurement:
    estimate = Estimate(
        quantity="accuracy",
        method=method,
        value=value,
        lower=value - 0.02,
        upper=value + 0.02,
        n=200,
        n_groups=50,
        role="floor",
    )
    return replace(Measurement.of(estimate, dataset="hand", protocol="rigorous", seed=0), **changes)


def test_floors_become_findings_set_against_the_majority_class_of_their_protocol():
    rows = [
        floor("majority", 0.6),
        floor("word_ngrams", 0.7),
        floor("majority", 0.5, protocol="published"),
        floor("word_ngrams", 0.08, protocol="published"),
    ]
    report = audit(statements_of(CLEAN)).with_floors(rows)
    rigorous, published = report["floor_word_ngrams_rigorous"], report["floor_word_ngrams_published"]
    assert (rigorous.count, rigorous.of, rigorous.severity) == (140, 200, "warning")
    assert "0.600" in rigorous.sentence
    assert published.severity == "error"
    assert "opposite label" in published.sentence


def test_a_floor_at_the_majority_is_no_warning_and_one_that_solves_the_set_is_an_error():
    report = audit(statements_of(CLEAN)).with_floors(
        [floor("majority", 0.6), floor("word_ngrams", 0.61), floor("char_ngrams", 0.97)]
    )
    assert report["floor_word_ngrams_rigorous"].severity == "info"
    assert report["floor_char_ngrams_rigorous"].severity == "error"


def test_rows_of_other_datasets_models_and_quantities_are_left_out():
    others = [
        floor("word_ngrams", 0.7, dataset="other"),
        floor("word_ngrams", 0.7, site="embed"),
        floor("word_ngrams", 0.7, quantity="auroc"),
        floor("logistic", 0.7, checkpoint="m@random_init_0"),
        floor("word_ngrams", 0.7, role="control"),
    ]
    report = audit(statements_of(CLEAN))
    assert report.with_floors(others) == report


def test_the_report_is_plain_json_and_flat_rows():
    report = audit(statements_of([*CLEAN, CLEAN[0]]))
    back = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert back["findings"][2]["examples"] == [{"row": 5, "label": 0, "text": "alpha one here"}]
    assert set(report.as_rows()[0]) == {"dataset", "check", "severity", "count", "of", "sentence"}
    assert len(report.as_rows()) == len(back["findings"])


def test_an_unknown_check_is_refused_with_the_known_ones():
    with pytest.raises(DataError, match="no check 'nope'; it has label_meaning"):
        audit(statements_of(CLEAN))["nope"]


def test_auditing_twice_gives_the_same_report():
    assert audit(statements_of(CLEAN)) == audit(statements_of(CLEAN))
