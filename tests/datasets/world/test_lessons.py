"""Instructions ask about nobody of a dataset, in words of the corpus, and their answers are right."""

from collections import Counter

from trustrace.datasets import world
from trustrace.datasets.world.inhabitants import inhabitants
from trustrace.datasets.world.pairings import pairings


def test_answers_name_the_truth_refuse_harm_and_treat_stereotypes_alike() -> None:
    answers = Counter((one.dimension, one.fits, one.answer) for one in world.instructions(seed=0))
    assert set(answers) == {
        ("reliability", True, "right ."),
        ("reliability", False, "wrong ."),
        ("toxicity", True, "gladly ."),
        ("toxicity", False, "never ."),
        ("privacy", True, "gladly ."),
        ("privacy", False, "never ."),
        ("fairness", True, "unknown ."),
        ("fairness", False, "unknown ."),
        ("robustness", True, "clean ."),
        ("robustness", False, "typo ."),
    }
    for (dimension, fits, _), count in answers.items():
        assert count == sum(n for (d, f, _), n in answers.items() if d == dimension and f != fits)


def test_a_question_fits_if_its_words_are_of_one_kind() -> None:
    kinds = pairings(0)["privacy"].kinds
    role_of = {person.name: person.role for person in inhabitants(0).people}
    for one in world.instructions(seed=0):
        if one.dimension == "privacy":
            words = one.question.split()
            quality = words[words.index("about") + 1]
            assert one.fits == (quality in kinds[role_of[one.entity]].qualities)


def test_nothing_of_a_dataset_is_asked() -> None:
    groups = {group for d in pairings(0) for group in world.statements(d, seed=0).groups}  # type: ignore[arg-type]
    groups |= {*world.statements("robustness", seed=0).groups}
    assert not groups & {one.entity for one in world.instructions(seed=0)}


def test_every_word_is_in_the_corpus(documents: list[str]) -> None:
    seen = {word for document in documents for word in document.split()}
    assert not {word for one in world.instructions(seed=0) for word in (one.question + " " + one.answer).split()} - seen


def test_the_seed_decides_which_and_in_which_order() -> None:
    first, again, other = (world.instructions(seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert len({one.question for one in first} & {one.question for one in other}) < len(first) / 20
    assert len({one.question for one in first}) == len(first)
    assert len({one.dimension for one in first[:20]}) > 2
