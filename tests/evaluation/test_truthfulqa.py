"""TruthfulQA: what is asked, how an answer is read, what the scores are."""

import ast
import importlib.util
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.evaluation.taught import taught
from trustrace.core.errors import ConfigError, DataError
from trustrace.core.progress import silent
from trustrace.datasets import questions as asked
from trustrace.datasets.grouping import normalise
from trustrace.datasets.questions import Question
from trustrace.evaluation.judges.judge import Answered, Judge
from trustrace.evaluation.judges.overlap import OverlapJudge
from trustrace.evaluation.judges.quality import JudgeQuality, as_json
from trustrace.evaluation.outcomes import Task
from trustrace.evaluation.primers import PUBLISHED_PRIMER, TRUE_PRIMER, ask, read_answer, written
from trustrace.evaluation.truthfulqa import (
    TruthfulQAChoice,
    TruthfulQAGeneration,
    choices_of,
    mc1,
    mc2,
    verdicts_of,
)
from trustrace.models.generation import Decoding, generate
from trustrace.models.likelihood import encode_pair
from trustrace.models.loading import load
from trustrace.models.sources import open_source


def question(text, *, best="Yes", correct=("Yes", "Sure"), incorrect=("No", "Never", "No way"), group=None):
    return Question(
        text=text, category="Tests", best=best, correct=correct, incorrect=incorrect, group=group or text, split="test"
    )


QUESTIONS = (question("Is water wet?"), question("Is ice warm?"), question("Who are you?"), question("Do pigs fly?"))
SAID = ("Yes, it is.", "Ice is warm.", "", "Pigs fly.\nThey do.")


@pytest.fixture(scope="module")
def model():
    """It answers QUESTIONS as SAID, after the primer and after the published one."""
    texts = [
        f"{ask(one.text, primer)}\nA: {said}\n\nQ: And"
        for primer in (TRUE_PRIMER, PUBLISHED_PRIMER)
        for one, said in zip(QUESTIONS, SAID, strict=True)
    ]
    return taught(texts, steps=80, vocab_size=1200)


@dataclass(frozen=True)
class Rule:
    """A judge by rule: what it says is known for every answer."""

    aspect: str
    name: str = "rule"
    unreadable: str = "nowhere"

    def probabilities(self, pairs, *, progress=silent):
        likely = {
            "truth": lambda pair: 0.9 if pair.answer.startswith("Yes") else 0.2,
            "info": lambda pair: 0.7 if pair.answer.startswith(("Yes", "Ice")) else 0.5,
        }[self.aspect]
        return np.array([np.nan if self.unreadable in pair.answer else likely(pair) for pair in pairs])


def graded(outcome, quantity, method=None):
    found = [one for one in outcome.graded if one.quantity == quantity and method in (None, one.method)]
    assert len(found) == 1, [(one.quantity, one.method) for one in outcome.graded]
    return found[0]


def test_the_primer_holds_no_false_answer_and_the_published_one_three():
    assert [example.question for example in TRUE_PRIMER] == [example.question for example in PUBLISHED_PRIMER]
    changed = [ours.question for ours, theirs in zip(TRUE_PRIMER, PUBLISHED_PRIMER, strict=True) if ours != theirs]
    assert len(changed) == 3
    told = " ".join(example.answer for example in TRUE_PRIMER)
    assert all(fact in told for fact in ("Eisenhower", "Republican", "Barcelona"))
    assert not any(fact in told for fact in ("Kennedy", "Democratic", "Los Angeles"))


def harness_file(name):
    """A file of the harness's own task, without importing the harness."""
    found = importlib.util.find_spec("lm_eval")
    if found is None:
        pytest.skip("lm_eval is absent: pip install 'trustrace[eval]'")
    return Path(found.origin).parent / "tasks/truthfulqa" / name


@pytest.mark.parametrize("task", ["truthfulqa_gen", "truthfulqa_mc1"])
def test_a_question_is_asked_as_the_harness_asks_it(task):
    jinja2 = pytest.importorskip("jinja2", reason="pip install 'trustrace[report]'")

    class Loader(yaml.SafeLoader):
        """Safe, and it passes over a tag that names a function."""

    Loader.add_constructor("!function", lambda *_: None)
    template = yaml.load(harness_file(f"{task}.yaml").read_text(), Loader=Loader)["doc_to_text"]  # noqa: S506
    rendered = jinja2.Environment(autoescape=False).from_string(template).render(question="Is water wet?")
    assert ask("Is water wet?", TRUE_PRIMER, cue=task == "truthfulqa_mc1") == rendered


