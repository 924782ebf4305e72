"""Which models a study looks at, and how large they are, without asking anybody."""

from dataclasses import dataclass

from trustrace.core.errors import ConfigError
from trustrace.models import shapes
from trustrace.models.known import known_checkpoints
from trustrace.models.selection import select
from trustrace.models.shapes import Shape
from trustrace.studies.config import CheckpointsConfig, EveryNth, LogSpaced
from trustrace.training.config import GivenTokenizer, PretrainConfig, context_length
from trustrace.training.schedule import save_steps

_VOCABULARIES = {"huggyllama/llama-7b": 32_000}
"""Entries of tokenizers that a pre-training file may name."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """A series of checkpoints.

    Attributes:
        shape: Of each.
        count: How many are looked at.
        is_fetched: Whether they come from the hub.
        note: Where the count is from.
    """

    shape: Shape
    count: int
    is_fetched: bool
    note: str


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What a user adds about a source that no table knows.

    Attributes:
        like: A repository of the same shape.
        made_by: The pre-training that makes it.
    """

    like: str | None = None
    made_by: PretrainConfig | None = None


def series_of(checkpoints: CheckpointsConfig, hints: Hints) -> Series:
    """The series that a study selects.

    Raises:
        ModelError: its shape is not known.
        ConfigError: it is not known how many checkpoints there are.
    """
    if hints.made_by is not None:
        steps = save_steps(hints.made_by.steps, hints.made_by.saves)
        count = len(steps) if checkpoints.select == "all" else _ruled(checkpoints)
        return Series(shape=trained_shape(hints.made_by), count=count, is_fetched=False, note="the schedule of saves")
    shape = shapes.of(hints.like or checkpoints.source)
    known = known_checkpoints(checkpoints.source)
    if known:
        chosen = select(known, checkpoints.how())
        return Series(shape=shape, count=len(chosen), is_fetched=True, note="what the suite is known to publish")
    return Series(shape=shape, count=_ruled(checkpoints), is_fetched=True, note="what the study asks for at most")


def trained_shape(config: PretrainConfig) -> Shape:
    """The shape of what a pre-training makes.

    Raises:
        ModelError: only the shape of a Llama is read from a pre-training file.
        ConfigError: the size of its tokenizer is not known.
    """
    tokenizer = config.tokenizer
    if not isinstance(tokenizer, GivenTokenizer):
        vocabulary = tokenizer.vocab_size
    elif tokenizer.path in _VOCABULARIES:
        vocabulary = _VOCABULARIES[tokenizer.path]
    else:
        raise ConfigError(
            f"tokenizer {tokenizer.path}: its size is not known here; give --like REPOSITORY in place of --made-by"
        )
    return shapes.of_architecture(config.architecture, vocabulary=vocabulary, context=context_length(config))


def _ruled(checkpoints: CheckpointsConfig) -> int:
    match checkpoints.select:
        case LogSpaced():
            return checkpoints.select.log_spaced
        case tuple():
            return len(checkpoints.select)
        case EveryNth() | str():
            raise ConfigError(
                f"{checkpoints.source}: nobody lists its checkpoints here, so {checkpoints.select!r} is no known number; select a list or "
                "{log_spaced: n}, or give --made-by FILE, the pre-training that makes it"
            )
