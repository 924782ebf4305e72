"""Questions, prompts and scenarios stand where the labelled statements of the same source stand."""

from collections import Counter
from dataclasses import dataclass

import pandas as pd
import pytest

from trustrace.core.errors import DataError
from trustrace.datasets import catalog, confaide, questions
from trustrace.datasets.grouping import normalise, runs

SEEDS = (7,)


@pytest.fixture(scope="module", params=(0, *SEEDS))
def asked(request, data_dir):
    return request.param, questions.truthfulqa_questions(seed=request.param, data_dir=data_dir)


def test_a_question_stands_in_the_group_and_split_of_its_statements(asked, data_dir):
    seed, found = asked
    statements = catalog.load("reliability/defined", seed=seed, data_dir=data_dir)
    places = {question.text: (question.group, question.split) for question in found}
    for text, group, split in zip(statements.texts, statements.groups, statements.splits, strict=True):
        assert places[text.removeprefix("Q: ").split("\nA: ")[0]] == (group, split)


def test_both_halves_are_asked_and_no_group_is_in_both(asked):
    found = asked[1]
    development, test = (questions.in_half(found, half) for half in ("development", "test"))
    assert len(development) + len(test) == 817
    assert min(len(development), len(test)) > 350
    assert not {question.group for question in development} & {question.group for question in test}


def test_answers_are_those_of_the_file(asked, data_dir):
    original = pd.read_csv(data_dir / "originals/truthfulqa/TruthfulQA_v0.csv")
    for question, row in zip(asked[1], original.itertuples(), strict=True):
        assert question.text == " ".join(row.Question.split())
        assert normalise(question.best).rstrip(".") in {normalise(answer).rstrip(".") for answer in question.correct}
        assert question.correct
        assert question.incorrect
        assert set(question.correct) <= {" ".join(answer.split()) for answer in row._5.split(";")}
        assert set(question.incorrect) <= {" ".join(answer.split()) for answer in row._6.split(";")}
    assert len({question.category for question in asked[1]}) == 38


def test_no_answer_is_listed_as_both_true_and_false(asked):
    for question in asked[1]:
        both = [normalise(answer.rstrip(".")) for answer in (*question.correct, *question.incorrect)]
        assert len(both) == len(set(both))


def test_the_published_questions_are_the_papers_own(data_dir):
    found = questions.published_questions(data_dir=data_dir)
    assert [question.text for question in found] == [
        " ".join(text.split()) for text in pd.read_csv(data_dir / "paper/truthfulqa_test.csv")["Question"]
    ]
    assert [question.text for question in found if not question.correct] == ["Are all plants plants?"]
    assert {question.split for question in found} == {"test"}


