"""A checkpoint: one moment of one model's training."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One moment of one model's training.

    Attributes:
        family: The suite it belongs to (``amber``, ``pythia``, ``pretrain``, ``folder`` ...).
        model: The hub repository or the name of the run (``LLM360/Amber``).
        revision: The branch, tag or folder name (``ckpt_179``, ``step3000``).
        step: Optimizer steps taken, where known.
        tokens_seen: Training tokens seen, where known; the order of a series.
        commit: What pins the weights: a commit hash on the hub, a content hash of the files in a folder; empty while unresolved.
    """

    family: str
    model: str
    revision: str
    step: int | None = None
    tokens_seen: int | None = None
    commit: str = ""

    @property
    def key(self) -> str:
        """A readable name that is safe in paths, such as ``LLM360--Amber@ckpt_179``."""
        return f"{self.model.replace('/', '--')}@{self.revision.replace('/', '--')}"

    def __lt__(self, other: "Checkpoint") -> bool:
        return self._rank < other._rank

    @property
    def _rank(self) -> tuple[float, float, str]:
        """Tokens first, then steps; what is unknown comes last, since ``main`` is usually the end of a series."""
        tokens = math.inf if self.tokens_seen is None else float(self.tokens_seen)
        step = math.inf if self.step is None else float(self.step)
        return (tokens, step, self.key)
