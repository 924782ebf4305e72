"""The shipped datasets by name: five dimensions, each as published, as defined, and in the controlled world."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

from trustrace.core.config import Config
from trustrace.core.errors import ConfigError
from trustrace.core.statements import Statements
from trustrace.datasets import confaide, sst2, stereoset, toxigen, truthfulqa

Studied = Literal["reliability", "toxicity", "privacy", "fairness", "robustness"]
Form = Literal["published", "defined", "world"]
"""``published``: the paper's CSV, row for row. ``defined``: built from the original files with the label that the paper defines.
``world``: generated, with truth that is known exactly."""


_ORIGINALS: Mapping[Studied, str] = {
    "reliability": "TruthfulQA",
    "toxicity": "ToxiGen",
    "privacy": "ConfAIde and generated statements",
    "fairness": "StereoSet, inter-sentence",
    "robustness": "SST-2",
}
_TOLD_APART: Mapping[Studied, str] = {
    "reliability": "true and false answers",
    "toxicity": "benign and toxic statements",
    "privacy": "privacy violations and flows that violate none",
    "fairness": "stereotypes and anti-stereotypes",
    "robustness": "sentences with and without case typos",
}


class NoParameters(Config):
    """What a dataset without parameters takes: nothing."""


class WorldConfig(Config):
    """Which controlled world is asked about: the one whose corpus the model was trained on.

    Attributes:
        world: The seed of that corpus.
    """

    world: int = 0


def names() -> tuple[str, ...]:
    """Every shipped dataset, as ``<dimension>/<form>``."""
    return tuple(f"{dimension}/{form}" for form in get_args(Form) for dimension in get_args(Studied))


def describe(name: str) -> dict[str, Any]:
    """What the dataset called `name` is, as a row for a table, without reading it.

    Raises:
        ConfigError: there is no such dataset.
    """
    dimension, form = _parse(name)
    made_from = {
        "published": f"the paper's CSV ({_ORIGINALS[dimension]})",
        "defined": _ORIGINALS[dimension],
        "world": "the controlled world",
    }
    told_apart = "anti-stereotypes and unrelated sentences" if name == "fairness/published" else _TOLD_APART[dimension]
    defaults = parameters_of(name)().model_dump(mode="json")
    return {
        "name": name,
        "tells apart": told_apart,
        "made from": made_from[form],
        "parameters": ", ".join(f"{key}={value}" for key, value in defaults.items()),
    }


def parameters_of(name: str) -> type[Config]:
    """The configuration that the dataset called `name` takes as parameters.

    Raises:
        ConfigError: there is no such dataset.
    """
    dimension, form = _parse(name)
    if form == "world":
        return WorldConfig
    if form == "published":
        return NoParameters
    match dimension:
        case "reliability":
            return truthfulqa.TruthfulQAConfig
        case "toxicity":
            return toxigen.ToxiGenConfig
        case "privacy":
            return confaide.ConfAIdeConfig
        case "fairness":
            return stereoset.StereoSetConfig
        case "robustness":
            return sst2.SST2Config


def load(
    name: str, *, seed: int = 0, data_dir: Path | None = None, parameters: Mapping[str, Any] | None = None
) -> Statements:
    """The dataset called `name`.

    Args:
        name: One of :func:`names`.
        seed: The seed of the split, and of whatever else the dataset draws.
        data_dir: A folder of source files; ``TRUSTRACE_DATA`` names it if not given; what is in neither is downloaded.
        parameters: What :func:`parameters_of` lists; its defaults if not given.

    Raises:
        ConfigError: there is no such dataset, or a parameter is unknown or out of range.
        DataError: a source file cannot be had.
        IntegrityError: a source file differs from its recorded hash.
    """
    dimension, form = _parse(name)
    config = parameters_of(name).read(parameters or {}, where=f"parameters of {name}")
    match form:
        case "published":
            return _published(dimension, seed=seed, data_dir=data_dir)
        case "defined":
            return _defined(config, seed=seed, data_dir=data_dir)
        case "world":
            from trustrace.datasets import world

            return world.statements(dimension, seed=config.model_dump()["world"])


def _parse(name: str) -> tuple[Studied, Form]:
    if name not in names():
        nearest = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"there are {', '.join(names())}"
        raise ConfigError(f"unknown dataset {name!r}; {hint}")
    dimension, form = name.split("/")
    return cast("Studied", dimension), cast("Form", form)


def _published(dimension: Studied, *, seed: int, data_dir: Path | None) -> Statements:
    match dimension:
        case "reliability":
            return truthfulqa.published(seed=seed, data_dir=data_dir)
        case "toxicity":
            return toxigen.published(seed=seed, data_dir=data_dir)
        case "privacy":
            return confaide.published(seed=seed, data_dir=data_dir)
        case "fairness":
            return stereoset.published(seed=seed, data_dir=data_dir)
        case "robustness":
            return sst2.published(seed=seed, data_dir=data_dir)


def _defined(config: Config, *, seed: int, data_dir: Path | None) -> Statements:
    match config:
        case truthfulqa.TruthfulQAConfig():
            return truthfulqa.defined(config, seed=seed, data_dir=data_dir)
        case toxigen.ToxiGenConfig():
            return toxigen.defined(config, seed=seed, data_dir=data_dir)
        case confaide.ConfAIdeConfig():
            return confaide.defined(config, seed=seed, data_dir=data_dir)
        case stereoset.StereoSetConfig():
            return stereoset.defined(config, seed=seed, data_dir=data_dir)
        case sst2.SST2Config():
            return sst2.defined(config, seed=seed, data_dir=data_dir)
    raise ConfigError(f"{type(config).__name__} describes no shipped dataset")
