"""What a fine-tuning study is asked to do. All of it changes the answer, so all of it is part of some unit's identity."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.config import Config
from trustrace.core.measurements import Protocol
from trustrace.models.selection import select
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.config import CheckpointsConfig, DatasetConfig, EveryNth, LogSpaced
from trustrace.training.tuning_config import AdapterConfig, TuneConfig

WorldDimension = Literal["reliability", "toxicity", "privacy", "fairness"]


class TruthfulQAData(Config):
    """The true answers to TruthfulQA's development questions.

    Attributes:
        answers: Every true answer, or the best one alone.
        name: What it is called.
    """

    kind: Literal["truthfulqa"] = "truthfulqa"
    answers: Literal["all", "best"] = "all"
    name: str = "truthfulqa"


class WorldData(Config):
    """Development claims of the controlled world with the verdict that is due, and a correction where a claim is wrong.

    The claims are the statements that vectors of the world's datasets are made of.

    Attributes:
        dimensions: Whose claims.
        world: Which world: the seed of the corpus that the model was trained on.
        rehearsed: Documents of the corpus that are learned besides, so that a small model does not forget.
        name: What it is called.
    """

    kind: Literal["world"] = "world"
    dimensions: tuple[WorldDimension, ...] = Field(("reliability",), min_length=1)
    world: int = 0
    rehearsed: int = Field(0, ge=0)
    name: str = "world"


class InstructionData(Config):
    """A file of prompts with answers; see :mod:`trustrace.datasets.instructions`.

    Attributes:
        path: The file.
        limit: How many rows at most, drawn by the seed.
        name: What it is called.
    """

    kind: Literal["instructions"] = "instructions"
    path: str
    limit: int | None = Field(None, ge=1)
    name: str = "instructions"


class PairData(Config):
    """The chosen side of alignment pairs; see :mod:`trustrace.datasets.alignment`.

    Attributes:
        path: The file; vectors of a contrast with these `pairs` are made of the same development rows.
        name: What it is called.
    """

    kind: Literal["pairs"] = "pairs"
    path: str
    name: str = "pairs"


class StatementData(Config):
    """The desired side of labelled statements: of what vectors of this dataset are made of, what a trustworthy model should say.

    Attributes:
        dataset: The statements.
    """

    kind: Literal["statements"] = "statements"
    dataset: DatasetConfig

    @property
    def name(self) -> str:
        """What it is called."""
        return self.dataset.name


Data = Annotated[
    TruthfulQAData | WorldData | InstructionData | PairData | StatementData,
    Field(discriminator="kind"),
    BeforeValidator(lambda value: {"kind": value} if isinstance(value, str) else value),
]


class FullMethod(Config):
    """Every weight is trained.

    Attributes:
        name: What its rows are called.
        recipe: In place of the study's.
    """

    method: Literal["full"] = "full"
    name: str = "full"
    recipe: TuneConfig | None = None

    @property
    def adapter(self) -> None:
        """There is none."""


class LoraMethod(AdapterConfig):
    """A low-rank adapter is trained.

    Attributes:
        name: What its rows are called.
        recipe: In place of the study's: an adapter mostly wants a higher learning rate.
    """

    method: Literal["lora"] = "lora"
    name: str = "lora"
    recipe: TuneConfig | None = None

    @property
    def adapter(self) -> AdapterConfig:
        """The adapter alone."""
        return AdapterConfig(**{name: getattr(self, name) for name in AdapterConfig.model_fields})


Method = Annotated[
    FullMethod | LoraMethod,
    Field(discriminator="method"),
    BeforeValidator(lambda value: {"method": value} if isinstance(value, str) else value),
]


class ComputeConfig(Config):
    """How much each tuning computes, in place of the recipe's number of steps; exactly one of the first three.

    Attributes:
        tokens: Training tokens.
        flops: Operations, those of held-out looks among them.
        equal_to: The run of a steering study, whose vectors and search would take as many operations in the model that is tuned.
        contrasts: Which of that study's contrasts count; all by default.
    """

    tokens: int | None = Field(None, ge=1)
    flops: float | None = Field(None, gt=0, allow_inf_nan=False)
    equal_to: str | None = None
    contrasts: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_of_them(self) -> "ComputeConfig":
        given = [name for name in ("tokens", "flops", "equal_to") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of tokens, flops and equal_to, not {' and '.join(given) or 'none'}")
        if self.contrasts and not self.equal_to:
            raise ValueError("`contrasts` are those of the steering study that `equal_to` names")
        return self


class ModelsConfig(Config):
    """Checkpoints that are tuned; a bare source in a study is this.

    Attributes:
        source: A folder, a pre-training run, an adapter, or a hub repository.
        select: Which of its checkpoints, as a trace selects them; the last one if not given.
    """

    source: str
    select: str | tuple[str, ...] | EveryNth | LogSpaced | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_source(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    def chosen(self, known: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
        """Which of the `known` ones.

        Raises:
            ConfigError: the selection selects nothing.
        """
        if self.select is None:
            return (known[-1],)
        return select(known, CheckpointsConfig(source=self.source, select=self.select).how())


class FinetuneConfig(Config):
    """A fine-tuning study: checkpoints, tuned on some data by some methods, judged as steered models are.

    Attributes:
        name: What it is titled.
        models: The checkpoints that are tuned, of one or several sources.
        data: What each of them is tuned on, one set at a time.
        methods: How.
        recipe: Steps, learning rate and the rest, for methods that bring none.
        compute: How much is computed, in place of the recipe's number of steps.
        tasks: What should become better.
        perplexity: What should not suffer.
        general: What else should not.
        protocol: Conventions of tasks.
        dtype: What models compute in while they are asked, tuned or not; tuning itself is in float32, an adapter's frozen
            base in its `base_dtype`.
        trust_remote_code: Run code that comes with the checkpoints; only for sources you trust.
        seed: The seed of every draw.
    """

    study: Literal["finetune"] = "finetune"
    name: str
    models: tuple[ModelsConfig, ...] = Field(min_length=1)
    data: tuple[Data, ...] = Field(min_length=1)
    methods: tuple[Method, ...] = Field((FullMethod(), LoraMethod()), min_length=1)
    recipe: TuneConfig = TuneConfig()
    compute: ComputeConfig | None = None
    tasks: tuple[TaskConfig, ...] = Field(min_length=1)
    perplexity: TaskConfig = TaskConfig(name="lambada")
    general: tuple[TaskConfig, ...] = ()
    protocol: Protocol = "rigorous"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    trust_remote_code: bool = False
    seed: int = 0

    @field_validator("data", "methods")
    @classmethod
    def _names_are_unique(cls, named: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [one.name for one in named]
        if len(set(names)) < len(names):
            raise ValueError(f"two are called the same in {names}; give each a `name` of its own")
        return named

    @model_validator(mode="after")
    def _rows_can_be_told_apart(self) -> "FinetuneConfig":
        known: dict[str, TaskConfig] = {}
        for task in self.asked:
            if task.name == "divergence":
                raise ValueError(
                    "divergence compares versions of one model, and a tuned model is another one; leave it out"
                )
            if known.setdefault(task.title, task) != task:
                raise ValueError(f"{task.title} is asked in two ways; their rows would have one name, so ask it in one")
        return self

    @property
    def asked(self) -> tuple[TaskConfig, ...]:
        """Every task, each once."""
        return tuple(dict.fromkeys([*self.tasks, self.perplexity, *self.general]))

    def recipe_of(self, method: FullMethod | LoraMethod) -> TuneConfig:
        """How a method is trained."""
        return method.recipe or self.recipe
