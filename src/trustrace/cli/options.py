"""Options that several commands share, each with one meaning everywhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trustrace.core.measurements import Protocol


class ProtocolName(StrEnum):
    """Conventions to measure under."""

    rigorous = "rigorous"
    published = "published"


Out = Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")]
OutOrUrl = Annotated[
    str, typer.Option("--out", "-o", help="Where the results go: a folder, or a URL (s3://bucket/run).")
]
RunOrUrl = Annotated[str, typer.Argument(help="A run folder, or the URL that a run is kept at.", metavar="RUN")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...; auto: a GPU where there is one; balanced: all.")]
BatchTokens = Annotated[
    int | None, typer.Option(min=1, help="Tokens in one forward pass; by default what suits the device.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="TRUSTRACE_DATA",
        help="A folder of the original data files; without it they are downloaded and verified.",
    ),
]
Seed = Annotated[int, typer.Option(help="The seed of every draw.")]
Sites = Annotated[
    list[str] | None,
    typer.Option("--site", help="embed, block_0, block_1 ... or final_norm; repeat it; all by default."),
]
Revision = Annotated[str | None, typer.Option(help="Which checkpoint of the source; the last by default.")]
StudyProtocol = Annotated[
    ProtocolName | None,
    typer.Option("--protocol", help="Which one, of a file that holds a study in both; rigorous by default."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the dataset, such as rate=0.05; repeat it."),
]


class EngineName(StrEnum):
    """Who does the work."""

    local = "local"
    ray = "ray"


class OrderName(StrEnum):
    """How a series is worked through."""

    coarse = "coarse"
    series = "series"


class PositionName(StrEnum):
    """How the tokens of a statement become one vector."""

    last = "last"
    first = "first"
    mean = "mean"
    max = "max"


class TruncationName(StrEnum):
    """What happens to statements that are longer than the context."""

    never = "never"
    left = "left"


class ModeName(StrEnum):
    """How an endpoint is asked."""

    chat = "chat"
    completions = "completions"


class UnitName(StrEnum):
    """What a strength of 1 means, as far as a vector itself knows."""

    distance = "distance"
    within_std = "within_std"
    projection_std = "projection_std"
    residual_norm = "residual_norm"
    one = "one"


class StrengthName(StrEnum):
    """What a strength of 1 means where a model is steered: one of a vector's own units, or the target's norm."""

    distance = "distance"
    within_std = "within_std"
    projection_std = "projection_std"
    residual_norm = "residual_norm"
    one = "one"
    target_norm = "target_norm"


def protocols_of(names: list[ProtocolName] | None) -> tuple[Protocol, ...]:
    """The protocols called `names`; ``rigorous`` where none is."""
    return tuple(name.value for name in names or [ProtocolName.rigorous])


def protocol_of(name: ProtocolName | None) -> Protocol | None:
    """The protocol called `name`."""
    return name.value if name else None


def parse_bytes(text: str | None) -> int | None:
    """``60GB`` becomes 60,000,000,000; units are B, kB, MB, GB and TB.

    Raises:
        ConfigError: it is no such amount.
    """
    import re

    from trustrace.core.errors import ConfigError

    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower(), re.ASCII)
    if match is None:
        raise ConfigError(f"{text}: expected an amount of bytes such as 60GB or 500MB")
    return int(float(match[1]) * 1000 ** " kmgt".index(match[2] or " "))


def parse_parameters(pairs: list[str] | None) -> dict[str, object]:
    """``rate=0.05`` becomes ``{"rate": 0.05}``; values are read as YAML.

    Raises:
        ConfigError: a pair has no ``=``.
    """
    import yaml

    from trustrace.core.errors import ConfigError

    for pair in pairs or []:
        if "=" not in pair:
            raise ConfigError(f"--set {pair}: expected KEY=VALUE, such as rate=0.05")
    return {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in pairs or [])}
