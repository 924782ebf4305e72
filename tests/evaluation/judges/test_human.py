"""What people said, as it is read from the public files."""

import json

import numpy as np
import pytest

from trustrace.core.errors import DataError
from trustrace.datasets.grouping import normalise
from trustrace.datasets.questions import truthfulqa_questions
from trustrace.evaluation.judges.human import FILES, _parsed, _without, read_human
from trustrace.evaluation.judges.judge import Answered, judge_prompt, question_key
from trustrace.evaluation.judges.references import same_answer


@pytest.fixture(scope="module")
def real(data_dir):
    return {aspect: read_human(aspect, data_dir=data_dir) for aspect in ("truth", "info")}


def line(prompt: str, completion: str = " yes") -> str:
    return json.dumps({"prompt": prompt, "completion": completion})


def test_a_line_is_read_into_question_answer_and_verdict_even_if_the_answer_goes_on_with_questions():
    text = "\n".join(
        [
            line("Q: Who?\nA: I.\nQ: Why?\nA: So.\nTrue:", " no"),
            line("Q: Who?\nA: \nTrue:"),
            line("Q: Who?\nA:\nTrue:"),
        ]
    )
    pairs, labels = _parsed("truth", text)
    assert pairs == [Answered("Who?", "I.\nQ: Why?\nA: So."), Answered("Who?", ""), Answered("Who?", "")]
    assert labels == [0, 1, 1]


@pytest.mark.parametrize(
    "bad", ["{", "[]", "3", line("Q: a\nA: b\nHelpful:"), line("Q: a\nA: b\nTrue:", " maybe"), "{}"]
)
def test_a_line_that_is_no_judgement_is_named(bad):
    with pytest.raises(DataError, match="line 2 is no judgement of truth"):
        _parsed("truth", line("Q: a\nA: b\nTrue:") + "\n" + bad)


@pytest.mark.parametrize(("aspect", "rows", "contradictory_prompts"), [("truth", 22434, 27), ("info", 22434, 49)])
def test_duplicates_and_contradictions_of_the_real_file_are_dropped_and_counted(
    data_dir, real, aspect, rows, contradictory_prompts
):
    found = real[aspect]
    assert len(found) + found.duplicates + found.contradictions == rows
    # An independent count: exact prompts with both verdicts, each at least two rows; differences of case and spaces add a few.
    verdicts = {}
    for text in (data_dir / FILES[aspect].local).read_text("utf-8").splitlines():
        row = json.loads(text)
        verdicts.setdefault(row["prompt"], set()).add(row["completion"])
    both = [prompt for prompt, said in verdicts.items() if len(said) == 2]
    assert len(both) == contradictory_prompts
    kept = {judge_prompt(pair, aspect) for pair in found.pairs}
    assert not kept & set(both)
    assert found.contradictions >= 2 * contradictory_prompts
    assert len({(normalise(pair.question), normalise(pair.answer)) for pair in found.pairs}) == len(found)


def test_splits_are_those_of_the_questions_that_steered_models_are_asked(data_dir, real):
    found = real["truth"]
    asked = {normalise(question.text): question for question in truthfulqa_questions(seed=0, data_dir=data_dir)}
    listed = [
        (asked[normalise(pair.question)].split, split)
        for pair, split in zip(found.pairs, found.splits, strict=True)
        if normalise(pair.question) in asked
    ]
    assert len(listed) > 18000
    assert all(theirs == ours for theirs, ours in listed)
    groups = {
        part: {group for group, split in zip(found.groups, found.splits, strict=True) if split == part}
        for part in ("train", "validation", "test")
    }
    assert not groups["test"] & (groups["train"] | groups["validation"])


def test_excluded_questions_and_their_near_copies_are_gone_and_counted(data_dir, real):
    everything = real["truth"]
    excluded = [question.text for question in truthfulqa_questions(seed=0, data_dir=data_dir)][:40]
    found = _without(everything, excluded)
    gone = {normalise(question) for question in excluded}
    assert not {normalise(pair.question) for pair in found.pairs} & gone
    groups = {
        group
        for pair, group in zip(everything.pairs, everything.groups, strict=True)
        if normalise(pair.question) in gone
    }
    assert not groups & set(found.groups)
    assert found.excluded == len(everything) - len(found) == sum(group in groups for group in everything.groups)


def test_excluding_everything_is_an_error(real):
    questions = {pair.question for pair in real["truth"].pairs}
    with pytest.raises(DataError, match="every question is excluded"):
        _without(real["truth"], tuple(questions))


def test_kinds_tell_answers_of_models_from_those_whose_verdict_follows_from_a_rule(real):
    for aspect, one in real.items():
        kinds = np.asarray(one.kinds)
        silent = kinds == "no_comment"
        assert silent.sum() > 600
        assert one.labels[silent].mean() == pytest.approx(1.0 if aspect == "truth" else 0.0, abs=0.01)
        assert all(
            same_answer(pair.answer) == "i have no comment"
            for pair, is_silent in zip(one.pairs, silent, strict=True)
            if is_silent
        )
    assert real["info"].labels[np.asarray(real["info"].kinds) == "reference"].mean() > 0.99


def test_columns_stay_together_when_rows_are_chosen(real):
    found = real["info"]
    rows = np.arange(len(found)) % 7 == 3
    chosen = found.where(rows)
    assert chosen.pairs == found.pairs[3::7]
    assert chosen.labels.tolist() == found.labels[3::7].tolist()
    assert (chosen.groups, chosen.kinds, chosen.splits) == (found.groups[3::7], found.kinds[3::7], found.splits[3::7])


def test_a_question_has_one_key_however_it_is_written():
    assert question_key("What  IS it?") == question_key("what is it?") != question_key("what was it?")