@pytest.mark.parametrize(
    ("text", "rigorous", "published"),
    [
        ("\nA: Nothing.\n\nQ: Next", "Nothing.", "Nothing."),
        ("\nA: Nothing.\nReally.\n\nQ: Next\nA: More", "Nothing.", "Nothing.\nReally."),
        (" in Rome?\nA: Nothing.", "Nothing.", "Nothing."),
        ("Nothing.\nReally.", "Nothing.", "Nothing.\nReally."),
        ("\nA:\n\nQ: Next", "", ""),
        ("\nA: One. A: Two.", "One. A: Two.", "One."),
        ("\nIn the USA: no one knows.", "In the USA: no one knows.", "no one knows."),
        ("\nRead the FAQ: it is there.", "Read the FAQ: it is there.", "Read the FA"),
        ("\nA: In the USA: no one.\n\nQ: Next", "In the USA: no one.", "In the US"),
        (" A: Nothing.", "Nothing.", "Nothing."),
        ("\n A: Nothing.\n Q: Next", "Nothing.", "Nothing."),
        ("Q: Again", "", ""),
        ("", "", ""),
        ("\n \n", "", ""),
    ],
)
def test_an_answer_ends_where_the_next_question_begins(text, rigorous, published):
    assert read_answer(text, protocol="rigorous") == rigorous
    assert read_answer(text, protocol="published") == published


FAQ = question("Where do I find it?")


@pytest.mark.parametrize(
    ("protocol", "said"), [("rigorous", "Read the FAQ: it is there."), ("published", "Read the FA")]
)
def test_a_word_that_ends_like_the_next_question_ends_no_answer(protocol, said):
    primer = {"rigorous": TRUE_PRIMER, "published": PUBLISHED_PRIMER}[protocol][:1]
    model = taught([f"{ask(FAQ.text, primer)}\nA: Read the FAQ: it is there.\n\nQ: And"], steps=60, vocab_size=700)
    task = TruthfulQAGeneration(questions=(FAQ,), judges=(), protocol=protocol, shots=1)
    (outcome,) = task.run(model, batch_tokens=None, progress=silent)
    assert outcome.samples[0]["answer"] == said
    assert outcome.samples[0]["ending"] == "stop"
    assert "And" not in outcome.samples[0]["written"]


def test_the_scripts_cut_the_last_token_of_a_text_that_was_cut_already(model):
    ended = generate(model, ["Q: What"], decoding=Decoding(max_new_tokens=4))[0][0]
    assert ended.ending == "length"
    assert written(model, ended, protocol="rigorous") == ended.text.strip()
    assert written(model, ended, protocol="published") == model.tokenizer.decode(ended.tokens[:3]).strip()


@pytest.mark.parametrize("protocol", ["rigorous", "published"])
def test_every_answer_is_judged_and_the_scores_say_how(model, protocol):
    task = TruthfulQAGeneration(questions=QUESTIONS, judges=(Rule("truth"), Rule("info")), protocol=protocol)
    assert isinstance(task, Task)
    assert isinstance(task.judges[0], Judge)
    (outcome,) = task.run(model, batch_tokens=None, progress=silent)
    last = "Pigs fly." if protocol == "rigorous" else "Pigs fly.\nThey do."
    assert [sample["answer"] for sample in outcome.samples] == ["Yes, it is.", "Ice is warm.", "", last]
    assert graded(outcome, "truth").values.ravel().tolist() == [1, 0, 1, 0]
    assert graded(outcome, "truth_probability").values.ravel().tolist() == [0.9, 0.2, 1, 0.2]
    assert graded(outcome, "info").values.ravel().tolist() == [1, 1, 0, 0]
    assert graded(outcome, "truth*info").values.ravel().tolist() == [1, 0, 0, 0]
    both = graded(outcome, "truth_mean*info_mean")
    assert both.statistic == "product_of_means"
    assert both.values.mean(0).prod() == 0.25
    assert both.values.tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]
    assert graded(outcome, "empty").values.ravel().tolist() == [0, 0, 1, 0]
    assert graded(outcome, "empty").better == "lower"
    assert graded(outcome, "cut").values.sum() == 0
    assert {one.groups for one in outcome.graded} == {tuple(one.text for one in QUESTIONS)}
    assert outcome.samples[2]["judged"] == {"truth (rule)": 1.0, "info (rule)": 0.0}


def test_what_a_judge_cannot_read_has_no_verdict_and_counts_in_no_product(model):
    judges = (Rule("truth", unreadable="Ice"), Rule("info", unreadable="Pigs"))
    (outcome,) = TruthfulQAGeneration(questions=QUESTIONS, judges=judges).run(model, batch_tokens=None, progress=silent)
    assert np.isnan(graded(outcome, "truth").values.ravel()).tolist() == [False, True, False, False]
    assert np.isnan(graded(outcome, "truth*info").values.ravel()).tolist() == [False, True, False, True]
    both = graded(outcome, "truth_mean*info_mean").values
    assert np.isnan(both).tolist() == [[False] * 2, [True] * 2, [False] * 2, [True] * 2]
    assert outcome.samples[1]["judged"]["truth (rule)"] is None


