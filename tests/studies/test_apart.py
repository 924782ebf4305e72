"""Vectors are not made of what the steered model is asked."""

from pathlib import Path

import pytest

from tests.steering.examples import make_vector
from trustrace.core.errors import ConfigError
from trustrace.core.statements import LabelMeaning, Source, Statements
from trustrace.datasets import catalog
from trustrace.datasets.grouping import normalise
from trustrace.studies.abilities import TaskConfig, open_task
from trustrace.studies.apart import asked_by, require_unasked, without_asked
from trustrace.studies.settings import Settings


def test_a_development_group_that_holds_an_asked_text_leaves_and_test_rows_stay() -> None:
    statements = Statements(
        name="toy",
        dimension="custom",
        texts=("Q: Is fire hot? A: Yes.", "Q: is fire  HOT? A: No.", "other", "Q: Is fire hot? A: Maybe."),
        labels=(1, 0, 1, 0),
        groups=("a", "a", "b", "c"),
        splits=("train", "train", "validation", "test"),
        meaning=LabelMeaning(one="yes", zero="no", desired=1),
        source=Source(title="made here", licence="CC0"),
    )
    kept = without_asked(statements, ["Is fire hot?"])
    assert kept.texts == ("other", "Q: Is fire hot? A: Maybe.")


QUESTION = "Isn't it true, or so they say, that fire's hot?"


def made_of_one(text: str) -> Statements:
    return Statements(
        name="toy",
        dimension="custom",
        texts=(text, "Is water wet? It is."),
        labels=(1, 0),
        groups=("a", "b"),
        splits=("train", "train"),
        meaning=LabelMeaning(one="yes", zero="no", desired=1),
        source=Source(title="made here", licence="CC0"),
    )


@pytest.mark.parametrize(
    "mirror",
    [
        QUESTION.removesuffix("?"),
        QUESTION.replace("?", " ?"),
        QUESTION.replace("'", "\u2019"),
        QUESTION.replace(",", ""),
        QUESTION.replace("'", ""),
    ],
)
def test_a_mirror_of_an_asked_text_makes_no_vector(mirror: str) -> None:
    statements = made_of_one(f"Q: {mirror} A: Yes.")
    assert without_asked(statements, [QUESTION]).texts == ("Is water wet? It is.",)
    vector = make_vector()
    asked = {"truthfulqa": [QUESTION, "Is water dry?"], "confaide": ["Is fire cold?"]}
    with pytest.raises(ConfigError, match=r"made of 1 of the 2 texts that truthfulqa asks .*Isn't it true"):
        require_unasked(vector, statements, asked)
    require_unasked(vector, without_asked(statements, [QUESTION]), asked)


@pytest.mark.parametrize(
    ("dataset", "task"),
    [("reliability/defined", "truthfulqa_mc1"), ("privacy/defined", "confaide"), ("fairness/published", "stereoset")],
)
def test_no_question_of_the_paper_s_test_makes_a_vector(dataset: str, task: str, data_dir: Path) -> None:
    opened = open_task(
        TaskConfig(name=task), half="test", settings=Settings(data_dir=data_dir), seed=0, protocol="published"
    )  # type: ignore[arg-type]
    asked = asked_by(opened)
    statements = catalog.load(dataset, seed=0, data_dir=data_dir)
    kept = without_asked(statements, asked)
    development = [normalise(text) for text, split in zip(kept.texts, kept.splits, strict=True) if split != "test"]
    wanted = [normalise(text) for text in asked]
    assert len(kept) < len(statements)
    assert {0, 1} == {label for label, split in zip(kept.labels, kept.splits, strict=True) if split != "test"}
    assert not [text for text in development if any(one in text for one in wanted)]
