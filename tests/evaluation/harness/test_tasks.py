"""Benchmarks as tasks: which documents are asked, how they are graded, and what is said about them."""

import random
import sys

import numpy as np
import pytest
import torch

from tests.evaluation.harness.versions import random_model, stories, versions
from trustrace.core.errors import ConfigError, DataError, MissingExtraError
from trustrace.datasets import general
from trustrace.evaluation.harness.tasks import GeneralAbility
from trustrace.evaluation.harness.undisturbed import undisturbed
from trustrace.evaluation.outcomes import Task


def documents(outcome):
    return [sample["document"] for sample in outcome.samples]


@pytest.fixture(scope="module")
def mathqa(data_dir):
    return GeneralAbility(name="mathqa", limit=60, data_dir=data_dir).run(stories(data_dir))[0]


def test_a_benchmark_is_a_task():
    assert isinstance(GeneralAbility(name="race"), Task)


def test_numbers_of_a_real_model_are_as_they_were(data_dir, mathqa):
    """Measured with transformers 5.23 and lm-eval 0.4.13 on stories260K, whose answers are near chance."""
    arc = GeneralAbility(name="arc_easy", limit=60, data_dir=data_dir).run(stories(data_dir))[0]
    found = {
        (outcome.dataset, graded.quantity): graded.values.mean()
        for outcome in (mathqa, arc)
        for graded in outcome.graded
    }
    assert found == pytest.approx(GOLDEN)


GOLDEN = {
    ("mathqa", "accuracy"): 13 / 60,
    ("mathqa", "accuracy_normalised"): 11 / 60,
    ("arc_easy", "accuracy"): 16 / 60,
    ("arc_easy", "accuracy_normalised"): 23 / 60,
}


def test_what_is_shown_of_a_document_explains_its_grade(data_dir, mathqa):
    items = general.load("mathqa", data_dir=data_dir).items
    accuracy, by_length = mathqa.graded
    assert accuracy.quantity == "accuracy"
    for row, sample in enumerate(mathqa.samples):
        item = items[int(sample["document"].removeprefix("mathqa/"))]
        assert sample["prompt"] == f"Question: {item.question}\nAnswer:"
        assert sample["target"] == item.answer
        scores = np.array(sample["log_probabilities"])
        assert accuracy.values[row, 0] == (scores.argmax() == item.answer)
        if sample["choices"] == list(item.choices):
            lengths = [len(choice) for choice in item.choices]
            assert by_length.values[row, 0] == ((scores / lengths).argmax() == item.answer)
        assert accuracy.groups[row] == item.group


def test_a_smaller_limit_asks_some_of_the_same_documents(data_dir, mathqa):
    fewer = GeneralAbility(name="mathqa", limit=20, data_dir=data_dir).run(stories(data_dir))[0]
    other = GeneralAbility(name="mathqa", limit=20, seed=1, data_dir=data_dir).run(stories(data_dir))[0]
    assert len(documents(fewer)) == 20
    assert set(documents(fewer)) < set(documents(mathqa))
    assert set(documents(fewer)) != set(documents(other))
    grades = dict(zip(documents(mathqa), mathqa.graded[0].values[:, 0], strict=True))
    assert [grades[document] for document in documents(fewer)] == list(fewer.graded[0].values[:, 0])


def test_a_limit_of_mmlu_is_over_all_subjects_and_prompts_that_are_cut_are_counted(data_dir):
    outcome = GeneralAbility(name="mmlu", limit=25, data_dir=data_dir).run(stories(data_dir))[0]
    (accuracy,) = outcome.graded
    assert accuracy.values.shape == (25, 1)
    subjects = {sample["subject"] for sample in outcome.samples}
    assert 10 < len(subjects) <= 25
    for sample in outcome.samples:
        assert sample["choices"] == ["A", "B", "C", "D"]
        subject = sample["subject"].replace("_", " ")
        assert sample["prompt"].startswith(
            f"The following are multiple choice questions (with answers) about {subject}.\n\n"
        )
    tokenizer = stories(data_dir).tokenizer
    cut = sum(len(tokenizer(sample["prompt"]).input_ids) > 512 for sample in outcome.samples)
    assert f"{cut} of 25 documents lost the beginning of their prompt to fit 512 tokens" in accuracy.note


def test_race_is_asked_where_it_is_to_be_had(tmp_path):
    from tests.datasets.test_general import write_article

    for number in range(4):
        write_article(tmp_path / general.RACE_FOLDER, number)
    outcome = GeneralAbility(name="race", data_dir=tmp_path).run(random_model("llama", adds_bos=True))[0]
    assert [graded.quantity for graded in outcome.graded] == ["accuracy"]
    expected = "Article: Article 0 is about a dog.\n\nI have a dog\nWhich colour has it?"
    assert outcome.samples[0]["prompt"] == expected


def test_each_version_has_an_outcome_of_its_own(data_dir):
    task = GeneralAbility(name="arc_challenge", limit=12, data_dir=data_dir)
    model = stories(data_dir)
    (plain,) = task.run(model)
    with versions(model, [0.0, 3.0]) as several:
        unsteered, steered = task.run(several)
    assert documents(unsteered) == documents(steered) == documents(plain)
    np.testing.assert_array_equal(unsteered.graded[0].values, plain.graded[0].values)
    scores = [[sample["log_probabilities"] for sample in outcome.samples] for outcome in (plain, unsteered, steered)]
    for one, other, moved in zip(*scores, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
        assert not np.allclose(one, moved, atol=0.1)


def test_the_tokenizer_is_left_as_it_was_and_nothing_is_printed(data_dir, capfd):
    model = stories(data_dir)
    capfd.readouterr()
    GeneralAbility(name="arc_easy", limit=2, data_dir=data_dir).run(model)
    assert model.tokenizer.pad_token is None
    assert capfd.readouterr() == ("", "")


def test_random_states_are_left_as_they_were():
    before = random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    with undisturbed():
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
    assert before == (random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist())


def test_without_a_folder_the_data_sets_of_the_harness_are_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("TRUSTRACE_DATA", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(DataError, match="arc_easy: lm-evaluation-harness cannot load its data set"):
        GeneralAbility(name="arc_easy", limit=2).run(random_model("llama", adds_bos=True))


def test_a_limit_that_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        GeneralAbility(name="mmlu", limit=0)


def test_the_extra_is_named_where_the_harness_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingExtraError, match=r"trustrace\[eval\]"):
        GeneralAbility(name="race").run(random_model("llama", adds_bos=True))
