"""A check against scikit-learn's scores, and judges whose worth is known beforehand."""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, log_loss, roc_auc_score

from tests.evaluation.judges.examples import judgements
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import AlignmentError, IntegrityError, MeasurementError
from trustrace.evaluation.endpoint import Endpoint
from trustrace.evaluation.judges.check import check, estimates, held_out
from trustrace.evaluation.judges.endpoint import EndpointJudge
from trustrace.evaluation.judges.judge import Judge, question_key
from trustrace.evaluation.judges.language_model import LanguageModelJudge
from trustrace.evaluation.judges.quality import FILE, as_json, quality_of, record_folder
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load
from trustrace.models.sources import open_source


@dataclass(frozen=True)
class Scripted:
    """Says what it is told to."""

    said: dict
    name: str = "scripted"
    aspect: str = "truth"
    trained_on: frozenset = frozenset()

    def probabilities(self, pairs, *, progress=None):
        return np.array([self.said[pair] for pair in pairs], dtype=np.float64)


def scripted(values, **changes):
    human = judgements()
    return Scripted(dict(zip(human.pairs, values, strict=True)), **changes)


@pytest.fixture
def noisy():
    """P(yes) near people's verdicts, some on the wrong side."""
    human = judgements()
    return 1 / (1 + np.exp(-(np.random.default_rng(5).normal(size=len(human)) + 1.2 * (human.labels - 0.3))))


def found(rows, dataset="truthfulqa_judged_truth/model", method="scripted"):
    return {row.quantity: row for row in rows if (row.dataset, row.method) == (dataset, method)}


