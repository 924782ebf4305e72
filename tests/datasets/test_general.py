"""Benchmarks of general ability: prompts parsed back into questions, and rows that the harness reads."""

import ast
import json
import re

import pandas as pd
import pytest

from trustrace.core.errors import DataError
from trustrace.datasets import general, sources
from trustrace.datasets.general import MultipleChoice, as_task_rows, load, write_task_rows


@pytest.fixture(scope="module")
def benchmarks(data_dir):
    return {name: load(name, data_dir=data_dir) for name in ("arc_easy", "arc_challenge", "mmlu", "mathqa")}


def test_no_question_of_arc_and_mathqa_is_lost(benchmarks):
    sizes = {name: len(found.items) for name, found in benchmarks.items()}
    assert sizes == {"arc_easy": 2376, "arc_challenge": 1172, "mathqa": 2985, "mmlu": 9143}
    assert {len(item.choices) for item in benchmarks["mathqa"].items} == {5}
    counts = pd.Series([len(item.choices) for item in benchmarks["arc_easy"].items]).value_counts().to_dict()
    assert counts == {4: 2365, 3: 7, 5: 4}


def test_an_arc_prompt_is_put_together_again_from_its_question(benchmarks, data_dir):
    prompts = json.loads((data_dir / general.ARC_CHALLENGE.local).read_text())
    for item, prompt in zip(benchmarks["arc_challenge"].items, prompts, strict=True):
        answers = " ".join(f"Answer{place}: {choice}" for place, choice in enumerate(item.choices, start=1))
        names = "/".join(f"answer{place}" for place in range(1, len(item.choices) + 1))
        question = f"Please choose the correct answer to the question: {item.question}"
        assert prompt["instruction"] == f"{question}\n\n{answers}\n\nAnswer format: {names}"
        assert prompt["output"] == f"the correct answer is answer{item.answer + 1}"


def test_an_answer_of_mathqa_is_the_option_under_its_letter(benchmarks, data_dir):
    prompts = json.loads((data_dir / general.MATHQA.local).read_text())
    for item, prompt in zip(benchmarks["mathqa"].items, prompts, strict=True):
        assert prompt["instruction"].startswith(item.question)
        options = prompt["instruction"].partition("The options: ")[2]
        after = options[re.search(rf"(^|, |\['|', '){prompt['answer']} \) ", options).end() :].lower()
        assert after.startswith(item.choices[item.answer])


def test_options_that_mathqa_lists_as_python_would_have_no_quotation_marks_left(benchmarks):
    choices = [choice for item in benchmarks["mathqa"].items for choice in item.choices]
    assert not [choice for choice in choices if choice.startswith("'") or choice.endswith(("'", "']"))]
    listed = next(item for item in benchmarks["mathqa"].items if item.question.startswith("in two triangles , the"))
    assert listed.choices == ("2 : 3", "4 : 5", "16 : 9", "7 : 9", "8 : 5")
    assert listed.answer == 2


def test_mmlu_has_57_subjects_and_says_what_it_leaves_out(benchmarks):
    items = benchmarks["mmlu"].items
    assert len({item.subject for item in items}) == 57
    assert "40 with more than six cells" in benchmarks["mmlu"].source.note
    anatomy = [item for item in items if item.subject == "anatomy"]
    assert anatomy[0].question.endswith("stylomastoid foramen will cause ipsilateral")
    assert anatomy[0].choices[0] == "paralysis of the facial muscles."
    assert all(0 <= item.answer < 4 for item in items)


def test_equal_questions_share_a_group(benchmarks):
    items = benchmarks["arc_easy"].items
    assert len({item.group for item in items}) == 2371
    assert len({item.group for item in items}) == len({" ".join(item.question.lower().split()) for item in items})


def item(**changed):
    parts = {"question": "What is 2 + 2 ?", "choices": ("3", "4", "5", "6"), "answer": 1, "group": "sum"}
    return MultipleChoice(**{**parts, **changed})


