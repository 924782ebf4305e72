"""What a pre-training run will take, known before it starts."""

from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM

from trustrace.training.config import GivenTokenizer, PretrainConfig, model_config
from trustrace.training.schedule import save_steps
from trustrace.training.tokenizer import open_tokenizer


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The size of a run.

    Attributes:
        parameters: Of the model; a tied embedding counts once. An upper bound where the tokenizer is a word list that may turn out shorter.
        tokens: Trained on in all, in whole steps.
        tokens_per_step: In one optimizer step.
        steps: Optimizer steps.
        saves: The steps at which checkpoints are saved.
        checkpoint_bytes: Weights of one checkpoint, in float32.
        disk_bytes: All checkpoints and two training states (the old one stands until the new one is whole); the packed corpus adds 2 bytes
            a token, or 4 above 65,536 vocabulary entries.
        training_flops: 6 x parameters x tokens, which leaves attention out.

    References:
        Kaplan et al. (2020), Scaling Laws for Neural Language Models, section 2.1 (the 6 N D).
    """

    parameters: int
    tokens: int
    tokens_per_step: int
    steps: int
    saves: tuple[int, ...]
    checkpoint_bytes: int
    disk_bytes: int
    training_flops: float


def describe(config: PretrainConfig) -> Plan:
    """The size of the run that `config` describes; nothing is allocated and, a given tokenizer aside, nothing is read."""
    parameters = _count_parameters(config)
    saves = save_steps(config.steps, config.saves)
    checkpoint = 4 * parameters
    tokens = config.steps * config.tokens_per_step
    return Plan(
        parameters=parameters,
        tokens=tokens,
        tokens_per_step=config.tokens_per_step,
        steps=config.steps,
        saves=saves,
        checkpoint_bytes=checkpoint,
        # A state holds the weights and AdamW's two moments.
        disk_bytes=checkpoint * len(saves) + 2 * 3 * checkpoint,
        training_flops=6.0 * parameters * tokens,
    )


def _count_parameters(config: PretrainConfig) -> int:
    tokenizer = config.tokenizer
    entries = len(open_tokenizer(tokenizer.path)) if isinstance(tokenizer, GivenTokenizer) else tokenizer.vocab_size
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(model_config(config, vocab_size=entries))
    return sum(parameter.numel() for parameter in model.parameters())
