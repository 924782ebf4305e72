import pytest

from trustrace.core.config import Config
from trustrace.core.errors import ConfigError


class Probing(Config):
    folds: int = 5
    bootstrap: int = 1000


class Study(Config):
    name: str
    probing: Probing = Probing()
    parts: tuple[Probing, ...] = ()


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
