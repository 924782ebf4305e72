"""Whether a vector belongs to a model: width and site always, architecture and tokenizer unless one knows better."""

from collections.abc import Collection
from typing import Literal

from trustrace.core.errors import ModelError
from trustrace.core.sites import Site, sites_of
from trustrace.steering.vectors import SteeringVector

Mismatch = Literal["architecture", "tokenizer"]
"""What may differ where the user says so: a tuned model may have gained a token, and a block a new name."""


def require_fit(
    vector: SteeringVector,
    *,
    model_type: str,
    d_model: int,
    n_blocks: int,
    tokenizer: str,
    allow: Collection[Mismatch] = (),
) -> None:
    """Do nothing where `vector` can act in a model of the given shape.

    What the vector or the model does not know (an empty text, 0 blocks) is not compared.

    Args:
        vector: The vector.
        model_type: The target's architecture, as transformers names it.
        d_model: The target's width.
        n_blocks: The target's depth; it is a part of the architecture.
        tokenizer: The fingerprint of the target's vocabulary.
        allow: What may differ.

    Raises:
        ModelError: the target has another width or lacks the site, or differs in what `allow` does not name; all of it is said at once.
    """
    problems = _shape_problems(vector, d_model=d_model, n_blocks=n_blocks)
    if "architecture" not in allow:
        problems += _architecture_problems(vector, model_type=model_type, n_blocks=n_blocks)
    if "tokenizer" not in allow and _differ(vector.tokenizer, tokenizer):
        problems.append("it was made with another vocabulary (allow 'tokenizer' if only added tokens differ)")
    if problems:
        raise ModelError(f"{vector.key} does not fit this model: {'; '.join(problems)}")


def _shape_problems(vector: SteeringVector, *, d_model: int, n_blocks: int) -> list[str]:
    problems = []
    if vector.d_model != d_model:
        problems.append(f"it is {vector.d_model} wide, the model {d_model}; make a vector in a model of this width")
    if Site.parse(vector.site) not in sites_of(n_blocks):
        problems.append(f"the model has no {vector.site}; its blocks are block_0 .. block_{n_blocks - 1}")
    return problems


def _architecture_problems(vector: SteeringVector, *, model_type: str, n_blocks: int) -> list[str]:
    hint = "(allow 'architecture' if both share one residual stream)"
    if _differ(vector.model_type, model_type):
        return [f"it comes from architecture {vector.model_type!r}, the model is {model_type!r} {hint}"]
    if _differ(vector.n_blocks, n_blocks):
        return [f"it comes from a model of {vector.n_blocks} blocks, this one has {n_blocks} {hint}"]
    return []


def _differ(one: str | int, other: str | int) -> bool:
    """Whether both are known and unequal."""
    return bool(one) and bool(other) and one != other
