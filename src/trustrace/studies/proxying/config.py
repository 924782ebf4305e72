"""What a study of proxy-tuning is asked to do. All of it changes the answer, so all of it is part of every unit's identity."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trustrace.core.config import Config
from trustrace.core.measurements import Protocol
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.config import CheckpointsConfig, ModelConfig


class ProxyConfig(Config):
    """Checkpoints of a pre-training that speak with what tuning did to a later one.

    Attributes:
        name: What the report is titled.
        bases: The checkpoints that are tuned by proxy.
        expert: The tuned model.
        anti_expert: The model that was tuned: mostly the last checkpoint of the series.
        references: Other tuned models, asked as they are beside the expert.
        alphas: How much of the difference is added; each base is always asked as it is, too.
        tasks: What all are asked, on the test half.
        protocol: Conventions of tasks.
        dtype: Weights' type; ``auto`` is the checkpoint's own.
        trust_remote_code: Run code that comes with the checkpoints; only for sources you trust.
        seed: The seed of every draw.
    """

    study: Literal["proxy_tune"] = "proxy_tune"
    name: str
    bases: CheckpointsConfig
    expert: ModelConfig
    anti_expert: ModelConfig
    references: tuple[ModelConfig, ...] = ()
    alphas: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field((1.0,), min_length=1)
    tasks: tuple[TaskConfig, ...] = Field(min_length=1)
    protocol: Protocol = "rigorous"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_remote_code: bool = False
    seed: int = 0

    @field_validator("alphas")
    @classmethod
    def _each_says_something(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if 0 in alphas or len(set(alphas)) < len(alphas):
            raise ValueError("alphas must differ from 0 and from each other: each base is asked as it is anyway")
        return alphas

    @model_validator(mode="after")
    def _tasks_can_be_told_apart(self) -> "ProxyConfig":
        titles = [task.title for task in self.tasks]
        if repeated := [title for title in titles if titles.count(title) > 1]:
            raise ValueError(f"two tasks are called {repeated[0]}; their rows would have one name, so name each once")
        return self
