"""Whoever looks at a model while it is trained: what training tells him, and what he must not do.

Training does not know what is looked at. It hands the model over at the steps that it is asked for, and goes on with it as if nothing
had been: a watcher leaves weights, gradients, modes and generators as he finds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """A model at one step of its training.

    Attributes:
        module: The model itself, not a copy.
        tokenizer: Its tokenizer.
        checkpoint: What a checkpoint of this step is called, whether one is saved or not.
        step: Optimizer steps taken.
        total: Optimizer steps of the whole training.
        training: What tells this training from another one, as JSON values.
    """

    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    checkpoint: Checkpoint
    step: int
    total: int
    training: Mapping[str, Any]


@runtime_checkable
class Watcher(Protocol):
    """Looks at a model in training, in the first process of those that train it."""

    def steps(self, total: int) -> frozenset[int]:
        """The steps of a training of `total` steps at which it wants to look; every process asks, since all wait for it."""

    def begin(self, moment: Moment) -> None:
        """Training begins, or goes on, at `moment`; whatever cannot work is an error now."""

    def observe(self, moment: Moment) -> Mapping[str, float]:
        """Look, and return what may be plotted over training. Nothing that goes wrong here may end the training."""

    def end(self, moment: Moment) -> None:
        """The last step is done."""


def require_whole(module: torch.nn.Module, *, sharded_by: str = "") -> None:
    """Refuse a model of which this process holds a part.

    Args:
        module: The model.
        sharded_by: What is known to spread it over the processes; empty where nothing is.

    Raises:
        ConfigError: it is spread over several processes.
    """
    spread = [
        name for name, weight in module.named_parameters() if hasattr(weight, "device_mesh") or hasattr(weight, "ds_id")
    ]
    if sharded_by or spread:
        raise ConfigError(
            f"tracing while training reads the whole model in one process, but {sharded_by or 'something'} spreads it over several"
            f"{f' ({spread[0]} is a part)' if spread else ''}; train data parallel (DDP), or save checkpoints and run `trustrace trace`"
        )
