"""What the tokens of a forward pass are: padding, prompt, or continuation.

Whoever calls a model knows where each prompt ends; whoever changes it from inside (a vector added to the prompt's last token and to what
follows) has to know. So the caller says it here, for as long as it calls. One text then means the same in generation, with and without a
cache, and in teacher-forced scoring, on whichever side it is padded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Where the prompt of each row ends. Tokens are counted as text: padding is none, whatever was read before this pass is some.

    Attributes:
        prompts: Tokens of each row's prompt. Whatever follows is continuation.
        variants: Which version of the model each row is meant for; None where every row is meant for all of them.
        goes_on: Whether prompts go on beyond this pass by nobody knows how much: `prompts` is then the least that they have.
    """

    prompts: Int[Tensor, " row"]
    variants: Int[Tensor, " row"] | None = None
    goes_on: bool = False


_current: ContextVar[Layout | None] = ContextVar("layout", default=None)


@contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """While open, forward passes are of rows with this `layout`."""
    token = _current.set(layout)
    try:
        yield
    finally:
        _current.reset(token)


def current_layout() -> Layout | None:
    """The layout of the forward pass at work; None where its caller did not say."""
    return _current.get()
