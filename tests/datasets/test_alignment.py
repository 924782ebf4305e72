import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trustrace.core.errors import AlignmentError, DataError
from trustrace.datasets.alignment import read_pairs

Rows = list[dict[str, Any]]


def own(n: int = 8) -> Rows:
    return [{"prompt": f"question {i}?", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(n)]


def written(folder: Path, rows: Rows, name: str = "pairs.jsonl") -> Path:
    path = folder / name
    content = "\n".join(json.dumps(row) for row in rows)
    match path.suffix:
        case ".gz":
            path.write_bytes(gzip.compress(content.encode()))
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case _:
            path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz", "pairs.parquet"])
def test_own_pairs_become_dialogues_with_the_chosen_answer_labelled_one(tmp_path: Path, name: str) -> None:
    statements = read_pairs(written(tmp_path, own(), name))
    assert statements.texts[:2] == (
        "Human: question 0?\n\nAssistant: good 0",
        "Human: question 0?\n\nAssistant: bad 0",
    )
    assert statements.labels == (1, 0) * 8
    assert statements.groups[:3] == ("question 0?", "question 0?", "question 1?")
    assert (statements.name, statements.dimension, statements.meaning.desired) == ("pairs", "custom", 1)


def safety(**changes: Any) -> dict[str, Any]:
    return {
        "prompt": "How?",
        "response_0": "like this",
        "response_1": "not at all",
        "is_response_0_safe": False,
        "is_response_1_safe": True,
        "better_response_id": 0,
        "safer_response_id": 1,
    } | changes


def test_the_safer_response_is_chosen_and_ties_are_counted(tmp_path: Path) -> None:
    rows = [
        *(safety(prompt=f"How {i}?") for i in range(6)),
        safety(safer_response_id=-1),
        safety(safer_response_id=None),
        safety(response_0=" NOT at all"),
        safety(safer_response_id=0),
    ]
    statements = read_pairs(written(tmp_path, rows))
    assert len(statements) == 12
    assert all(
        text.endswith("not at all") for text, label in zip(statements.texts, statements.labels, strict=True) if label
    )
    assert "10 pairs; dropped: 4 ties" in statements.source.note


def test_both_responses_may_be_unsafe_and_one_of_them_safer(tmp_path: Path) -> None:
    rows = [safety(prompt=f"{i}", safer_response_id=0, is_response_1_safe=False) for i in range(4)]
    assert len(read_pairs(written(tmp_path, rows))) == 8


def dialogue(question: str, chosen: str, rejected: str, middle: str = "") -> dict[str, Any]:
    start = f"\n\nHuman: {question}\n\nAssistant:{middle}"
    return {"chosen": f"{start} {chosen}", "rejected": f"{start} {rejected}"}


def test_dialogues_stay_whole_and_those_of_one_first_question_form_a_group(tmp_path: Path) -> None:
    rows = [
        dialogue("Hello?", "Hi.", "Go away."),
        dialogue("hello? ", "Yes.", "No.", middle=" Hi.\n\nHuman: Still there?\n\nAssistant:"),
        *(dialogue(f"Question {i}", "sure", f"never {i}") for i in range(6)),
    ]
    statements = read_pairs(written(tmp_path, rows, "hh.jsonl.gz"))
    assert statements.texts[0] == "Human: Hello?\n\nAssistant: Hi."
    assert statements.texts[2].endswith("Human: Still there?\n\nAssistant: Yes.")
    assert len(set(statements.groups[:4])) == 1
    assert statements.name == "hh"


def test_repeated_and_contradictory_answers_are_dropped_and_counted(tmp_path: Path) -> None:
    swapped = {"prompt": "question 1?", "chosen": "bad 1", "rejected": "good 1"}
    again = {"prompt": "Question 2?", "chosen": "GOOD 2", "rejected": "other"}
    statements = read_pairs(written(tmp_path, [*own(), swapped, again]))
    assert "1 repeated answers, 4 rows both chosen and rejected" in statements.source.note
    assert len(statements) == 20 - 5
    assert "question 1?" not in statements.groups


def test_pairs_of_one_prompt_never_straddle_the_split(tmp_path: Path) -> None:
    rows = [row | {"prompt": f"question {i % 5}"} for i, row in enumerate(own(60))]
    statements = read_pairs(written(tmp_path, rows), seed=3)
    sides = {(group, split) for group, split in zip(statements.groups, statements.splits, strict=True)}
    assert len(sides) == 5


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        ([], DataError, "holds no pairs"),
        ([{"question": "a", "answer": "b"}], AlignmentError, r"line 1 has the columns \['answer', 'question'\]"),
        ([*own(), {"prompt": "a", "chosen": "", "rejected": "b"}], DataError, "line 9: chosen is ''"),
        ([*own(), {"prompt": "a", "chosen": 3, "rejected": "b"}], DataError, "line 9: chosen is 3"),
        ([{"prompt": "a", "chosen": "\ud800", "rejected": "b"}], DataError, "surrogate"),
        ([{"prompt": "a", "chosen": "x", "rejected": "x"}], DataError, "none of 1 pairs"),
        ([safety(safer_response_id=7)], DataError, "safer_response_id is 7"),
        ([{"chosen": "Yes.", "rejected": "No."}], DataError, "share no question"),
        (
            [{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: c\n\nAssistant: b"}],
            DataError,
            "no question",
        ),
        (own(2), DataError, "cannot be split"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(
    tmp_path: Path, rows: Rows, kind: type[DataError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        read_pairs(written(tmp_path, rows))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", b"{", "line 1 is not JSON"),
        ("p.jsonl", b"[1]", "not a JSON object"),
        ("p.jsonl", b"\xff\xfe", "not UTF-8"),
        ("p.jsonl.gz", b"plain", "not a whole gzip file"),
        ("p.jsonl.gz", gzip.compress(b"{}" * 99, mtime=0)[:-9], "not a whole gzip file"),
        ("p.parquet", b"plain", "not a readable Parquet file"),
        ("p.csv", b"prompt", "unknown format"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        read_pairs(tmp_path / "absent.jsonl")


def test_the_harmless_test_set_is_read_whole(data_dir: Path) -> None:
    statements = read_pairs(data_dir / "originals/hh_rlhf/harmless-base_test.jsonl.gz")
    assert Counter(statements.labels) == {0: 2312, 1: 2312}
    assert len(set(statements.groups)) == 2177
    assert all(text.startswith("Human: ") and "\n\nAssistant:" in text for text in statements.texts)
    assert "0 ties, 0 repeated answers, 0 rows both chosen and rejected" in statements.source.note
