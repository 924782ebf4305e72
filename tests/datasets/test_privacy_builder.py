"""The privacy builder, with models that we play ourselves."""

import json
import os
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.errors import ConfigError, DataError, EndpointError
from trustrace.datasets.files import read_statements
from trustrace.datasets.grouping import normalise
from trustrace.datasets.journal import Entry, appending, read_journal
from trustrace.datasets.privacy_builder import build, plan
from trustrace.datasets.privacy_prompts import (
    PrivacyBuild,
    generation_requests,
    judgement_requests,
    read_statements_in,
    read_verdict,
)
from trustrace.datasets.solove import TAXONOMY

SMALL = PrivacyBuild(model="m", generations=2, statements_per_generation=2, judgements=3)
REQUESTS = 16 * 2 * 2
WRITTEN = 2 * REQUESTS


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch):
    """Waiting for the disk after every answer is for power cuts, which no test here plays."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@dataclass(frozen=True)
class Said:
    text: str
    prompt_tokens: int = 10
    completion_tokens: int = 5


class Model:
    """A model that writes numbered statements and judges them by the word it hid in them; `judge` may say otherwise."""

    def __init__(self, *, judge=None, write=None, backwards=False):
        self.asked, self.judge, self.write, self.backwards = [], judge, write, backwards

    def __call__(self, requests):
        places = range(len(requests))
        for place in reversed(places) if self.backwards else places:
            self.asked.append(requests[place])
            yield place, Said(self.answer(requests[place]))

    def answer(self, request):
        statement = request.prompt.partition("Statement: ")[2].partition("\n")[0]
        if request.kind == "judgement":
            verdict = "VIOLATION" if "secretly" in statement else "ACCEPTABLE"
            return self.judge(statement, request.repetition, verdict) if self.judge else verdict
        about = request.prompt.partition(", ")[2].partition(" (")[0]
        how = "secretly" if "describes a violation" in request.prompt else "openly"
        lines = [f"- In case {request.repetition} person {i} {how} does {about}." for i in range(2)]
        return self.write(lines) if self.write else "\n".join(lines)


def run(tmp_path, model, *, config=SMALL, out="set.csv"):
    return build(config, answer_all=model, journal=tmp_path / "journal.jsonl", out=tmp_path / out)


# What is asked.


def test_the_taxonomy_has_four_categories_and_sixteen_subcategories_with_two_to_six_examples_of_each_label():
    assert Counter(kind.category for kind in TAXONOMY) == {
        "Information collection": 2,
        "Information processing": 5,
        "Information dissemination": 7,
        "Invasion": 2,
    }
    assert len({kind.name for kind in TAXONOMY}) == 16
    examples = [example for kind in TAXONOMY for side in (kind.violations, kind.acceptable) for example in side]
    assert all(2 <= len(side) <= 6 for kind in TAXONOMY for side in (kind.violations, kind.acceptable))
    assert len({normalise(example) for example in examples}) == len(examples)


def test_every_request_shows_the_subcategory_and_its_examples_and_is_unlike_any_other():
    requests = generation_requests(SMALL)
    assert len(requests) == REQUESTS == len({request.key for request, _, _ in requests})
    for request, kind, label in requests:
        assert kind.description in request.prompt
        assert all(f"- {example}" in request.prompt for example in (kind.violations if label else kind.acceptable))
        assert not any(example in request.prompt for example in (kind.acceptable if label else kind.violations))


def test_judges_are_asked_without_being_told_what_was_asked_for():
    requests = judgement_requests(PrivacyBuild(model="m"), "A man reads a letter.")
    assert len(requests) == 5 == len({request.key for request in requests})
    assert len({request.prompt for request in requests}) == 1
    assert all(name.lower() not in requests[0].prompt.lower() for name in ("solove", "surveillance", "examples"))


def test_another_model_temperature_or_seed_makes_other_requests():
    keys = [
        generation_requests(SMALL.model_copy(update=change))[0][0].key
        for change in ({}, {"model": "n"}, {"temperature": 0.5})
    ]
    assert len(set(keys)) == 3


@pytest.mark.parametrize("wrong", [{"generations": 0}, {"judgements": 0}, {"temperature": 0}, {"modle": "m"}])
def test_a_build_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError):
        PrivacyBuild.read({"model": "m"} | wrong, where="test")


# What is read.


def test_statements_are_read_behind_dashes_bullets_and_numbers_and_talk_is_passed_over():
    talk = "Sure! Here are some:\n{}\n- short\nHope it helps you well"
    answer = talk.format("- One two three.\n* Four five six\n  2) Seven eight nine\n3. ten eleven twelve ")
    assert read_statements_in(answer) == ["One two three.", "Four five six", "Seven eight nine", "ten eleven twelve"]
    assert read_statements_in("I cannot help with that.") == []


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("VIOLATION", "violation"),
        (" violation.\n", "violation"),
        ("**ACCEPTABLE**", "acceptable"),
        ('"Acceptable"', "acceptable"),
        ("VIOLATION or ACCEPTABLE", "unparsed"),
        ("not a VIOLATION", "unparsed"),
        ("It depends.", "unparsed"),
        ("1", "unparsed"),
        ("", "unparsed"),
    ],
)
def test_a_verdict_is_one_of_two_words_and_nothing_is_guessed(answer, verdict):
    assert read_verdict(answer) == verdict


@given(st.text())
def test_no_text_breaks_the_readers(text):
    assert read_verdict(text) in ("violation", "acceptable", "unparsed")
    assert all(3 <= len(statement.split()) <= 60 for statement in read_statements_in(text))


# What is kept.


def test_a_build_with_unanimous_judges_keeps_every_statement_in_a_file_that_reads_back(tmp_path):
    model = Model()
    report = run(tmp_path, model)
    assert (report.generations, report.written, report.repeated, len(report.statements)) == (
        REQUESTS,
        WRITTEN,
        0,
        WRITTEN,
    )
    assert (report.unread, report.divided, report.contrary, report.unread_judgements) == (0, 0, 0, 0)
    assert (report.prompt_tokens, report.completion_tokens) == (len(model.asked) * 10, len(model.asked) * 5)
    back = read_statements(tmp_path / "set.csv", dimension="privacy")
    assert (back.texts, back.labels, back.groups) == (
        report.statements.texts,
        report.statements.labels,
        report.statements.groups,
    )
    assert all(label == ("secretly" in text) for text, label in zip(back.texts, back.labels, strict=True))


def test_each_label_is_asked_for_alike_and_one_request_never_straddles_a_group(tmp_path):
    statements = run(tmp_path, Model()).statements
    assert Counter(statements.labels) == {0: WRITTEN // 2, 1: WRITTEN // 2}
    assert len(set(statements.groups)) == 16 * 2


def test_one_dissenting_judge_drops_a_statement(tmp_path):
    def judge(statement, repetition, verdict):
        return "ACCEPTABLE" if "person 0" in statement and repetition == 2 else verdict

    report = run(tmp_path, Model(judge=judge))
    assert (report.divided, report.contrary, len(report.statements)) == (32, 0, WRITTEN - 32)


def test_an_unreadable_judgement_drops_a_statement_and_is_counted_not_guessed(tmp_path):
    def judge(statement, repetition, verdict):
        return "Hmm, hard to say" if "person 0" in statement and repetition < 2 else verdict

    report = run(tmp_path, Model(judge=judge))
    assert (report.unread_judgements, report.unread, report.divided, len(report.statements)) == (
        128,
        64,
        0,
        WRITTEN - 64,
    )


def test_judges_who_agree_on_the_opposite_of_what_was_asked_for_drop_a_statement(tmp_path):
    def judge(statement, repetition, verdict):
        return "VIOLATION" if "person 1 openly" in statement else verdict

    report = run(tmp_path, Model(judge=judge))
    assert (report.contrary, len(report.statements)) == (32, WRITTEN - 32)


def test_repeated_statements_and_copied_examples_are_judged_once_or_not_at_all(tmp_path):
    copied = TAXONOMY[0].violations[0]
    model = Model(write=lambda lines: "\n".join([*lines, lines[0].upper(), f"- {copied}"]))
    report = run(tmp_path, model)
    assert report.repeated == 2 * REQUESTS
    assert copied not in report.statements.texts
    assert sum(request.kind == "judgement" for request in model.asked) == 3 * WRITTEN


def test_a_refusal_to_write_is_an_unread_generation(tmp_path):
    model = Model(write=lambda lines: "I would rather not." if "surveillance" in lines[0] else "\n".join(lines))
    assert run(tmp_path, model).unread_generations == 4


def test_judges_who_answer_nonsense_leave_too_little_and_the_message_counts_why(tmp_path):
    with pytest.raises(DataError, match=r"0 statements .* dropped 128 with an unreadable judgement"):
        run(tmp_path, Model(judge=lambda *_: "dunno"))
    assert not (tmp_path / "set.csv").exists()


def test_an_unknown_format_is_refused_before_anything_is_paid_for(tmp_path):
    model = Model()
    with pytest.raises(DataError, match=r"unknown format '\.xlsx'"):
        run(tmp_path, model, out="set.xlsx")
    assert model.asked == []


def test_the_order_in_which_answers_arrive_changes_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    forwards, backwards = run(tmp_path / "a", Model()), run(tmp_path / "b", Model(backwards=True))
    assert forwards == backwards
    assert (tmp_path / "a/set.csv").read_bytes() == (tmp_path / "b/set.csv").read_bytes()


# Plan, journal, resume.


def test_the_plan_counts_what_the_build_then_asks_for(tmp_path):
    before = plan(SMALL, journal=tmp_path / "journal.jsonl")
    assert (before.generations, before.judgements, before.finished) == (REQUESTS, 3 * WRITTEN, 0)
    model = Model()
    run(tmp_path, model)
    assert len(model.asked) == before.generations + before.judgements
    sent = sum(len(request.prompt) for request in model.asked) / 4
    assert before.prompt_tokens == pytest.approx(sent, rel=0.3)
    after = plan(SMALL, journal=tmp_path / "journal.jsonl")
    assert (after.generations, after.judgements, after.finished, after.prompt_tokens) == (0, 0, len(model.asked), 0)


def test_the_cost_is_tokens_times_price(tmp_path):
    estimate = plan(SMALL, journal=tmp_path / "journal.jsonl")
    cost = estimate.cost(per_million_prompt_tokens=2.0, per_million_completion_tokens=8.0)
    assert cost == pytest.approx((estimate.prompt_tokens * 2 + estimate.completion_tokens * 8) / 1_000_000)


@pytest.mark.parametrize("killed_after", [0, 1, 63, 64, 65, 447])
def test_a_killed_build_repeats_no_answered_request_and_ends_with_the_same_file(tmp_path, killed_after):
    class Dying(Model):
        def __call__(self, requests):
            for answered in super().__call__(requests):
                if len(self.asked) > killed_after:
                    raise EndpointError("the server is gone")
                yield answered

    (tmp_path / "undisturbed").mkdir()
    whole = Model()
    run(tmp_path / "undisturbed", whole)
    first, second = Dying(), Model()
    with pytest.raises(EndpointError):
        run(tmp_path, first)
    assert len(read_journal(tmp_path / "journal.jsonl")) == killed_after
    run(tmp_path, second)
    assert len(second.asked) == len(whole.asked) - killed_after
    assert (tmp_path / "set.csv").read_bytes() == (tmp_path / "undisturbed/set.csv").read_bytes()


def entry(key: str, text: str = "yes") -> Entry:
    return Entry(key=key, kind="judgement", text=text, prompt_tokens=1, completion_tokens=1)


def test_a_line_that_a_kill_cut_short_is_passed_over_then_cut_off(tmp_path):
    path = tmp_path / "journal.jsonl"
    with appending(path) as append:
        append(entry("a"))
        append(entry("b", "line\u2028 break"))
    path.write_bytes(path.read_bytes()[:-7])
    assert set(read_journal(path)) == {"a"}
    with appending(path) as append:
        append(entry("c"))
    assert set(read_journal(path)) == {"a", "c"}
    assert all(json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1])


def test_the_first_of_two_answers_to_one_request_counts(tmp_path):
    with appending(tmp_path / "j") as append:
        append(entry("a", "first"))
        append(entry("a", "second"))
    assert read_journal(tmp_path / "j")["a"].text == "first"


@pytest.mark.parametrize("line", ["garbage", "[1]", '{"key": "a"}', "\xff"])
def test_a_finished_line_that_is_no_entry_is_an_error_that_names_it(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    with appending(path) as append:
        append(entry("a"))
    with path.open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    with pytest.raises(DataError, match=r"journal.jsonl: line 2 is no"):
        read_journal(path)


def test_a_journal_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"), appending(tmp_path / "file" / "journal.jsonl"):
        pass
