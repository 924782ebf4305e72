"""What is measured while a model is trained, and when."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from trustrace.core.config import Config
from trustrace.core.errors import ConfigError
from trustrace.studies.config import CheckpointsConfig, MeasuringConfig, TraceConfig
from trustrace.studies.files import read_values
from trustrace.training.schedule import log_spaced

_OF_CHECKPOINTS = ("study", "checkpoints", "trust_remote_code", "random_init_seeds", "information")
"""What a trace study says of checkpoints that exist, and of measures that need the last of them."""


class LogSpacedSteps(Config):
    """Step 0, about n steps evenly spaced in the logarithm from 1 to the last."""

    log_spaced: int = Field(ge=2)


class EverySteps(Config):
    """Step 0, each multiple of n, and the last step."""

    every: int = Field(ge=1)


class GivenSteps(Config):
    """These steps; those that lie beyond the training are left out."""

    steps: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)


Schedule = LogSpacedSteps | EverySteps | GivenSteps


class LiveConfig(MeasuringConfig):
    """What is measured while a model is trained.

    Attributes:
        schedule: When.
        budget: The largest share of the training's time that may go into measuring; None measures at every scheduled step.
    """

    name: str = "Traced while training"
    schedule: Schedule = LogSpacedSteps(log_spaced=12)
    budget: float | None = Field(default=0.05, gt=0, le=1)

    def as_trace(self, *, source: str) -> TraceConfig:
        """The trace study that asks the same of the checkpoints of `source`."""
        shared = {name: getattr(self, name) for name in MeasuringConfig.model_fields}
        return TraceConfig(
            **shared, checkpoints=CheckpointsConfig(source=source), random_init_seeds=(), information=None
        )


def read_live(trace: LiveConfig | TraceConfig | Mapping[str, Any] | str | Path, *, where: str = "trace") -> LiveConfig:
    """What is to be measured, from whatever says so.

    Args:
        trace: A trace study or its file, of which datasets, sites, position, protocols, dtype, truncation, probes and seed are taken; or a
            mapping of these and of `schedule` and `budget`, whose key `study` names a file that it goes on from.
        where: What a mapping is called in messages.

    Raises:
        ConfigError: a file cannot be read, or something in it or in the mapping is unknown, missing or wrong.
    """
    match trace:
        case LiveConfig():
            return trace
        case TraceConfig():
            return LiveConfig(**{name: getattr(trace, name) for name in MeasuringConfig.model_fields})
        case Mapping():
            values = dict(trace)
            study = values.pop("study", None)
            return LiveConfig.read((_of_study(Path(study)) if study else {}) | values, where=where)
    return LiveConfig.read(_of_study(Path(trace)), where=str(trace))


def steps_of(schedule: Schedule, *, total: int) -> frozenset[int]:
    """The scheduled steps of a training of `total` steps.

    Raises:
        ConfigError: none of them lies inside it.
    """
    match schedule:
        case LogSpacedSteps():
            return frozenset({0, total} | log_spaced(schedule.log_spaced, until=total))
        case EverySteps():
            inside, said = frozenset(range(0, total + 1, schedule.every)), f"every {schedule.every} steps"
            if schedule.every <= total:
                return inside | {total}
        case GivenSteps():
            inside, said = frozenset(step for step in schedule.steps if step <= total), f"steps {schedule.steps}"
            if inside:
                return inside
    raise ConfigError(f"schedule: {said} lies outside a training of {total} steps; choose earlier steps, or log_spaced")


def _of_study(path: Path) -> dict[str, Any]:
    return {key: value for key, value in read_values(path).items() if key not in _OF_CHECKPOINTS}
