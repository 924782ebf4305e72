"""What a tuning run is, but for the model and the exchanges it starts from."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trustrace.core.config import Config
from trustrace.training.config import Optimizer


class AdapterConfig(Config):
    """A low-rank adapter: each chosen matrix W becomes W + (alpha / rank) B A, of which only A and B are trained.

    B begins as zeros, so that training begins at the model as it is.

    Attributes:
        rank: Columns of B and rows of A.
        alpha: Strength of the product.
        dropout: Of what A reads, while training.
        target_modules: Which matrices, by the ends of their names; ``all-linear`` takes every one but the vocabulary head.
        base_dtype: What the frozen weights are held in while the adapter, which is in float32, is trained. In bfloat16 they take half the
            memory, and the adapter learns beside the rounded weights.

    References:
        Hu et al. (2022), LoRA: low-rank adaptation of large language models.
    """

    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0, allow_inf_nan=False)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all-linear"
    base_dtype: Literal["float32", "bfloat16"] = "float32"


class Budget(Config):
    """How much tuning may compute; it then computes that much, and early stopping only chooses which weights are kept.

    Attributes:
        tokens: Training tokens, those of held-out looks aside.
        flops: Operations of training and of held-out looks together.
    """

    tokens: int | None = Field(default=None, ge=1)
    flops: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_of_them(self) -> "Budget":
        if (self.tokens is None) == (self.flops is None):
            raise ValueError("give either `tokens` or `flops`")
        return self


class TuneConfig(Config):
    """Supervised tuning on prompts and answers.

    Attributes:
        steps: Optimizer updates at most; the cosine ends with them.
        batch: Exchanges per update.
        micro_batch: Exchanges that are read at a time; all of a batch if not given. The update is that of the whole batch, but for the last
            bits and for what dropout draws.
        gradient_checkpointing: Keep of each block's activations what it reads alone, and compute the others again when gradients are due.
        optimizer: The recipe.
        held_out: Share of groups that are never trained on; their answers decide when to stop, and texts without a prompt only
            where there is nothing else.
        check_every: Updates between two looks at the held-out answers.
        patience: Looks without a new best before training stops.
        seed: Of the order of exchanges and of dropout.
    """

    steps: int = Field(default=400, ge=1)
    batch: int = Field(default=32, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    gradient_checkpointing: bool = False
    optimizer: Optimizer = Optimizer(learning_rate=3e-4, warmup_steps=20, betas=(0.9, 0.98), weight_decay=0.01)
    held_out: float = Field(default=0.1, gt=0, lt=1)
    check_every: int = Field(default=25, ge=1)
    patience: int = Field(default=4, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _warmup_ends_in_time(self) -> "TuneConfig":
        if self.optimizer.warmup_steps > self.steps:
            raise ValueError(
                f"optimizer.warmup_steps: {self.optimizer.warmup_steps} is more than the {self.steps} steps"
            )
        return self

    @property
    def rows(self) -> int:
        """Exchanges that are read at a time."""
        return min(self.micro_batch or self.batch, self.batch)