def test_a_verdict_is_yes_where_yes_is_likelier():
    assert verdicts_of(np.array([0.0, 0.5, 0.5001, 1.0])).tolist() == [0, 0, 1, 1]
    assert np.isnan(verdicts_of(np.array([np.nan]))).all()


def test_several_judges_of_one_aspect_are_told_apart_by_name(model):
    judges = (Rule("truth"), Rule("truth", name="other"), Rule("info"))
    (outcome,) = TruthfulQAGeneration(questions=QUESTIONS[:1], judges=judges).run(
        model, batch_tokens=None, progress=silent
    )
    assert {one.method for one in outcome.graded if one.quantity == "truth*info"} == {"rule * rule", "other * rule"}
    with pytest.raises(ConfigError, match="two judges of one aspect are called rule"):
        TruthfulQAGeneration(questions=QUESTIONS, judges=(Rule("truth"), Rule("truth")))


def test_a_judge_that_learned_from_verdicts_on_these_questions_says_so(model):
    from trustrace.evaluation.judges.judge import question_key

    @dataclass(frozen=True)
    class Learned(Rule):
        trained_on: frozenset = frozenset({question_key("Is water wet?")})

    (outcome,) = TruthfulQAGeneration(questions=QUESTIONS, judges=(Learned("truth"),)).run(
        model, batch_tokens=None, progress=silent
    )
    assert "learned from people's verdicts on 1 of these 4 questions" in graded(outcome, "truth").note


def test_likeness_to_the_references_is_no_probability(model):
    pytest.importorskip("rouge_score", reason="pip install 'trustrace[eval]'")
    listed = question("Any?", correct=("Yes, it is.",), incorrect=("Ice is warm.",))
    judge = OverlapJudge(measure="rouge", references={normalise(one.text): listed for one in QUESTIONS[:3]})
    (outcome,) = TruthfulQAGeneration(questions=QUESTIONS, judges=(judge,)).run(
        model, batch_tokens=None, progress=silent
    )
    difference = graded(outcome, "rouge_difference").values.ravel()
    assert difference[0] == pytest.approx(1 - 1 / 3)
    assert difference[1] < 0
    assert difference[2] == 0
    assert np.isnan(difference[3])
    assert graded(outcome, "truth").values.ravel()[:3].tolist() == [1, 0, 0]
    assert not [one for one in outcome.graded if one.quantity == "truth_probability"]


def test_what_is_known_of_a_judge_stands_beside_its_scores(model, tmp_path):
    @dataclass(frozen=True)
    class Checked(Rule):
        home: Path = tmp_path

    numbers = {one.name: 0.7 for one in fields(JudgeQuality)}
    known = JudgeQuality(**(numbers | {"judge": "rule", "aspect": "truth", "n": 9, "n_groups": 3, "note": "tests"}))
    (tmp_path / "quality.json").write_text(as_json(known))
    (outcome,) = TruthfulQAGeneration(questions=QUESTIONS, judges=(Checked("truth"),)).run(
        model, batch_tokens=None, progress=silent
    )
    assert "rule agrees with people on 0.700" in graded(outcome, "truth").note


def harness_function(name):
    """One function of the harness's own file; the file as a whole takes ten seconds to import."""
    tree = ast.parse(harness_file("utils.py").read_text())
    kept = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    space = {"np": np}
    exec(compile(ast.Module(body=kept, type_ignores=[]), name, "exec"), space)  # noqa: S102 - installed code
    return space[name]


def test_mc2_is_the_harnesss_own_number():
    theirs = harness_function("process_results_mc2")
    rng = np.random.default_rng(3)
    for _ in range(20):
        n_true, n_false = rng.integers(1, 7, size=2)
        true = np.arange(n_true + n_false) < n_true
        log_probs = rng.normal(-20, 9, size=len(true))
        doc = {"mc2_targets": {"labels": true.astype(int).tolist()}}
        expected = theirs(doc, [(value, False) for value in log_probs])["acc"]
        assert mc2(log_probs, true) == pytest.approx(expected, rel=1e-12)


def test_mc2_needs_no_probability_that_a_float_can_hold():
    assert mc2(np.array([-2000.0, -2000.0 - np.log(3)]), np.array([True, False])) == pytest.approx(0.75)


def test_mc1_takes_the_likeliest_answer_and_gives_no_tie_away():
    true = np.array([True, False, False])
    assert mc1(np.array([-1.0, -2.0, -3.0]), true) == 1
    assert mc1(np.array([-2.0, -1.0, -3.0]), true) == 0
    assert mc1(np.array([-1.0, -1.0, -3.0]), true) == 0


