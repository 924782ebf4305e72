"""Features against scikit-learn's own, and against the formulas written out."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from tests.evaluation.judges.examples import judgements, references
from trustrace.core.errors import MeasurementError
from trustrace.evaluation.judges.features import ANALYZERS, MIN_ROWS, Features, Terms, similarities
from trustrace.evaluation.judges.judge import Answered

TRAIN = ["the cat sat sat on the mat", "A cat!", "the dog sat", "", "on on on the dog"]
NEW = ["the the zebra sat", "nothing known", "", "cat mat"]


@pytest.mark.parametrize("block", ["answer_words", "answer_chars"])
def test_terms_equal_the_vectoriser_of_scikit_learn(block):
    library = TfidfVectorizer(**ANALYZERS[block], min_df=MIN_ROWS[block], sublinear_tf=True).fit(TRAIN)
    ours = Terms.fit(block, TRAIN)
    assert list(ours.vocabulary) == list(library.get_feature_names_out())
    np.testing.assert_allclose(ours.transform(NEW).toarray(), library.transform(NEW).toarray(), atol=1e-12)


def test_answers_without_terms_are_refused():
    with pytest.raises(MeasurementError, match="no term of answer_words occurs in 2 of them"):
        Terms.fit("answer_words", ["", "?"])
    with pytest.raises(MeasurementError, match="give it more"):
        Terms.fit("answer_words", ["one", "two"])


def test_similarity_is_the_largest_cosine_without_the_words_of_the_question():
    terms = Terms.fit(
        "answer_words",
        ["sleep in a burrow", "sing by the river", "they sleep", "they sing a lot", "in the river", "by a burrow"],
    )
    pairs = [Answered("What do bodans do at night?", "Bodans sleep in a river"), Answered("Unlisted?", "They sleep")]
    known = references()
    listed = known["what do bodans do at night?"]

    def vector(text):
        words = [word for word in text.lower().split() if word not in {"what", "do", "bodans", "at", "night"}]
        return terms.transform([" ".join(words)]).toarray()[0]

    answer = vector(pairs[0].answer)
    correct, incorrect = (
        max(float(vector(one) @ answer) for one in several) for several in (listed.correct, listed.incorrect)
    )
    assert correct != incorrect
    np.testing.assert_allclose(
        similarities(pairs, terms, known), [[correct, incorrect, correct - incorrect], [0, 0, 0]], atol=1e-12
    )


def test_numbers_are_standardised_by_the_training_rows_and_new_rows_by_the_same():
    human = judgements()
    features = Features.fit(human.pairs, references=references())
    numbers = features.transform(human.pairs).toarray()[:, -len(features.means) :]
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=1e-9)
    spread = numbers.std(axis=0)
    assert set(np.round(spread, 9)) <= {0.0, 1.0}
    alone = features.transform(human.pairs[:1]).toarray()
    np.testing.assert_allclose(alone[0], features.transform(human.pairs).toarray()[0], atol=1e-12)


def test_an_empty_answer_has_finite_features():
    features = Features.fit(judgements().pairs, references=None)
    assert np.isfinite(features.transform([Answered("", ""), Answered("Who?", "")]).toarray()).all()
