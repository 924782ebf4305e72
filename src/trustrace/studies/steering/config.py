"""What a steering study is asked to do. All of it changes the answer, so all of it is part of every unit's identity."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_serializer, model_validator

from trustrace.core.config import Config
from trustrace.core.errors import ConfigError
from trustrace.core.measurements import Protocol
from trustrace.core.sites import Position, Site
from trustrace.interventions.applying import Strength
from trustrace.interventions.positions import Positions
from trustrace.steering.fit import Mismatch
from trustrace.steering.vectors import CONTROLS, Kind
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.config import CheckpointsConfig, DatasetConfig, ModelConfig
from trustrace.studies.task_facts import PERPLEXITIES, WITHOUT_HALVES, aims_of, unsteered_by

_WHOLE_TEXTS = ("lambada_text", "text", "world_text")


class TargetConfig(ModelConfig):
    """A model that is steered.

    Attributes:
        allow: What may differ from the vectors' source: a tuned model may have gained a token.
    """

    allow: tuple[Mismatch, ...] = ()


class ContrastConfig(Config):
    """One dimension: what its vectors are made of, and what they are to improve.

    Attributes:
        dataset: Labelled statements; vectors are made of their development half.
        pairs: Alignment pairs in their stead, for one vector that is to serve all dimensions.
        name: What its vectors are called; by default the dataset's name, or ``pairs``. Two contrasts of pairs need one.
        task: What is to become better.
        quantity: Which of the task's numbers.
        method: Of which grader, where several give that number; the first if not given.
        instruction: What a model is told instead of being steered: the baseline that costs nothing.
    """

    dataset: DatasetConfig | None = None
    pairs: str | None = None
    name: str = Field(default_factory=lambda given: _own_name(given.get("dataset")), pattern=r"^[^\s:@]+$")
    task: TaskConfig
    quantity: str
    method: str | None = None
    instruction: str | None = None

    @model_validator(mode="after")
    def _one_contrast(self) -> "ContrastConfig":
        if (self.dataset is None) == (self.pairs is None):
            raise ValueError("give either `dataset` or `pairs`")
        return self

    @field_validator("task")
    @classmethod
    def _something_can_be_chosen_by_it(cls, task: TaskConfig) -> TaskConfig:
        if task.name in WITHOUT_HALVES:
            raise ValueError(
                f"{task.name} cannot be aimed at: a setting is chosen on the development half of a task's items and judged on the test "
                "half, and it has no such halves; put it into `general`"
            )
        return task

    @model_serializer(mode="wrap")
    def _a_name_is_written_where_it_was_given(
        self, written: Callable[["ContrastConfig"], dict[str, Any]]
    ) -> dict[str, Any]:
        """A study that gives none stays the study that it was."""
        values = written(self)
        if self.name == _own_name(self.dataset):
            values.pop("name", None)
        return values


def _own_name(dataset: DatasetConfig | None) -> str:
    return dataset.name if dataset else "pairs"


class PerplexityConfig(Config):
    """What a steered model may cost in perplexity.

    Attributes:
        task: How it is measured; its first number that is called ``perplexity``.
        ratio: The most that the steered model's may be of the unsteered one's. The paper allows 6 where its model has 4.5.
        bound: The most that it may be, whatever the unsteered model's is.
    """

    task: TaskConfig = TaskConfig(name="lambada")
    ratio: float | None = Field(6 / 4.5, ge=1, allow_inf_nan=False)
    bound: float | None = Field(None, gt=1, allow_inf_nan=False)

    @field_validator("task")
    @classmethod
    def _it_gives_perplexity_on_either_half(cls, task: TaskConfig) -> TaskConfig:
        if task.name not in PERPLEXITIES:
            raise ValueError(
                f"{task.name} gives no perplexity on both halves of its items; name one of {', '.join(PERPLEXITIES)}"
            )
        return task


class SteerConfig(Config):
    """A steering study: vectors of pre-training checkpoints, applied to tuned models.

    Attributes:
        name: What the report is titled.
        sources: The checkpoints that vectors are taken from.
        targets: The models that are steered.
        contrasts: The dimensions.
        kinds: How directions are found.
        random_controls: Random directions that go through the same choice as the others.
        sites: Where vectors are found and act.
        alphas: Strengths; the unsteered model is always there.
        unit: What a strength of 1 is; in ``target_norm`` alone strengths of several checkpoints compare.
        positions: Which tokens are steered.
        position: Which token of a statement a vector is read at.
        perplexity: What choice is bounded by.
        general: What else must not suffer; measured for what was chosen.
        protocol: Conventions of tasks.
        dtype: Weights' type; ``auto`` is the checkpoint's own.
        trust_remote_code: Run code that comes with the checkpoints; only for sources you trust.
        seed: The seed of every draw.
    """

    study: Literal["steer"] = "steer"
    name: str
    sources: CheckpointsConfig
    targets: tuple[TargetConfig, ...] = Field(min_length=1)
    contrasts: tuple[ContrastConfig, ...] = Field(min_length=1)
    kinds: tuple[Kind, ...] = Field(("mass_mean",), min_length=1)
    random_controls: int = Field(5, ge=0)
    sites: tuple[str, ...] = Field(min_length=1)
    alphas: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(min_length=1)
    unit: Strength = "target_norm"
    positions: str = "prompt_last+generated"
    position: Position = "last"
    perplexity: PerplexityConfig = PerplexityConfig()
    general: tuple[TaskConfig, ...] = ()
    protocol: Protocol = "rigorous"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_remote_code: bool = False
    seed: int = 0

    @field_validator("sites")
    @classmethod
    def _sites_have_names(cls, sites: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(Site.parse(name).name for name in sites))
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @field_validator("positions")
    @classmethod
    def _positions_have_a_meaning(cls, positions: str) -> str:
        try:
            return str(Positions.parse(positions))
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @field_validator("alphas")
    @classmethod
    def _alphas_move(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if any(math.isclose(alpha, 0.0) for alpha in alphas) or len(set(alphas)) < len(alphas):
            raise ValueError(f"alphas must differ from 0 and from each other, got {list(alphas)}")
        return alphas

    @field_validator("kinds")
    @classmethod
    def _random_is_asked_for_by_number(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if "random" in kinds or set(kinds) <= CONTROLS:
            raise ValueError("name at least one real kind; random directions are asked for with `random_controls`")
        return tuple(dict.fromkeys(kinds))

    @model_validator(mode="after")
    def _contrasts_have_names_of_their_own(self) -> "SteerConfig":
        names = [contrast.name for contrast in self.contrasts]
        if len(set(names)) < len(names):
            raise ValueError(
                f"two contrasts have one name in {names}, and their vectors would be called alike; give one a `name` of its own, such as "
                f"`name: {names[0]}-2`"
            )
        return self

    @model_validator(mode="after")
    def _perplexity_sees_what_is_steered(self) -> "SteerConfig":
        if self.positions.startswith("window") and self.perplexity.task.name in _WHOLE_TEXTS:
            raise ValueError(
                f"{self.perplexity.task.name} scores whole texts, which have no prompt: what a window steers does not show in it; "
                "bound by lambada, or steer other positions"
            )
        return self

    @model_validator(mode="after")
    def _no_task_is_beyond_what_is_steered(self) -> "SteerConfig":
        bound = self.perplexity.task
        if why := unsteered_by(self.positions, bound):
            raise ValueError(f"{why}; bound by lambada_text or text, or steer prompt_last+generated")
        for task in (*(contrast.task for contrast in self.contrasts), *self.general):
            if why := unsteered_by(self.positions, task):
                raise ValueError(f"{why}; leave {task.name} out, or steer prompt_last+generated")
        return self

    @model_validator(mode="after")
    def _tasks_give_what_is_aimed_at(self) -> "SteerConfig":
        for contrast in self.contrasts:
            aims = aims_of(contrast.task, self.protocol)
            if contrast.quantity not in aims:
                raise ValueError(
                    f"{contrast.name}: {contrast.task.name} gives no {contrast.quantity!r} that can be better or worse under "
                    f"{self.protocol}; it gives {', '.join(aims)}"
                )
        return self

    @model_validator(mode="after")
    def _rows_can_be_told_apart(self) -> "SteerConfig":
        tasks = [*(contrast.task for contrast in self.contrasts), self.perplexity.task, *self.general]
        known: dict[str, TaskConfig] = {}
        for task in tasks:
            if known.setdefault(task.title, task) != task:
                raise ValueError(
                    f"{task.title} is asked in two ways; their rows would have one name, so give it the same options everywhere"
                )
        if len(set(self.targets)) < len(self.targets):
            raise ValueError("a target is named twice; name each once")
        return self
