"""Overlap against the functions of lm-evaluation-harness."""

import builtins

import numpy as np
import pytest

from tests.evaluation.judges.examples import question_of, references
from trustrace.core.errors import MissingExtraError
from trustrace.evaluation.judges.judge import Answered, Judge
from trustrace.evaluation.judges.overlap import OverlapJudge
from trustrace.evaluation.judges.references import read_references

ANSWERS = (
    "They sleep in the burrow all night.",
    "They sing by a river and sleep.",
    "nothing of that",
    "",
    "I have no comment.",
)


@pytest.mark.parametrize("measure", ["bleu", "rouge"])
def test_differences_and_verdicts_equal_the_harness(measure):
    harness = pytest.importorskip("lm_eval.tasks.truthfulqa.utils", reason="install the extra eval")
    listed = references()[question_of("bodan").lower()]
    document = harness.preprocess_function(
        {"question": listed.text, "correct_answers": list(listed.correct), "incorrect_answers": list(listed.incorrect)}
    )
    judge = OverlapJudge(measure=measure, references=references())
    pairs = [Answered(listed.text, answer) for answer in ANSWERS]
    name, scale = ("bleu", 100) if measure == "bleu" else ("rouge1", 1)
    theirs = [harness.process_results_gen(document, [answer]) for answer in ANSWERS]
    if measure == "rouge":
        scale = 100
    np.testing.assert_allclose(
        judge.differences(pairs), [float(one[f"{name}_diff"]) / scale for one in theirs], atol=1e-9
    )
    assert (judge.probabilities(pairs) > 0.5).tolist() == [one[f"{name}_acc"] == 1 for one in theirs]
    assert isinstance(judge, Judge)


@pytest.mark.parametrize("measure", ["bleu", "rouge"])
def test_a_correct_reference_is_true_and_an_incorrect_one_is_not(measure, data_dir):
    known = dict(list(read_references(data_dir=data_dir).items())[:20])
    judge = OverlapJudge(measure=measure, references=known)
    right = judge.probabilities([Answered(one.text, f"{one.correct[0]}.") for one in known.values()])
    wrong = judge.probabilities([Answered(one.text, f"{one.incorrect[0]}.") for one in known.values()])
    assert (right > 0.5).mean() > 0.9
    assert right.max() <= 1
    assert wrong.min() >= 0
    assert (wrong > 0.5).mean() < 0.1


def test_a_question_without_references_is_not_judged():
    judge = OverlapJudge(measure="rouge", references=references())
    assert np.isnan(judge.probabilities([Answered("Unlisted?", "yes")])).all()


@pytest.mark.parametrize(("measure", "package"), [("bleu", "sacrebleu"), ("rouge", "rouge_score")])
def test_a_missing_package_is_named_with_its_extra(measure, package, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith(package):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"trustrace\[eval\]"):
        OverlapJudge(measure=measure, references={}).probabilities([])