@pytest.mark.parametrize("seed", SEEDS)
def test_toxigen_prompts_stand_where_their_statements_stand(seed, data_dir):
    statements = catalog.load("toxicity/defined", seed=seed, data_dir=data_dir)
    found = questions.toxigen_prompts(seed=seed, data_dir=data_dir)
    assert [(prompt.text, prompt.group, prompt.split) for prompt in found] == [
        *zip(statements.texts, statements.groups, statements.splits, strict=True)
    ]
    assert [prompt.toxic for prompt in found] == [label == 0 for label in statements.labels]
    assert all(prompt.about for prompt in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_demonstration_that_repeats_a_development_statement_is_never_a_test_prompt(seed, data_dir):
    statements = catalog.load("toxicity/defined", seed=seed, data_dir=data_dir)
    seen = {
        run
        for text, split in zip(statements.texts, statements.splits, strict=True)
        if split != "test"
        for run in runs(text)
    }
    found = questions.toxigen_prompts("demonstrations", seed=seed, data_dir=data_dir)
    development, test = (questions.in_half(found, half) for half in ("development", "test"))
    assert not [prompt for prompt in test if seen & set(runs(prompt.text))]
    assert [prompt for prompt in development if seen & set(runs(prompt.text))]
    assert not {prompt.group for prompt in development} & {prompt.group for prompt in test}
    assert len(found) == 587
    assert Counter(prompt.toxic for prompt in found)[True] > 250
    assert 0.4 < len(test) / len(found) < 0.6
    assert {"lgbtq", "black", "native american"} <= {prompt.about for prompt in found}


def test_the_published_prompts_begin_the_second_half_of_the_papers_file(data_dir):
    found = questions.published_toxigen_prompts(data_dir=data_dir)
    original = pd.read_csv(data_dir / "paper/toxigen.csv")
    assert [prompt.text for prompt in found] == original["statement"][3257:3757].tolist()
    assert [prompt.toxic for prompt in found] == (original["label"][3257:3757] == 1).tolist()


# An ambiguous scenario links development and test statements for the first two of these seeds, and for none of the others.
@pytest.mark.parametrize(("seed", "bridges"), [(0, 1), (1, 1), (2, 0), (7, 0)])
def test_a_scenario_stands_in_the_half_of_its_statements_and_no_group_in_both(seed, bridges, data_dir):
    statements = catalog.load("privacy/defined", seed=seed, data_dir=data_dir)
    places = dict(zip(statements.texts, statements.splits, strict=True))
    found = questions.rated_scenarios(seed=seed, data_dir=data_dir)
    told = confaide.scenarios(data_dir=data_dir)
    ratings = {text: scenario.rating for scenario in told for text in (scenario.sentence, scenario.story)}
    assert len(found) == len(ratings) - 2 * bridges
    assert [scenario.rating for scenario in found] == [ratings[scenario.text] for scenario in found]
    assert {text for text in ratings if text in places} <= {scenario.text for scenario in found}
    tested, development = (questions.in_half(found, half) for half in ("test", "development"))
    assert {places.get(scenario.text, "test") for scenario in tested} == {"test"}
    assert "test" not in {places.get(scenario.text) for scenario in development}
    assert not {scenario.group for scenario in tested} & {scenario.group for scenario in development}
    assert min(len(tested), len(development)) > 60


def words_of_stories(scenarios):
    # The sentences' template puts all of them together; they are told apart by their settings.
    return {
        run
        for scenario in scenarios
        if not scenario.text.startswith("Information about")
        for run in runs(scenario.text)
    }


@pytest.mark.parametrize("seed", [0, 1, *SEEDS])
def test_no_rated_story_of_one_half_repeats_a_statement_or_story_of_the_other(seed, data_dir):
    statements = catalog.load("privacy/defined", seed=seed, data_dir=data_dir)
    seen = {
        half: {
            run
            for text, split in zip(statements.texts, statements.splits, strict=True)
            if (split == "test") == (half == "test") and not text.startswith("Information about")
            for run in runs(text)
        }
        for half in ("development", "test")
    }
    found = questions.rated_scenarios(seed=seed, data_dir=data_dir)
    tested, development = (words_of_stories(questions.in_half(found, half)) for half in ("test", "development"))
    assert not tested & (seen["development"] | development)
    assert not development & seen["test"]


@dataclass(frozen=True)
class Item:
    group: str
    split: str


ITEMS = tuple(Item(group=str(i), split=("train", "validation", "test")[i % 3]) for i in range(30))


def test_train_and_validation_rows_are_the_development_half():
    assert {item.split for item in questions.in_half(ITEMS, "development")} == {"train", "validation"}
    assert {item.split for item in questions.in_half(ITEMS, "test")} == {"test"}


def test_a_limit_draws_by_seed_and_keeps_the_order():
    drawn = questions.in_half(ITEMS, "development", limit=7, seed=3)
    assert drawn == questions.in_half(ITEMS, "development", limit=7, seed=3)
    assert drawn != questions.in_half(ITEMS, "development", limit=7, seed=4)
    assert [int(item.group) for item in drawn] == sorted(int(item.group) for item in drawn)
    assert len(set(drawn)) == 7
    assert len(questions.in_half(ITEMS, "test", limit=500)) == 10


def test_an_empty_half_is_refused():
    with pytest.raises(DataError, match="none of 1 items stands in the test half"):
        questions.in_half(ITEMS[:1], "test")
