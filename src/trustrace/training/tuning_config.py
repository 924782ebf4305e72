"""What a tuning run is, but for the model and the exchanges it starts from."""

from pydantic import Field, model_validator

from trustrace.core.config import Config
from trustrace.training.config import Optimizer


class TuneConfig(Config):
    """Supervised tuning on prompts and answers.

    Attributes:
        steps: Optimizer updates at most; the cosine ends with them.
        batch: Exchanges per update.
        optimizer: The recipe.
        held_out: Share of groups that are never trained on; their answers decide when to stop.
        check_every: Updates between two looks at the held-out answers.
        patience: Looks without a new best before training stops.
        seed: Of the order of exchanges and of dropout.
    """

    steps: int = Field(default=400, ge=1)
    batch: int = Field(default=32, ge=1)
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
