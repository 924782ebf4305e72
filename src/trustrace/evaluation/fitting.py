"""Prompts that are too long for a model's context, cut where lm-evaluation-harness cuts them."""

from collections.abc import Sequence

from trustrace.core.errors import DataError
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import Pair


def is_too_long(model: LanguageModel, prompt: Sequence[int], continuation: Sequence[int]) -> bool:
    """Whether `model` cannot read both; the continuation's last token is predicted and never read."""
    return len(prompt) + len(continuation) - 1 > model.max_tokens


def fitted(model: LanguageModel, prompt: Sequence[int], continuation: Sequence[int]) -> Pair:
    """The pair, the prompt without its beginning where both do not fit the context.

    Raises:
        DataError: the continuation alone does not fit.
    """
    room = model.max_tokens + 1 - len(continuation)
    if room < 1:
        raise DataError(
            f"a continuation takes {len(continuation)} tokens, but {model.checkpoint.key} reads {model.max_tokens} at most; "
            "leave its item out, or use a model with a longer context"
        )
    return tuple(prompt[-room:]), tuple(continuation)
