"""The base of everything a user writes down: frozen, and strict about unknown keys."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from trustrace.core.errors import ConfigError

ConfigType = TypeVar("ConfigType", bound="Config")

SHOWN = 80
"""Characters of a wrong value that a message shows."""


class Config(BaseModel):
    """A frozen, hashable-by-content description of *what* is to be done; *where* (device, batch size, folders) never belongs in one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls: type[ConfigType], values: Mapping[str, Any], *, where: str) -> ConfigType:
        """Build from plain values.

        Args:
            values: What a YAML or JSON file holds.
            where: The file's name, for messages.

        Raises:
            ConfigError: a key is unknown (the nearest known key is suggested), missing, or holds a wrong value; all of them are listed.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            found = _causes([cast("dict[str, Any]", problem) for problem in error.errors()])
            problems = "\n".join(f"  {_explain(cls, problem)}" for problem in found)
            raise ConfigError(f"{where} is not a valid {cls.__name__}:\n{problems}") from None


def _causes(problems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The problems, less lists that are too short only because a wrong item does not count."""
    places = [problem["loc"] for problem in problems]

    def follows(problem: dict[str, Any]) -> bool:
        depth = len(problem["loc"])
        return problem["type"] == "too_short" and any(
            len(place) > depth and place[:depth] == problem["loc"] for place in places
        )

    return [problem for problem in problems if not follows(problem)]


def _explain(config: type[BaseModel], problem: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key{_suggestion(config, problem['loc'])}"
    if problem["type"] == "missing":
        return f"{place}: missing"
    said = problem["msg"].removeprefix("Value error, ")
    # What is wrong between several keys is said in full; their whole mapping adds nothing.
    is_of_several = problem["type"] == "value_error" and isinstance(problem["input"], Mapping)
    given = "" if is_of_several else f" (got {_abbreviated(problem['input'])})"
    return f"{place}{': ' if place else ''}{said}{given}"


def _abbreviated(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."


def _suggestion(config: type[BaseModel], location: tuple[str | int, ...]) -> str:
    known = sorted(_keys_at(config, location[:-1]))
    nearest = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean '{nearest[0]}'?" if nearest else f"; known keys: {', '.join(known)}"


def _keys_at(config: type[BaseModel], path: tuple[str | int, ...]) -> set[str]:
    """The keys that are allowed at `path`, followed through nested configs, lists and unions by name."""
    models: set[type[BaseModel]] = {config}
    for part in path:
        annotations = [model.model_fields[str(part)].annotation for model in models if str(part) in model.model_fields]
        if annotations:
            models = {nested for annotation in annotations for nested in _models_in(annotation)}
        elif any(model.__name__ == part for model in models):
            models = {model for model in models if model.__name__ == part}
    return {key for model in models for key in model.model_fields}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {nested for argument in getattr(annotation, "__args__", ()) for nested in _models_in(argument)}