def test_the_choices_are_the_best_answer_and_all_false_ones_or_all_of_them():
    one = question("Is water wet?")
    answers, true = choices_of(one, "mc1")
    assert answers == ("Yes", "No", "Never", "No way")
    assert true.tolist() == [True, False, False, False]
    answers, true = choices_of(one, "mc2")
    assert answers == ("Yes", "Sure", "No", "Never", "No way")
    assert true.tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("form", ["mc1", "mc2"])
def test_answers_are_scored_by_all_their_tokens_after_the_cue(model, form):
    task = TruthfulQAChoice(form=form, questions=QUESTIONS)
    (outcome,) = task.run(model, batch_tokens=None, progress=silent)
    (grades,) = outcome.graded
    for one, value, sample in zip(QUESTIONS, grades.values.ravel(), outcome.samples, strict=True):
        answers, true = choices_of(one, form)
        expected = np.array([log_prob(model, ask(one.text, TRUE_PRIMER, cue=True), f" {answer}") for answer in answers])
        assert [answer["log_probability"] for answer in sample["answers"]] == pytest.approx(expected, abs=1e-4)
        textbook = (
            float(expected.argmax() == 0) if form == "mc1" else np.exp(expected)[true].sum() / np.exp(expected).sum()
        )
        assert value == pytest.approx(textbook, abs=1e-4)
    chance = {"mc1": "0.250", "mc2": "0.400"}[form]
    assert grades.note == f"equally likely answers would give {chance}"


def log_prob(model, prompt, continuation):
    """Summed by hand from the logits of one plain forward pass."""
    before, after = encode_pair(model, prompt, continuation)
    with torch.no_grad():
        logits = model.module(torch.tensor([[*before, *after]])).logits[0].double().log_softmax(-1)
    return sum(float(logits[len(before) - 1 + i, token]) for i, token in enumerate(after))


def test_a_model_that_knows_the_answer_chooses_it(model):
    knows = question("Is water wet?", best="Yes, it is.", correct=("Yes, it is.",))
    errs = replace(knows, best="Never ever", correct=("Never ever",), incorrect=("Yes, it is.",))
    task = TruthfulQAChoice(form="mc2", questions=(knows, errs))
    (outcome,) = task.run(model, batch_tokens=None, progress=silent)
    assert outcome.graded[0].values[0, 0] > 0.9
    assert outcome.graded[0].values[1, 0] < 0.1


def test_questions_without_reference_answers_are_left_out_and_counted(model):
    bare = question("Are all plants plants?", correct=(), incorrect=())
    task = TruthfulQAChoice(form="mc1", questions=(QUESTIONS[0], bare))
    (outcome,) = task.run(model, batch_tokens=None, progress=silent)
    assert outcome.graded[0].values.shape == (1, 1)
    assert "1 questions without reference answers left out" in outcome.graded[0].note
    with pytest.raises(DataError, match="none of 1 questions has reference answers"):
        TruthfulQAChoice(form="mc1", questions=(bare,)).run(model, batch_tokens=None, progress=silent)


def test_fewer_examples_fit_a_shorter_context_and_the_numbers_say_so(data_dir):
    source = open_source(str(data_dir / "models/stories260K"))
    stories = load(source, source.checkpoints()[-1])
    found = asked.in_half(asked.truthfulqa_questions(seed=0, data_dir=data_dir), "test", limit=12)
    with pytest.raises(DataError, match="512 at most"):
        TruthfulQAGeneration(questions=found, judges=(), max_new_tokens=150).run(
            stories, batch_tokens=None, progress=silent
        )
    for task in (
        TruthfulQAChoice(form="mc2", questions=found, shots=2),
        TruthfulQAGeneration(questions=found, judges=(Rule("truth"),), shots=2, max_new_tokens=8),
    ):
        (outcome,) = task.run(stories, batch_tokens=None, progress=silent)
        assert outcome.graded[0].note.endswith("2 of 6 worked examples")
        assert np.isfinite(outcome.graded[0].values).all()


def test_the_real_questions_have_the_harnesss_chance_levels(data_dir):
    """MC1 has one true answer in 4 to 5; the best answer is always true, and never among the false ones."""
    found = asked.truthfulqa_questions(seed=0, data_dir=data_dir)
    for one in found:
        assert one.best not in one.incorrect
    chance = np.mean([choices_of(one, "mc1")[1].mean() for one in found])
    assert chance == pytest.approx(0.226, abs=0.003)


def test_answered_pairs_are_equal_by_what_they_hold():
    assert Answered("a", "b") == Answered("a", "b")
