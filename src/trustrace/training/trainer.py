"""The hook of transformers' Trainer: hands the model to a watcher at the steps that he asks for."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from typing_extensions import override

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ConfigError
from trustrace.training.watching import Moment, Watcher, require_whole


class UnplottedWarning(UserWarning):
    """The Trainer reports to trackers, but the callback does not know the Trainer."""


class WatchingCallback(TrainerCallback):  # type: ignore[misc]
    """Hands the model of a Trainer to `watcher`, before the first step and after each step that he asks for.

    Passed to the Trainer as one of its ``callbacks`` it works, but what the watcher returns cannot be plotted, because a callback is not
    told whose it is; :meth:`attach` does both.
    """

    def __init__(self, watcher: Watcher, *, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        self.watcher = watcher
        self._tokenizer = tokenizer
        self._trainer: Trainer | None = None
        self._steps: frozenset[int] = frozenset()

    def attach(self, trainer: Trainer) -> None:
        """Become a callback of `trainer`, and plot through its log: in TensorBoard, W&B, trackio, wherever it reports to."""
        self._trainer = trainer
        if self not in trainer.callback_handler.callbacks:
            trainer.add_callback(self)

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self._steps = self.watcher.steps(state.max_steps)
        require_whole(given["model"], sharded_by=_sharding(args))
        if state.is_world_process_zero:
            if args.report_to and self._trainer is None:
                message = f"reports to {args.report_to}, but callback.attach(trainer) was not called: only the table is written"
                warnings.warn(message, UnplottedWarning, stacklevel=2)
            self.watcher.begin(self._moment(args, state, given))
        self._observe(args, state, control, given)

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        self._observe(args, state, control, given)

    @override
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        if state.is_world_process_zero:
            self.watcher.end(self._moment(args, state, given))
        _wait()

    def _observe(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, given: Mapping[str, Any]
    ) -> None:
        if state.global_step not in self._steps:
            return
        if state.is_world_process_zero:
            plotted = dict(self.watcher.observe(self._moment(args, state, given)))
            if plotted and self._trainer is not None:
                # Whatever is logged answers the wish for a log, and the Trainer's own was not written yet.
                wished = control.should_log
                self._trainer.log(plotted)
                control.should_log = wished
        _wait()

    def _moment(self, args: TrainingArguments, state: TrainerState, given: Mapping[str, Any]) -> Moment:
        return Moment(
            module=_bare(given["model"]),
            tokenizer=self._tokenizer or _tokenizer(given["processing_class"]),
            checkpoint=Checkpoint(
                family="folder",
                model=Path(args.output_dir).resolve().name,
                revision=f"checkpoint-{state.global_step}",
                step=state.global_step,
                # The Trainer says 0 where it was not asked to count.
                tokens_seen=None if args.include_num_input_tokens_seen == "no" else state.num_input_tokens_seen,
            ),
            step=state.global_step,
            total=state.max_steps,
            training=_identity(args),
        )


def _bare(module: Any) -> PreTrainedModel:
    """The model below its adapters, which stay in place and at work."""
    base: PreTrainedModel = module.get_base_model() if hasattr(module, "get_base_model") else module
    return base


def _tokenizer(processing: Any) -> PreTrainedTokenizerBase:
    if isinstance(processing, PreTrainedTokenizerBase):
        return processing
    raise ConfigError(
        f"statements are read with the model's tokenizer, but the Trainer's processing_class is {type(processing).__name__}; "
        "give Trainer(processing_class=tokenizer), or the callback tokenizer=..."
    )


def _identity(args: TrainingArguments) -> dict[str, Any]:
    """What decides where a training leads, as far as its arguments say; how long it is may be changed on the way."""
    names = ("seed", "data_seed", "learning_rate", "gradient_accumulation_steps")
    return {name: getattr(args, name) for name in names} | {"batch": args.train_batch_size * args.world_size}


def _sharding(args: TrainingArguments) -> str:
    """What spreads weights over processes; empty where nothing does."""
    if args.deepspeed or _launched_with("ACCELERATE_USE_DEEPSPEED"):
        return "DeepSpeed"
    return "FSDP" if args.fsdp or _launched_with("ACCELERATE_USE_FSDP") else ""


def _launched_with(variable: str) -> bool:
    """Whether ``accelerate launch`` was configured so."""
    return os.environ.get(variable, "false").lower() in ("true", "1")


def _wait() -> None:
    """Until every process is here; they all have the same schedule."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