def test_every_number_equals_that_of_scikit_learn(noisy):
    human = judgements()
    labels = human.labels
    numbers = {one.quantity: one.value for one in estimates("j", noisy, human)}
    assert numbers["accuracy"] == pytest.approx(((noisy > 0.5) == labels).mean())
    assert numbers["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, noisy > 0.5))
    assert numbers["auroc"] == pytest.approx(roc_auc_score(labels, noisy))
    assert numbers["log_loss"] == pytest.approx(log_loss(labels, noisy))
    assert numbers["brier"] == pytest.approx(brier_score_loss(labels, noisy))
    assert numbers["bias"] == pytest.approx((noisy > 0.5).mean() - labels.mean())
    assert numbers["probability_bias"] == pytest.approx(noisy.mean() - labels.mean())
    assert numbers["abstained"] == 0
    confidence, hits = np.maximum(noisy, 1 - noisy), (noisy > 0.5) == labels
    edges = [(confidence > b / 15) & (confidence <= (b + 1) / 15) for b in range(15)]
    ece = sum(abs((hits[rows] - confidence[rows]).sum()) for rows in edges) / len(labels)
    assert numbers["ece"] == pytest.approx(ece)


def test_intervals_hold_the_value_and_count_questions_not_answers(noisy):
    for one in estimates("j", noisy, judgements()):
        assert (one.n, one.n_groups) == (96, 24)
        assert one.lower <= one.value <= one.upper


def test_what_is_unreadable_is_counted_and_left_out(noisy):
    human = judgements()
    said = noisy.copy()
    said[::5] = np.nan
    numbers = {one.quantity: one for one in estimates("j", said, human)}
    assert numbers["abstained"].value == pytest.approx(np.isnan(said).mean())
    assert numbers["abstained"].n == 96
    kept = ~np.isnan(said)
    assert numbers["accuracy"].n == kept.sum()
    assert numbers["accuracy"].value == pytest.approx(((said[kept] > 0.5) == human.labels[kept]).mean())
    assert [one.quantity for one in estimates("j", np.full(96, np.nan), human)] == ["abstained"]


def test_plain_verdicts_have_no_log_loss_when_one_is_wrong():
    human = judgements()
    said = human.labels.astype(np.float64)
    said[0] = 1 - said[0]
    numbers = {one.quantity: one for one in estimates("j", said, human)}
    assert np.isnan(numbers["log_loss"].value)
    assert "certain" in numbers["log_loss"].note
    assert numbers["accuracy"].value == pytest.approx(95 / 96)


def test_a_judge_is_checked_on_questions_that_it_has_not_learned_from(noisy):
    human = judgements()
    known = frozenset(question_key(pair.question) for pair in human.pairs[:40])
    rows = held_out(scripted(noisy, trained_on=known), human)
    assert rows.tolist() == [False] * 40 + [True] * 56
    assert held_out(scripted(noisy), human).tolist() == [split == "test" for split in human.splits]


def test_a_perfect_judge_is_perfect_and_its_floors_are_not():
    human = judgements()
    outcome = check(scripted(0.1 + 0.8 * human.labels), human, draws=50)
    mine = found(outcome.rows)
    assert [mine[name].value for name in ("accuracy", "auroc", "bias")] == [1.0, 1.0, 0.0]
    majority, length = (found(outcome.rows, method=name) for name in ("majority", "answer length"))
    assert majority["auroc"].value == 0.5
    assert majority["accuracy"].value == pytest.approx(0.5)
    assert 0.2 < length["accuracy"].value < 0.8
    assert {row.role for row in outcome.rows if row.method != "scripted"} == {"floor"}
    assert outcome.quality.accuracy == 1.0
    assert outcome.quality.majority == majority["accuracy"].value
    assert isinstance(scripted(human.labels), Judge)


def test_a_coin_is_worth_nothing():
    human = judgements()
    outcome = check(scripted(np.random.default_rng(0).random(96)), human, draws=200)
    row = found(outcome.rows)["auroc"]
    assert row.lower < 0.5 < row.upper


def test_categories_and_kinds_have_rows_of_their_own(noisy):
    outcome = check(scripted(noisy), judgements(), draws=20)
    names = {row.dataset.removeprefix("truthfulqa_judged_truth") for row in outcome.rows}
    assert names == {"", "/model", "/category/Day"}


def test_a_limit_draws_so_many_answers(noisy):
    outcome = check(scripted(noisy), judgements(), limit=7, draws=20)
    assert found(outcome.rows)["accuracy"].n == 7


def test_the_wrong_aspect_and_nothing_to_check_on_are_errors(noisy):
    human = judgements()
    with pytest.raises(AlignmentError, match="judges info"):
        check(scripted(noisy, aspect="info"), human)
    everything = frozenset(question_key(pair.question) for pair in human.pairs)
    with pytest.raises(MeasurementError, match="0 of 96"):
        check(scripted(noisy, trained_on=everything), human)


def test_numbers_that_are_no_probabilities_are_refused(noisy):
    with pytest.raises(MeasurementError, match=r"1\.5 of an answer, which is no probability"):
        check(scripted(np.where(np.arange(96) == 70, 1.5, noisy)), judgements())


def test_a_judge_of_unknown_upbringing_says_so(noisy):
    human = judgements()

    class Stranger:
        name, aspect = "stranger", "truth"

        def probabilities(self, pairs, *, progress=None):
            return np.full(len(pairs), 0.4)

    assert "not known" in check(Stranger(), human, draws=10).quality.note
    assert "no judgement" in check(scripted(noisy), human, draws=10).quality.note


def test_quality_is_kept_beside_the_judge_and_found_again(noisy, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUSTRACE_CACHE", str(tmp_path))
    judge = scripted(noisy)
    assert quality_of(judge) is None
    quality = check(judge, judgements(), draws=20).quality
    record_folder(judge).mkdir(parents=True)
    (record_folder(judge) / FILE).write_text(as_json(quality))
    assert quality_of(judge) == quality
    assert quality_of(scripted(noisy, name="another")) is None
    assert "scripted agrees with people on" in quality.sentence
    (record_folder(judge) / FILE).write_text("[]")
    with pytest.raises(IntegrityError, match="judge check"):
        quality_of(judge)


def model_judge(commit: str) -> LanguageModelJudge:
    known = Checkpoint(family="folder", model="judge", revision="main", commit=commit)
    model = LanguageModel.of(tiny.build("gpt2"), tiny.tokenizer(), checkpoint=known)
    return LanguageModelJudge(model=model, aspect="truth", name="judge")


def remote_judge(host: str) -> EndpointJudge:
    return EndpointJudge(endpoint=Endpoint(base_url=f"http://{host}/v1", model="judge"), aspect="truth")


@pytest.mark.parametrize(("of", "first", "other"), [(model_judge, "a1", "b2"), (remote_judge, "here", "there")])
def test_another_judge_of_the_same_name_does_not_inherit_a_quality(noisy, tmp_path, monkeypatch, of, first, other):
    monkeypatch.setenv("TRUSTRACE_CACHE", str(tmp_path))
    judge = of(first)
    quality = check(scripted(noisy), judgements(), draws=20).quality
    record_folder(judge).mkdir(parents=True)
    (record_folder(judge) / FILE).write_text(as_json(quality))
    assert of(first).name == of(other).name
    assert quality_of(of(first)) == quality
    assert quality_of(of(other)) is None


def test_another_content_of_a_folder_of_the_same_name_does_not_inherit_a_quality(noisy, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUSTRACE_CACHE", str(tmp_path / "cache"))

    def opened(seed: int) -> LanguageModelJudge:
        tiny.save(tmp_path / "judge", "gpt2", seed=seed)
        source = open_source(str(tmp_path / "judge"))
        return LanguageModelJudge(model=load(source, source.checkpoints()[-1]), aspect="truth", name="judge")

    first, second, again = (record_folder(opened(seed)) for seed in (0, 1, 0))
    assert first == again != second
