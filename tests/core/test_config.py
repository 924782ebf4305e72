import pytest
from pydantic import Field, field_validator, model_validator

from trustrace.core.config import Config
from trustrace.core.errors import ConfigError


class Probing(Config):
    folds: int = 5
    bootstrap: int = 1000


class Study(Config):
    name: str
    probing: Probing = Probing()
    parts: tuple[Probing, ...] = ()
    weights: tuple[float, ...] = Field((1.0,), min_length=1)
    title: int = 0

    @field_validator("weights")
    @classmethod
    def _they_are_apart(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(weights)) < len(weights):
            raise ValueError("weights must differ")
        return weights

    @model_validator(mode="after")
    def _name_is_no_title(self) -> "Study":
        if self.name == "title":
            raise ValueError("a study is not called 'title'")
        return self


def test_an_unknown_key_suggests_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"nmae: unknown key; did you mean 'name'\?"):
        Study.read({"name": "x", "nmae": "y"}, where="study.yaml")


def test_a_nested_unknown_key_is_placed_and_suggested_among_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"probing\.fold: unknown key; did you mean 'folds'\?"):
        Study.read({"name": "x", "probing": {"fold": 3}}, where="study.yaml")


def test_an_unknown_key_inside_a_list_is_placed_too() -> None:
    with pytest.raises(ConfigError, match=r"parts\.0\.bootstrp: unknown key; did you mean 'bootstrap'\?"):
        Study.read({"name": "x", "parts": [{"bootstrp": 3}]}, where="study.yaml")


def test_a_key_like_none_lists_what_is_known() -> None:
    with pytest.raises(ConfigError, match="known keys: bootstrap, folds"):
        Study.read({"name": "x", "probing": {"zzzz": 3}}, where="study.yaml")


def test_all_problems_are_told_at_once_with_the_file() -> None:
    with pytest.raises(ConfigError, match=r"(?s)study\.yaml.*name: missing.*probing\.folds: .*'many'"):
        Study.read({"probing": {"folds": "many"}}, where="study.yaml")


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Probing().folds = 3  # type: ignore[misc]


def problems(**values: object) -> str:
    with pytest.raises(ConfigError) as refused:
        Study.read(values, where="study.yaml")
    return str(refused.value).partition("valid Study:\n")[2]


def test_a_wrong_item_is_one_problem_not_also_a_list_that_is_too_short() -> None:
    assert problems(name="x", weights=["a"]).count("\n") == 0
    assert "weights.0" in problems(name="x", weights=["a"])
    assert "at least 1 item" in problems(name="x", weights=[])


def test_a_long_value_is_abbreviated_and_a_short_one_is_not() -> None:
    long = "x" * 500
    shown = problems(name="x", title=long)
    assert long[:60] in shown
    assert shown.endswith(" ...)")
    assert len(shown) < 200
    assert problems(name="x", title="seven").endswith("(got 'seven')")


def test_what_is_wrong_of_a_whole_study_is_said_without_the_study() -> None:
    assert problems(name="title", weights=[1.0, 2.0]) == "  a study is not called 'title'"
    assert problems(name="x", weights=[2.0, 2.0]) == "  weights: weights must differ (got [2.0, 2.0])"
