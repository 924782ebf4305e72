"""What tuning computes: tokens, operations, and how many updates a budget pays for.

Operations are counted as 2 a weight and token forward, 2 more for the gradients of what a layer reads, and 2 more for the gradients of a
weight that is trained: 6 N a token where all of N weights are, nearly 4 N under a low-rank adapter. Attention is left out, and padding too.

References:
    Kaplan et al. (2020), Scaling Laws for Neural Language Models, section 2.1 (the 2 N forward and 6 N in all).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from trustrace.core.errors import ConfigError
from trustrace.models.likelihood import Pair
from trustrace.training.corpus import rows_of_step
from trustrace.training.tuning_config import Budget, TuneConfig

FORWARD = 2
"""Operations that reading a token takes, for each weight."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What a tuning took.

    Attributes:
        parameters: Weights of the model, an adapter's among them; a tied embedding counts once.
        trained: Those that were trained.
        updates: Optimizer updates.
        training_tokens: Tokens that were read in them; each epoch's count anew.
        held_out_tokens: Tokens that were read to see how likely held-out answers were, each look's anew.
    """

    parameters: int
    trained: int
    updates: int
    training_tokens: int
    held_out_tokens: int

    @property
    def flops(self) -> float:
        """Operations in all."""
        learning = 2 * FORWARD * self.parameters + FORWARD * self.trained
        return float(learning * self.training_tokens + FORWARD * self.parameters * self.held_out_tokens)

    def as_record(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"flops": self.flops}


def compute_of(
    module: nn.Module, training: Sequence[Pair], held_out: Sequence[Pair], *, config: TuneConfig, updates: int
) -> Compute:
    """What `updates` updates of `module` take, with a look at what is held out before, between and after them."""
    sizes = [(weight.numel(), weight.requires_grad) for weight in module.parameters()]
    return Compute(
        parameters=sum(size for size, _ in sizes),
        trained=sum(size for size, is_trained in sizes if is_trained),
        updates=updates,
        training_tokens=sum(tokens_of_update(step, training, config) for step in range(updates)),
        held_out_tokens=_looks(updates, config) * sum(map(_length, held_out)),
    )


def tokens_of_update(step: int, training: Sequence[Pair], config: TuneConfig) -> int:
    """Tokens that update `step` reads."""
    rows = rows_of_step(step, batch=config.batch, n_sequences=len(training), seed=config.seed)
    return sum(_length(training[row]) for row in rows)


def within(
    budget: Budget, config: TuneConfig, module: nn.Module, training: Sequence[Pair], held_out: Sequence[Pair]
) -> TuneConfig:
    """`config` with as many updates as `budget` pays for, none of which patience saves.

    Raises:
        ConfigError: it does not pay for one.
    """
    nothing = compute_of(module, (), held_out, config=config, updates=0)
    once, tokens, steps = nothing.held_out_tokens, 0, 0
    while True:
        tokens += tokens_of_update(steps, training, config)
        looked = _looks(steps + 1, config) * once
        if _exceeds(budget, replace(nothing, training_tokens=tokens, held_out_tokens=looked)):
            break
        steps += 1
    if not steps:
        allowed = f"{budget.tokens} tokens" if budget.tokens else f"{budget.flops:.3g} operations"
        raise ConfigError(
            f"a budget of {allowed} does not pay for one update of {config.batch} exchanges, which reads {tokens} tokens, and the looks "
            "around it; allow more, or lower the recipe's batch"
        )
    warmup = min(config.optimizer.warmup_steps, steps)
    optimizer = config.optimizer.model_copy(update={"warmup_steps": warmup})
    return config.model_copy(update={"steps": steps, "patience": steps, "optimizer": optimizer})


def _exceeds(budget: Budget, spent: Compute) -> bool:
    if budget.tokens is not None:
        return spent.training_tokens > budget.tokens
    return spent.flops > (budget.flops or 0.0)


def _looks(updates: int, config: TuneConfig) -> int:
    """The last update is followed by a look whether or not its turn has come."""
    return 1 + math.ceil(updates / config.check_every)


def _length(pair: Pair) -> int:
    """Tokens that are read: all but the last, which is only predicted."""
    prompt, answer = pair
    return len(prompt) + len(answer) - 1
