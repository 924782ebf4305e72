"""What a benchmark asks is found in a text by its words, and in texts that are about something else it is not found."""

from pathlib import Path
from typing import get_args

import pytest

from trustrace.core.draws import generator
from trustrace.datasets import catalog, lambada
from trustrace.datasets.general import Benchmark, load
from trustrace.datasets.overlap import FEW, NOTHING, RUN, Asked, Overlap, asked_in, words_of
from trustrace.evaluation.harness.definitions import local
from trustrace.evaluation.harness.tasks import GeneralAbility

LOCAL: tuple[Benchmark, ...] = ("arc_easy", "arc_challenge", "mmlu", "mathqa")


def retold(text: str) -> str:
    """As another mirror has it: other case, spacing and signs."""
    return "Instruction:  " + "  ".join(words_of(text)).upper() + " ?!"


@pytest.mark.parametrize("name", LOCAL)
def test_every_question_is_found_in_a_prompt_with_its_answer_whatever_its_signs(
    name: Benchmark, data_dir: Path
) -> None:
    items = GeneralAbility(name=name, data_dir=data_dir, limit=3).asks()
    known = load(name, data_dir=data_dir).items
    assert [(one.text, one.answer) for one in items] == [(one.question, one.choices[one.answer]) for one in known]
    index = Overlap.of(items)
    worded = [one for one in items if words_of(one.text)]
    assert len(worded) > 0.999 * len(items)
    assert all(index.is_in(f"{retold(one.text)}\nAnswer: {one.answer}") for one in worded[::5])
    long = [one for one in worded if len(words_of(one.text)) > FEW]
    assert all(index.is_in(f"Say: {one.text} I do not know.") for one in long[::5])


@pytest.mark.parametrize("name", ["arc_easy", "mathqa"])
def test_rows_of_the_harness_are_read_as_the_questions_are(name: Benchmark, data_dir: Path) -> None:
    """What comes from the hub goes through the harness; here local rows do."""
    questions = load(name, data_dir=data_dir)
    with local(questions) as defined:
        rows = {asked_in(name, row) for each in defined.tasks.values() for row in each.eval_docs}
    assert rows == set(GeneralAbility(name=name, data_dir=data_dir).asks())


def test_passages_of_lambada_are_found_in_part_and_in_either_print(data_dir: Path) -> None:
    index = Overlap.of(Asked(text=one) for one in lambada.passages(data_dir=data_dir))
    printed, plain = lambada.passages(data_dir=data_dir), lambada.passages("tokenised", data_dir=data_dir)
    assert all(index.is_in(" ".join(one.split()[-30:])) for one in printed[::50])
    assert all(index.is_in(one) for one in plain[::50])


def test_texts_about_something_else_hold_none_of_it(data_dir: Path) -> None:
    items = [item for name in LOCAL for item in GeneralAbility(name=name, data_dir=data_dir).asks()]
    index = Overlap.of([*items, *(Asked(text=one) for one in lambada.passages(data_dir=data_dir))])
    for dataset in ("reliability/defined", "privacy/defined"):
        assert not [text for text in catalog.load(dataset, seed=0, data_dir=data_dir).texts[::12] if index.is_in(text)]
    rng = generator(0, "shuffled")
    for item in items[::500]:
        words = words_of(item.text)
        if len(set(words)) > FEW:
            assert not index.is_in(" ".join(words[place] for place in rng.permutation(len(words))))


def test_a_short_question_counts_with_its_answer_alone() -> None:
    index = Overlap.of(
        [Asked(text="Which is a metal?", answer="Iron ore"), Asked(text="Which is a metal?", answer="tin")]
    )
    assert index.is_in("Q: which is a metal? A: TIN.")
    assert index.is_in("iron-ore ... Which is a metal?")
    assert not index.is_in("Which is a metal? Gold, or iron. The ore is gold.")
    assert not index.is_in("Iron ore. Which is, a ... metals?")


@pytest.mark.parametrize("length", [FEW + 1, RUN - 1, RUN, RUN + 7])
def test_a_longer_question_needs_no_answer_and_the_longest_not_all_its_words(length: int) -> None:
    words = [f"w{place}" for place in range(length)]
    index = Overlap.of([Asked(text=" ".join(words), answer="never there")])
    enough = min(length, RUN)
    assert index.is_in("so " + " ".join(words[-enough:]) + " on")
    assert not index.is_in("so " + " ".join(words[-enough + 1 :]) + " on")


def test_nothing_is_in_no_text_and_an_item_without_words_is_in_none() -> None:
    assert not NOTHING.is_in("anything at all")
    assert not Overlap.of([Asked(text="?!"), Asked(text="")]).is_in("?! ?!")


def test_an_article_of_race_is_what_is_looked_for(tmp_path: Path) -> None:
    folder = tmp_path / "general" / "race" / "test" / "high"
    folder.mkdir(parents=True)
    article = "Once a fox met a crow on the road to the old mill beside the river in spring."
    row = f'{{"article": "{article}", "questions": ["Who?"], "options": [["a", "b", "c", "d"]], "answers": ["A"], "id": "1"}}'
    (folder / "1.txt").write_text(row)
    index = Overlap.of(GeneralAbility(name="race", data_dir=tmp_path).asks())
    assert index.is_in(f"Read: {article} Who? a")
    assert not index.is_in("Who? a")
    assert "race" in get_args(Benchmark)