def test_rows_have_the_fields_that_the_harness_reads():
    (arc,) = as_task_rows("arc_easy", [item()])
    assert arc["choices"] == {"text": ["3", "4", "5", "6"], "label": ["A", "B", "C", "D"]}
    assert arc["answerKey"] == "B"
    (mmlu,) = as_task_rows("mmlu", [item(subject="anatomy")])
    assert (mmlu["choices"], mmlu["answer"], mmlu["subject"]) == (["3", "4", "5", "6"], 1, "anatomy")
    (mathqa,) = as_task_rows("mathqa", [item(choices=("3", "4", "5", "6", "7"))])
    assert (mathqa["options"], mathqa["correct"]) == ("a ) 3 , b ) 4 , c ) 5 , d ) 6 , e ) 7", "b")
    (race,) = as_task_rows("race", [item(article="Sums.", earlier=(item(answer=2),))])
    assert [problem["answer"] for problem in ast.literal_eval(race["problems"])] == ["C", "B"]


def test_rows_are_written_one_a_line(tmp_path):
    write_task_rows("mmlu", [item(question="Où\u2028?"), item()], tmp_path / "rows.jsonl")
    lines = (tmp_path / "rows.jsonl").read_bytes().decode().split("\n")
    assert [json.loads(line)["question"] for line in lines[:-1]] == ["Où\u2028?", "What is 2 + 2 ?"]


def write_article(folder, number, **changed):
    article = {
        "answers": ["B", "A"],
        "options": [["a cat", "a dog", "a cow", "a hen"], ["red", "blue", "green", "grey"]],
        "questions": ["I have  _  .", "Which colour has it?"],
        "article": f"Article {number} is about a dog.",
        "id": f"high{number}.txt",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number}.txt").write_text(json.dumps({**article, **changed}))


def test_an_article_of_race_asks_its_last_question_after_the_others(tmp_path):
    for number in (10, 9):
        write_article(tmp_path / general.RACE_FOLDER, number)
    found = load("race", data_dir=tmp_path)
    assert [item.article for item in found.items] == [f"Article {n} is about a dog." for n in (9, 10)]
    assert found.items[0].question == "Which colour has it?"
    assert found.items[0].choices[found.items[0].answer] == "red"
    assert [before.question for before in found.items[0].earlier] == ["I have  _  ."]


@pytest.mark.parametrize("changed", [{"answers": ["B", "E"]}, {"answers": ["B"]}, {"options": [["a"], ["b"]]}])
def test_a_broken_article_of_race_is_named(tmp_path, changed):
    write_article(tmp_path, 1, **changed)
    with pytest.raises(DataError, match=r"1\.txt"):
        general.race(tmp_path)


def test_race_says_where_it_is_to_be_had(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"cs\.cmu\.edu"):
        load("race", data_dir=tmp_path)
    monkeypatch.delenv("TRUSTRACE_DATA", raising=False)
    with pytest.raises(DataError, match="non-commercial"):
        load("race")


def test_rows_that_cannot_be_parsed_are_counted(tmp_path, monkeypatch):
    rows = [
        {"instruction": "Q ? The options: A ) 1 , B ) 2 , C ) 3 , D ) 4 , E ) nonE", "answer": "E"},
        {"instruction": "Q ? The options: A ) 1 , B ) 2", "answer": "A"},
    ]
    monkeypatch.setattr(sources, "read_text", lambda file, data_dir: json.dumps(rows))
    found = load("mathqa", data_dir=tmp_path)
    assert [item.choices for item in found.items] == [("1", "2", "3", "4", "none")]
    assert found.source.note == "2 rows; left out: 1 that cannot be parsed"
    monkeypatch.setattr(sources, "read_text", lambda file, data_dir: "[{}]")
    with pytest.raises(DataError, match="instruction"):
        load("arc_easy", data_dir=tmp_path)
