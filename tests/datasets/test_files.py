"""Statements of one's own: what is read, what is written, and what each mistake is told."""

import json
import math
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustrace.core.errors import AlignmentError, DataError
from trustrace.core.statements import LabelMeaning
from trustrace.datasets.files import FORMATS, read_statements, write_statements

ROWS = [(f"statement {i}", i % 2) for i in range(12)]
VALID = "statement,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def _file(folder, content, name="own.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _jsonl(folder, rows):
    return _file(folder, "".join(json.dumps(row) + "\n" for row in rows), "own.jsonl")


def _parquet(folder, **columns):
    path = folder / "own.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_a_plain_csv_becomes_statements(tmp_path):
    statements = read_statements(_file(tmp_path, VALID))
    assert statements.name == "own"
    assert statements.dimension == "custom"
    assert statements.texts == tuple(text for text, _ in ROWS)
    assert statements.labels == tuple(label for _, label in ROWS)
    assert statements.scheme == "folds"
    assert len(set(statements.groups)) == 12
    assert set(statements.splits) == {"train", "validation", "test"}


def test_the_meaning_of_labels_can_be_stated(tmp_path):
    meaning = LabelMeaning(one="polite", zero="rude", desired=1)
    assert read_statements(_file(tmp_path, VALID), meaning=meaning, name="manners").meaning == meaning


