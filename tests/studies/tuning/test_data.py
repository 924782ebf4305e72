"""What is asked is not learned, whichever mirror of it an instruction file holds; what is not asked is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from trustrace.core.errors import DataError
from trustrace.datasets.overlap import NOTHING, Asked, Overlap, words_of
from trustrace.studies.abilities import Half, TaskConfig, open_task
from trustrace.studies.apart import asked_by
from trustrace.studies.settings import Settings
from trustrace.studies.tuning.config import InstructionData
from trustrace.studies.tuning.data import Lessons, all_asked_by, lessons_of

MIRRORS: dict[str, Callable[[str], str]] = {
    "as it stands": str,
    "no question mark": lambda text: text.rstrip("?"),
    "a space before the question mark": lambda text: text.replace("?", " ?"),
    "curly apostrophes and quotes": lambda text: text.replace("'", "\u2019").replace('"', "\u201c"),
    "no commas": lambda text: text.replace(",", ""),
    "no apostrophes": lambda text: text.replace("'", ""),
    "capitals and other spaces": lambda text: text.upper().replace(" ", "\n "),
}


@pytest.fixture(scope="module")
def settings(data_dir: Path) -> Settings:
    return Settings(device="cpu", data_dir=data_dir)


def questions(half: Half, settings: Settings) -> tuple[str, ...]:
    return asked_by(open_task(TaskConfig(name="truthfulqa_mc1"), half=half, settings=settings, seed=0))


@pytest.fixture(scope="module")
def asked(settings: Settings) -> Overlap:
    return all_asked_by([open_task(TaskConfig(name="truthfulqa_mc1"), half="test", settings=settings, seed=0)])


def learned(texts: tuple[str, ...], folder: Path, *, asked: Overlap, settings: Settings) -> Lessons:
    """Of an instruction file with a row for each text, and one that nobody asks."""
    rows = [{"prompt": f"Q: {text}\nA:", "answer": "I have no comment."} for text in texts]
    path = folder / "told.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "The dog", "answer": "barks"}]))
    return lessons_of(InstructionData(path=str(path)), asked=asked, settings=settings, seed=0)


@pytest.mark.parametrize("mirror", MIRRORS)
def test_no_test_question_is_learned_from_any_mirror(
    mirror: str, asked: Overlap, settings: Settings, tmp_path: Path
) -> None:
    texts = tuple(map(MIRRORS[mirror], questions("test", settings)))
    assert len(texts) == 408
    assert sum(len(words_of(text)) < 9 for text in texts) > 100, "short ones are found without an answer"
    lessons = learned(texts, tmp_path, asked=asked, settings=settings)
    assert [one.prompt for one in lessons.exchanges] == ["The dog"]
    assert lessons.left_out == 408
    assert len(learned(texts, tmp_path, asked=NOTHING, settings=settings).exchanges) == 409


def test_development_questions_are_learned(asked: Overlap, settings: Settings, tmp_path: Path) -> None:
    texts = questions("development", settings)
    lessons = learned(texts, tmp_path, asked=asked, settings=settings)
    assert lessons.left_out == 0
    assert len(lessons.exchanges) == len(texts) + 1 > 400


def test_a_question_that_an_answer_follows_without_a_space_is_found(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    path.write_text(json.dumps({"prompt": "is fire hot", "answer": "yes"}) + "\n")
    data = InstructionData(path=str(path))
    assert lessons_of(data, settings=settings, seed=0).left_out == 0
    with pytest.raises(DataError, match="all 1 hold what is asked"):
        lessons_of(data, asked=Overlap.of([Asked(text="Is fire hot?")]), settings=settings, seed=0)
