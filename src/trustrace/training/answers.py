"""The loss that tuning goes down: the negative log-likelihood of answers' tokens, for as many rows at a time as the memory holds."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from trustrace.core.errors import ConfigError
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import Pair

_IGNORED = -100


def accumulate_(model: LanguageModel, pairs: Sequence[Pair], *, rows: int) -> float:
    """Add to the gradients of `model` those of the mean loss of all answer tokens of `pairs`, and give that loss.

    Each part's losses are summed and divided by the tokens of all parts: a mean of the parts' means would count the tokens of short answers
    for more than those of long ones.

    Args:
        model: The model, in training mode.
        pairs: The whole batch.
        rows: How many pairs are read at a time.

    Returns:
        The loss in nats per answer token; where it is not finite, gradients are of no use.
    """
    tokens, loss = answer_tokens(pairs), 0.0
    for part in _parts(pairs, rows):
        share = losses(model, part).sum() / tokens
        torch.autograd.backward(share)
        loss += share.item()
    return loss


def mean_loss(model: LanguageModel, pairs: Sequence[Pair], *, rows: int) -> float:
    """Mean negative log-likelihood of the answers of `pairs`, in nats per token, `rows` pairs at a time."""
    model.module.eval()
    with torch.no_grad():
        return float(torch.cat([losses(model, part) for part in _parts(pairs, rows)]).double().mean())


def losses(model: LanguageModel, pairs: Sequence[Pair]) -> Float[Tensor, " answer_token"]:
    """The negative log-likelihood of each token of each answer, from logits in float32."""
    tokens, targets = _padded(model, pairs)
    logits = model.module(input_ids=tokens, use_cache=False).logits
    wanted = targets != _IGNORED
    return functional.cross_entropy(logits[wanted].float(), targets[wanted], reduction="none")


def answer_tokens(pairs: Sequence[Pair]) -> int:
    """Tokens of all answers."""
    return sum(len(answer) for _, answer in pairs)


@contextmanager
def checkpointed(model: LanguageModel, *, wanted: bool) -> Iterator[None]:
    """Where `wanted`, blocks keep what they read alone and compute the rest again on the way back.

    Raises:
        ConfigError: the architecture cannot.
    """
    if not wanted:
        yield
        return
    if not model.module.supports_gradient_checkpointing:
        raise ConfigError(
            f"{model.checkpoint.key}: gradient_checkpointing: {type(model.module).__name__} cannot compute activations again; leave "
            "it out, and lower micro_batch instead"
        )
    with _under_its_old_name():
        model.module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        yield
    finally:
        with _under_its_old_name():
            model.module.gradient_checkpointing_disable()
        model.module.disable_input_require_grads()


@contextmanager
def _under_its_old_name() -> Iterator[None]:
    """Later versions of transformers 5 call it activation checkpointing and warn of the name that all of them know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _parts(pairs: Sequence[Pair], rows: int) -> Iterator[Sequence[Pair]]:
    return (pairs[start : start + rows] for start in range(0, len(pairs), rows))


def _padded(
    model: LanguageModel, pairs: Sequence[Pair]
) -> tuple[Int[Tensor, "exchange token"], Int[Tensor, "exchange token"]]:
    """What is read, and what is to be predicted after each token. Padding stands on the right, where nothing that counts sees it."""
    width = max(len(prompt) + len(answer) for prompt, answer in pairs) - 1
    tokens = torch.zeros((len(pairs), width), dtype=torch.long)
    targets = torch.full((len(pairs), width), _IGNORED)
    for row, (prompt, answer) in enumerate(pairs):
        read = (prompt + answer)[:-1]
        tokens[row, : len(read)] = torch.tensor(read)
        targets[row, len(prompt) - 1 : len(read)] = torch.tensor(answer)
    return tokens.to(model.device), targets.to(model.device)