def test_the_three_formats_hold_the_same_statements(tmp_path):
    frame = pd.DataFrame({"statement": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
    frame.to_csv(tmp_path / "own.csv", index=False)
    frame.to_json(tmp_path / "own.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "own.parquet", index=False)
    assert len({read_statements(tmp_path / f"own{suffix}").fingerprint for suffix in FORMATS}) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(texts=st.lists(TEXTS, min_size=8, max_size=16, unique_by=lambda text: " ".join(text.casefold().split())))
@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_written_is_read_back(tmp_path, suffix, texts):
    rows = pd.DataFrame(
        {
            "statement": texts,
            "label": [i % 2 for i in range(len(texts))],
            "group": [f"g{i // 2}" for i in range(len(texts))],
        }
    )
    rows.to_json(tmp_path / "own.jsonl", orient="records", lines=True, force_ascii=True)
    statements = read_statements(tmp_path / "own.jsonl")
    write_statements(statements, tmp_path / f"again{suffix}")
    again = read_statements(tmp_path / f"again{suffix}", name="own")
    assert again.fingerprint == statements.fingerprint
    assert again.texts == tuple(texts)


def test_a_formula_and_a_tag_stay_text(tmp_path):
    hostile = ['=HYPERLINK("http://x","y")', "@SUM(1+1)*cmd|' /C calc'!A0", "<script>alert(1)</script>", "-2+3"]
    rows = [{"statement": text, "label": i % 2} for i, text in enumerate(hostile * 3)]
    for i, row in enumerate(rows):
        row["statement"] += f" {i}"
    statements = read_statements(_jsonl(tmp_path, rows))
    for suffix in FORMATS:
        write_statements(statements, tmp_path / f"out{suffix}")
        assert read_statements(tmp_path / f"out{suffix}").texts == tuple(row["statement"] for row in rows)


def test_without_a_group_column_texts_that_differ_in_case_or_space_are_one_group(tmp_path):
    content = "statement,label\n" + "".join(f"{text},{label}\n{text.upper()}  ,{1 - label}\n" for text, label in ROWS)
    statements = read_statements(_file(tmp_path, content))
    assert len(set(statements.groups)) == 12


def test_a_given_group_is_kept_and_numbers_name_groups(tmp_path):
    path = _parquet(
        tmp_path,
        statement=[t for t, _ in ROWS],
        label=[label for _, label in ROWS],
        group=[float(i // 3) for i in range(12)],
    )
    assert read_statements(path).groups == tuple(str(i // 3) for i in range(12))


def test_a_given_split_carries_meaning(tmp_path):
    parts = ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
    rows = [{"statement": text, "label": label, "split": part} for (text, label), part in zip(ROWS, parts, strict=True)]
    statements = read_statements(_jsonl(tmp_path, rows))
    assert statements.scheme == "held_out"
    assert statements.splits == tuple(parts)
    write_statements(statements, tmp_path / "again.csv")
    assert read_statements(tmp_path / "again.csv", name="own").fingerprint == statements.fingerprint


def test_labels_may_be_truth_values_or_whole_floats_where_the_format_has_types(tmp_path):
    texts = [text for text, _ in ROWS]
    labels = tuple(label for _, label in ROWS)
    assert (
        read_statements(_parquet(tmp_path, statement=texts, label=[bool(label) for label in labels])).labels == labels
    )
    assert (
        read_statements(_parquet(tmp_path, statement=texts, label=[float(label) for label in labels])).labels == labels
    )


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    assert len(read_statements(_file(tmp_path, b"\xef\xbb\xbf" + VALID.encode()))) == 12


def test_a_line_separator_inside_a_text_does_not_end_a_json_line(tmp_path):
    rows = [{"statement": f"one\u2028two\x85{i}", "label": i % 2} for i in range(8)]
    path = _file(tmp_path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "own.jsonl")
    assert read_statements(path).texts[3] == "one\u2028two\x853"


MANY = "".join(f"s{i},{i % 2}\n" for i in range(20))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("", DataError, "file is empty; a header"),
        ("statement,label\n", DataError, "0 rows; at least 6"),
        ("statement,label\na,0\nb,1\nc,0\n", DataError, "3 rows; at least 6"),
        ("statement,label\n" + "".join(f"s{i},1\n" for i in range(9)), DataError, "every label is 1; a probe needs rows of both"),
        ("text,label\n" + MANY, AlignmentError, r"missing columns \['statement'\]; unknown column 'text'.*rename or remove"),
        ("statement,labels\n" + MANY, AlignmentError, r"unknown column 'labels' \(did you mean 'label'\?\)"),
        ("statement,label,score\n" + MANY.replace("\n", ",3\n"), AlignmentError, "unknown column 'score'"),
        ("statement,label,label\n" + MANY.replace("\n", ",3\n"), AlignmentError, r"repeated columns \['label'\]"),
        ("statement,label\n" + MANY + "a, b, c,1\n", AlignmentError, "line 22 has 4 cells, the header 2; .*double quotes"),
        ("statement,label\n" + MANY + '"never closed,1\n', DataError, "line 22 is not CSV"),
        ("statement,label\n" + MANY + "a,2\n", DataError, "label at line 22 is '2'; labels are 0 or 1"),
        ("statement,label\n" + MANY + "a,yes\n", DataError, "label at line 22 is 'yes'"),
        ("statement,label\n" + MANY + "a,nan\n", DataError, "label at line 22 is 'nan'"),
        ("statement,label\n" + MANY + "a,\n", DataError, "label at line 22 is ''"),
        ("statement,label\n" + MANY + " ,1\n", DataError, "statement at line 22 is empty; write text or remove the row"),
        ("statement,label\n" + "same,0\nSAME ,1\n" * 5, DataError, "all rows are in one group, 'same'.*add rows that differ"),
        ("statement,label,group\n" + MANY.replace("\n", ",g\n"), DataError, "all rows are in one group, 'g'.*leave the column out"),
        ("statement,label,group\n" + MANY.replace("\n", ",\n"), DataError, "group at line 2 is ''"),
        ("statement,label,group\n" + "".join(f"s{i},{i % 2},g{i % 2}\n" for i in range(9)), DataError, r"2 group\(s\) cannot be split"),
        (
            "statement,label,group\n" + "".join(f"s{i},{int(i % 3 == 0)},g{i % 3}\n" for i in range(9)),
            DataError,
            "part holds only label .; both labels are needed there",
        ),
        ("statement,label,split\n" + MANY.replace("\n", ",dev\n"), DataError, "split at line 2 is 'dev'; write train, validation or test"),
        ("statement,label,split\n" + MANY.replace("\n", ",train\n"), DataError, "the test part holds no rows"),
        (
            "statement,label,split\n" + MANY.replace("\n", ",train\n") + "s0,1,test\nnew,0,test\n",
            AlignmentError,
            "1 groups are both in test and in train or validation .first: 's0'",
        ),
    ],
)  # fmt: skip
def test_each_mistake_in_a_csv_is_told_where_it_is_and_how_to_mend_it(tmp_path, content, error, message):
    path = _file(tmp_path, content)
    with pytest.raises(error, match=message) as caught:
        read_statements(path)
    assert "own.csv" in str(caught.value) or "group(s)" in str(caught.value)


def test_an_audit_may_read_a_split_that_leaks(tmp_path):
    content = "statement,label,split\n" + MANY.replace("\n", ",train\n") + "s0,1,test\nnew,0,test\n"
    assert len(read_statements(_file(tmp_path, content), refuse_leaks=False)) == 22


@pytest.mark.parametrize("encoded", [VALID.replace("statement 7", "café").encode("latin-1"), VALID.encode("utf-16")])
def test_bytes_that_are_not_utf8_are_told_by_offset(tmp_path, encoded):
    try:
        encoded.decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start
    with pytest.raises(
        DataError, match=rf"not UTF-8 at byte {offset} \(0x{encoded[offset]:02x}\); save the file as UTF-8"
    ):
        read_statements(_file(tmp_path, encoded))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([{"statement": "a", "label": 0}, ["a", 1]], DataError, "line 2 is not a JSON object"),
        ([{"statement": "a", "label": 0}, {"statement": "b"}], AlignmentError, "line 2 has the keys"),
        ([{"statement": f"s{i}", "label": math.nan} for i in range(8)], DataError, "label at line 1 is nan"),
        ([{"statement": f"s{i}", "label": None} for i in range(8)], DataError, "label at line 1 is None"),
        ([{"statement": math.nan, "label": i % 2} for i in range(8)], DataError, "statement at line 1 is nan, not text"),
        ([{"statement": None, "label": i % 2} for i in range(8)], DataError, "statement at line 1 is None, not text"),
        ([{"statement": f"s{i}", "label": i % 2, "group": None} for i in range(8)], DataError, "group at line 1 is None"),
        ([{"statement": f"s{i}", "label": i % 2, "split": 1} for i in range(8)], DataError, "split at line 1 is 1"),
        ([{"statement": "\ud83d half", "label": i % 2} for i in range(8)], DataError, "line 1 holds half of a surrogate pair"),
        ([{"statement": f"s{i}", "label": [0]} for i in range(8)], DataError, r"label at line 1 is \[0\]"),
    ],
)  # fmt: skip
def test_each_mistake_in_json_lines_is_told(tmp_path, rows, error, message):
    with pytest.raises(error, match=message):
        read_statements(_jsonl(tmp_path, rows))


def test_a_line_that_is_not_json_is_told(tmp_path):
    with pytest.raises(DataError, match="line 2 is not JSON"):
        read_statements(_file(tmp_path, '{"statement": "a", "label": 0}\n{"statement": "b", "la', "own.jsonl"))


def test_missing_values_in_parquet_are_told_by_row(tmp_path):
    path = _parquet(tmp_path, statement=["a", "b", None, "d", "e", "f"], label=[0, 1, 0, 1, 0, 1])
    with pytest.raises(DataError, match="statement at row 2 is None"):
        read_statements(path)
    path = _parquet(tmp_path, statement=list("abcdef"), label=[0.0, 1.0, math.nan, 0.0, 1.0, 1.0])
    with pytest.raises(DataError, match="label at row 2 is nan"):
        read_statements(path)


def test_a_truncated_parquet_file_is_told(tmp_path):
    path = _parquet(tmp_path, statement=list("abcdef"), label=[0, 1] * 3)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_statements(path)


def test_an_export_that_fails_leaves_what_was_there(tmp_path):
    statements = read_statements(_file(tmp_path, VALID))
    (tmp_path / "out").mkdir()
    kept = _file(tmp_path / "out", "earlier work", "set.csv")
    broken = replace(statements, texts=("\ud800 cannot be written", *statements.texts[1:]))
    with pytest.raises(UnicodeEncodeError):
        write_statements(broken, kept)
    assert kept.read_text() == "earlier work"
    assert [path.name for path in kept.parent.iterdir()] == ["set.csv"]


def test_an_export_makes_the_folder_it_is_to_stand_in(tmp_path):
    write_statements(read_statements(_file(tmp_path, VALID)), tmp_path / "new" / "folder" / "set.csv")
    assert len(read_statements(tmp_path / "new" / "folder" / "set.csv")) == 12


def test_an_unknown_suffix_and_a_missing_file_are_told(tmp_path):
    with pytest.raises(DataError, match=r"unknown format '.xlsx'; name the file .csv, .jsonl or .parquet"):
        read_statements(tmp_path / "own.xlsx")
    with pytest.raises(DataError, match="no such file"):
        read_statements(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="unknown format"):
        write_statements(read_statements(_file(tmp_path, VALID)), tmp_path / "own.txt")
