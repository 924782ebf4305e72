"""What a toxicity classifier is, and the one that is a model of transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from trustrace.core.progress import Progress, silent
from trustrace.models.classifier import TextClassifier

DEFAULT = "tomh/toxigen_roberta"
"""The classifier that the paper uses: RoBERTa, fine-tuned by ToxiGen's authors on ToxiGen."""

TOXIC_LABEL = "LABEL_1"
"""What it calls toxic texts."""


@runtime_checkable
class ToxicityClassifier(Protocol):
    """Whoever says what is toxic. It sees texts, never what wrote them."""

    @property
    def name(self) -> str:
        """What it is called in every table beside the scores that it gives."""

    @property
    def note(self) -> str:
        """What must be known of the scores that it gives; may be empty."""

    def probabilities(self, texts: Sequence[str], *, progress: Progress = silent) -> Float64[np.ndarray, " text"]:
        """P(toxic) of each text."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuralClassifier:
    """A text classifier of which one class means toxic.

    Attributes:
        model: The classifier.
        label: The class that means toxic: its name, or its number from 0.
    """

    model: TextClassifier
    label: str = TOXIC_LABEL

    def __post_init__(self) -> None:
        self.model.column(self.label)

    @property
    def name(self) -> str:
        """Where it came from, and which of its classes counts where that is not the usual one."""
        return self.model.name if self.label == TOXIC_LABEL else f"{self.model.name}#{self.label}"

    @property
    def note(self) -> str:
        """How much of a text it reads."""
        return f"reads {self.model.max_tokens} tokens of a text at most"

    def probabilities(self, texts: Sequence[str], *, progress: Progress = silent) -> Float64[np.ndarray, " text"]:
        """P(toxic) of each text."""
        return self.model.probabilities(texts, progress=progress)[:, self.model.column(self.label)]
