"""What a trace is asked to do. All of it changes the answer, so all of it is part of every unit's identity."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from trustrace.core.config import Config
from trustrace.core.errors import ConfigError
from trustrace.core.measurements import Protocol
from trustrace.core.sites import Position, Site
from trustrace.measures.config import InformationConfig, ProbingConfig
from trustrace.models.selection import Selection


class EveryNth(Config):
    """Every n-th checkpoint of the series, the first and the last among them."""

    every: int = Field(ge=1)


class LogSpaced(Config):
    """About n checkpoints, evenly spread over the logarithm of training."""

    log_spaced: int = Field(ge=2)


class CheckpointsConfig(Config):
    """Which checkpoints: a source (a folder, a pre-training run, a hub repository) and a selection of it.

    Attributes:
        source: Where they are.
        select: Which of them.
        trusted: Revisions whose numbers a trace keeps, even where their weights do not seem to belong where they stand.
    """

    source: str
    select: str | tuple[str, ...] | EveryNth | LogSpaced = "all"
    trusted: tuple[str, ...] = ()

    def how(self) -> Selection:
        """The selection as plain values."""
        match self.select:
            case EveryNth():
                return {"every": self.select.every}
            case LogSpaced():
                return {"log_spaced": self.select.log_spaced}
        return self.select


class ModelConfig(Config):
    """One model: a folder, a run or a hub repository; a bare source in a study is this.

    Attributes:
        source: Where it is.
        revision: Which of its checkpoints; the last if not given.
    """

    source: str
    revision: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_source(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


class DatasetConfig(Config):
    """Which statements: a shipped set by name, or a file of your own.

    Attributes:
        name: A shipped set (``trustrace datasets list``), or what to call your own; a bare name in a study is this.
        path: CSV, JSONL or Parquet with ``statement,label[,group][,split]``; a shipped set has none.
        shipped: The shipped set, where `name` is another, as for one set with two values of a parameter.
        parameters: Parameters of a shipped set, such as the rate of typos.
    """

    name: str
    path: str | None = None
    shipped: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _a_file_has_no_parameters(self) -> "DatasetConfig":
        if self.path is not None and (self.shipped or self.parameters):
            raise ValueError(f"{self.name}: a file (path) takes neither `shipped` nor `parameters`")
        return self


class MeasuringConfig(Config):
    """What is measured in a model, however it is brought.

    Attributes:
        name: What the report is titled.
        datasets: The labelled statements.
        sites: Where activations are read.
        position: How the tokens of a statement become one vector.
        protocols: Conventions to measure under; each is named in every row.
        dtype: Weights' type while capturing; ``auto`` is the checkpoint's own.
        truncation: What to do with statements longer than the context: refuse, or drop their first tokens.
        probing: The probes.
        seed: The seed of every draw.
    """

    name: str
    datasets: tuple[DatasetConfig, ...] = Field(min_length=1)
    sites: Literal["all"] | tuple[str, ...] = "all"
    position: Position = "last"
    protocols: tuple[Protocol, ...] = Field(("rigorous",), min_length=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    truncation: Literal["never", "left"] = "never"
    probing: ProbingConfig = ProbingConfig()
    seed: int = 0

    @field_validator("sites")
    @classmethod
    def _sites_have_names(cls, sites: Literal["all"] | tuple[str, ...]) -> Literal["all"] | tuple[str, ...]:
        if sites == "all":
            return "all"
        try:
            return tuple(Site.parse(name).name for name in sites)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _names_are_unique(self) -> "MeasuringConfig":
        names = [dataset.name for dataset in self.datasets]
        if len(set(names)) < len(names):
            raise ValueError(f"two datasets have one name in {names}; give each a name of its own")
        return self


class TraceConfig(MeasuringConfig):
    """A trace: probes on every site of every checkpoint, for every dataset.

    Attributes:
        checkpoints: The series.
        trust_remote_code: Run code that comes with the checkpoints; only for sources you trust.
        random_init_seeds: Models of the same architecture with fresh weights, measured as floors.
        information: What representations keep of input and label; null leaves it out.
    """

    study: Literal["trace"] = "trace"
    checkpoints: CheckpointsConfig
    trust_remote_code: bool = False
    random_init_seeds: tuple[int, ...] = (0,)
    information: InformationConfig | None = InformationConfig()
