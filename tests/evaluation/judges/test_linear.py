"""The judge of our own: it learns what there is to learn, nothing where there is nothing, and survives the disk."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.evaluation.judges.examples import judgements, question_of, references
from trustrace.core.errors import DataError, IntegrityError, MeasurementError
from trustrace.evaluation.judges import linear_files
from trustrace.evaluation.judges.features import Features
from trustrace.evaluation.judges.judge import Answered, Judge, question_key, seen
from trustrace.evaluation.judges.linear import _calibration, train, training_rows


@pytest.fixture(scope="module")
def judge():
    return train(training_rows(judgements()), references=references(), folds=3)


def test_it_is_right_on_questions_that_it_has_not_seen_where_references_tell(judge):
    held_out = judgements().of("test")
    said = judge.probabilities(held_out.pairs)
    assert ((said > 0.5) == held_out.labels).mean() == 1.0
    assert isinstance(judge, Judge)


def test_it_is_at_chance_there_without_references_and_with_shuffled_labels():
    for human, known in ((judgements(), None), (judgements(shuffled=1), references())):
        judge = train(training_rows(human), references=known, folds=3)
        held_out = human.of("test")
        accuracy = ((judge.probabilities(held_out.pairs) > 0.5) == held_out.labels).mean()
        assert 0.2 <= accuracy <= 0.8
        # Where nothing is to be learned, calibration takes the certainty back.
        assert np.abs(judge.probabilities(held_out.pairs) - 0.5).max() < 0.35


def test_it_says_which_questions_it_learned_from(judge):
    human = judgements()
    assert judge.trained_on == {question_key(pair.question) for pair in human.of("train").pairs}
    questions = [human.pairs[0].question, human.pairs[-1].question, human.pairs[0].question.upper()]
    assert seen(judge, questions).tolist() == [True, False, True]


def test_reference_answers_themselves_are_not_learned_from():
    human = judgements()
    marked = replace(human, kinds=tuple("reference" if place % 4 == 0 else "model" for place in range(len(human))))
    assert train(marked.of("train"), references=references(), folds=3).n == 48


def test_the_probability_is_the_calibrated_regression_on_the_features(judge):
    held_out = judgements().of("test")
    features = judge.features.transform(held_out.pairs).toarray()
    log_odds = [judge.slope * (float(row @ judge.weights) + judge.bias) + judge.intercept for row in features]
    expected = [np.exp(value) / (1 + np.exp(value)) for value in log_odds]
    np.testing.assert_allclose(judge.probabilities(held_out.pairs), expected, rtol=1e-9)
    human = judgements().of("train")
    again = LogisticRegression(C=judge.regulariser, solver="lbfgs", max_iter=5000, tol=1e-8).fit(
        Features.fit(human.pairs, references=references()).transform(human.pairs).toarray(), human.labels
    )
    np.testing.assert_allclose(judge.weights, again.coef_[0], atol=2e-3)


def test_calibration_undoes_a_known_distortion():
    rng = np.random.default_rng(0)
    true = rng.normal(size=20000) * 2
    labels = (rng.random(20000) < 1 / (1 + np.exp(-true))).astype(np.int64)
    slope, intercept = _calibration(true * 3 - 1.5, labels)
    assert slope == pytest.approx(1 / 3, rel=0.05)
    assert intercept == pytest.approx(0.5, abs=0.06)


def test_a_question_without_references_is_not_judged_by_a_judge_that_compares(judge):
    said = judge.probabilities([Answered("Who is it?", "I."), Answered(question_of("bodan"), "They sing")])
    assert np.isnan(said).tolist() == [True, False]
    assert len(judge.probabilities([])) == 0


def test_training_needs_both_verdicts_and_several_questions():
    human = judgements().of("train")
    with pytest.raises(MeasurementError, match="people affirmed 32"):
        train(human.where(human.labels == 1), references=None)
    with pytest.raises(MeasurementError, match="folds"):
        train(human.where(np.arange(len(human)) < 8), references=None)


def test_what_is_saved_judges_the_same_and_holds_no_pickle(judge, tmp_path, data_dir):
    plain = train(training_rows(judgements()), references=None, folds=3)
    linear_files.save(plain, tmp_path)
    loaded = linear_files.load(tmp_path)
    pairs = judgements().pairs
    np.testing.assert_array_equal(loaded.probabilities(pairs), plain.probabilities(pairs))
    assert (loaded.trained_on, loaded.n, loaded.home) == (plain.trained_on, plain.n, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["judge.json", "judge.safetensors"]
    folder = tmp_path / "second"
    folder.mkdir()
    linear_files.save(judge, folder)
    again = linear_files.load(folder, data_dir=data_dir)
    np.testing.assert_array_equal(
        replace(again, features=replace(again.features, references=references())).probabilities(pairs),
        judge.probabilities(pairs),
    )


def test_damage_is_noticed(tmp_path):
    linear_files.save(train(training_rows(judgements()), references=None, folds=3), tmp_path)

    def damaged(name):
        folder = tmp_path / name
        folder.mkdir()
        for path in tmp_path.glob("judge.*"):
            shutil.copy(path, folder)
        return folder, folder / "judge.json", folder / "judge.safetensors"

    folder, manifest, numbers = damaged("numbers")
    numbers.write_bytes(numbers.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match="train the judge again"):
        linear_files.load(folder)
    folder, manifest, numbers = damaged("gone")
    numbers.unlink()
    with pytest.raises(IntegrityError):
        linear_files.load(folder)
    folder, manifest, _ = damaged("vocabulary")
    values = json.loads(manifest.read_text())
    values["vocabulary"]["answer_words"].pop()
    manifest.write_text(json.dumps(values))
    with pytest.raises(IntegrityError, match="weights for"):
        linear_files.load(folder)
    folder, manifest, _ = damaged("format")
    manifest.write_text(json.dumps(values | {"format": "other"}))
    with pytest.raises(DataError, match="format 'other'"):
        linear_files.load(folder)
    manifest.write_text("not json")
    with pytest.raises(IntegrityError, match="not JSON"):
        linear_files.load(folder)
    with pytest.raises(DataError, match="holds no judge"):
        linear_files.load(tmp_path / "nowhere")
