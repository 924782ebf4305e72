"""Which tokens of a text an intervention acts on. The answer depends on the text and on where its prompt ends, never on how it is run."""

import re
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Int
from torch import Tensor

from trustrace.core.errors import ConfigError
from trustrace.models.language_model import Sharing

Rule = Literal["all", "prompt_last+generated", "generated", "window"]
"""* ``all``: every token, a beginning-of-sequence token among them.
* ``prompt_last+generated``: the prompt's last token and every token after it: whatever predicts the continuation.
* ``generated``: every token after the prompt; the first of them is predicted by a plain model.
* ``window``: some tokens of the prompt, and none after it.
"""

_WINDOW = re.compile(r"window:(-?\d*):(-?\d*)")


@dataclass(frozen=True, kw_only=True)
class Positions:
    """Which tokens.

    Attributes:
        rule: See :data:`Rule`.
        start: First token of a window; counted from the prompt's end where negative, from its beginning where None.
        stop: One past its last token; the prompt's end where None.
    """

    rule: Rule = "prompt_last+generated"
    start: int | None = None
    stop: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Positions":
        """The positions called `text`: a rule, or ``window:START:STOP`` as Python slices, such as ``window:-4:``.

        Raises:
            ConfigError: nothing is called so.
        """
        match text:
            case "all" | "prompt_last+generated" | "generated":
                return cls(rule=text)
        found = _WINDOW.fullmatch(text)
        if not found or "-" in found.groups():
            raise ConfigError(
                f"unknown positions {text!r}; use 'all', 'prompt_last+generated', 'generated' or 'window:START:STOP', such as 'window:-4:'"
            )
        start, stop = (int(bound) if bound else None for bound in found.groups())
        if start is not None and stop is not None and (start < 0) == (stop < 0) and start >= stop:
            raise ConfigError(f"positions {text!r} hold no token; its start must come before its stop")
        return cls(rule="window", start=start, stop=stop)

    def __str__(self) -> str:
        if self.rule != "window":
            return self.rule
        return f"window:{'' if self.start is None else self.start}:{'' if self.stop is None else self.stop}"

    @property
    def sharing(self) -> Sharing:
        """How much of a prompt is read alike whatever acts on these tokens."""
        if self.rule == "window":
            return "nothing"
        return "beginning" if self.rule == "all" else "prompt"

    def of(
        self, at: Int[Tensor, "row token"], *, prompts: Int[Tensor, " row"] | None, goes_on: bool = False
    ) -> Bool[Tensor, "row token"] | None:
        """Whether each token is acted on.

        Args:
            at: The place of each token in its text; -1 for padding.
            prompts: Tokens of each row's prompt; None where nobody knows.
            goes_on: Whether that is only the least that they have.

        Returns:
            A mask; None where the answer hangs on prompts that are not known.
        """
        real = at >= 0
        if self.rule == "all":
            return real
        if prompts is None or (goes_on and min(self.start or 0, self.stop or 0) < 0):
            return None
        ends = prompts[:, None]
        match self.rule:
            case "prompt_last+generated":
                return real & (at >= ends - 1)
            case "generated":
                return real & (at >= ends)
        return real & (at >= _bound(self.start, ends, 0 * ends)) & (at < _bound(self.stop, ends, ends))


def _bound(bound: int | None, ends: Int[Tensor, "row 1"], default: Int[Tensor, "row 1"]) -> Int[Tensor, "row 1"]:
    """Where a window begins or ends in each row, never outside the prompt."""
    if bound is None:
        return default
    if bound < 0:
        return (ends + bound).clamp_min(0)
    return ends.clamp_max(bound)
