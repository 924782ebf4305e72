from dataclasses import replace

import pytest

from trustrace.core.errors import AlignmentError, DataError
from trustrace.core.statements import LabelMeaning, Source, Statements


def statements(**changes: object) -> Statements:
    rows = Statements(
        name="toy/defined",
        dimension="custom",
        texts=("a cat", "a dog", "a cow"),
        labels=(0, 1, 1),
        groups=("x", "y", "y"),
        splits=("train", "test", "test"),
        meaning=LabelMeaning(one="barks", zero="does not", desired=1),
        source=Source(title="made here", licence="CC0"),
    )
    return replace(rows, **changes)  # type: ignore[arg-type]


def test_columns_of_different_length_are_refused_by_name() -> None:
    with pytest.raises(AlignmentError, match="3 texts but 2 labels"):
        statements(labels=(0, 1))


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("changes", [{"labels": (0, 1, 2)}, {"splits": ("train", "test", "dev")}])
def test_a_value_outside_its_set_is_named_with_its_row(changes: dict[str, object]) -> None:
    with pytest.raises(DataError, match="at row 2"):
        statements(**changes)


def test_an_empty_statement_is_named_with_its_row() -> None:
    with pytest.raises(DataError, match="row 1"):
        statements(texts=("a", " \n", "c"))


def test_no_rows_at_all_are_refused() -> None:
    with pytest.raises(DataError, match="no statements"):
        statements(texts=(), labels=(), groups=(), splits=())


@pytest.mark.parametrize(
    "changes",
    [
        {"texts": ("a cat", "a dog", "a pig")},
        {"labels": (1, 1, 1)},
        {"groups": ("x", "y", "z")},
        {"splits": ("train", "train", "test")},
        {"scheme": "held_out"},
        {"meaning": LabelMeaning(one="barks", zero="does not", desired=0)},
    ],
)
def test_the_fingerprint_moves_with_everything_that_changes_a_measurement(changes: dict[str, object]) -> None:
    assert statements(**changes).fingerprint != statements().fingerprint


def test_the_fingerprint_stands_still_when_only_provenance_changes() -> None:
    assert statements(source=Source(title="elsewhere", licence="MIT")).fingerprint == statements().fingerprint


def test_rows_are_taken_in_the_given_order_with_all_their_columns() -> None:
    taken = statements().take([2, 0])
    assert (taken.texts, taken.labels, taken.groups, taken.splits) == (
        ("a cow", "a cat"),
        (1, 0),
        ("y", "x"),
        ("test", "train"),
    )
