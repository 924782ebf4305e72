"""A judge that is a language model of one's own: fine-tuned to say " yes" or " no" after a question, its answer and "True:"."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float64

from trustrace.core.errors import ConfigError
from trustrace.core.progress import Progress, silent
from trustrace.evaluation.judges.judge import LEAST_MASS, NO, YES, Answered, Aspect, judge_prompt
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import encode_pair, likelihoods

DEFAULT_MODELS = MappingProxyType(
    {"truth": "allenai/truthfulqa-truth-judge-llama2-7B", "info": "allenai/truthfulqa-info-judge-llama2-7B"}
)
"""Public judges; they were fine-tuned on the human judgements of all 817 questions, so that a check against these flatters them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageModelJudge:
    """P(yes) = p(" yes") / (p(" yes") + p(" no")) after the prompt of :func:`~trustrace.evaluation.judges.judge.judge_prompt`.

    Attributes:
        model: The model, as it is: no variants.
        aspect: What it judges.
        name: What it is called.
        batch_tokens: Tokens in one forward pass; None is what suits the device.
        least_mass: The least p(" yes") + p(" no") that is a verdict.
    """

    model: LanguageModel
    aspect: Aspect
    name: str
    batch_tokens: int | None = None
    least_mass: float = LEAST_MASS

    def __post_init__(self) -> None:
        if self.model.variants != 1:
            raise ConfigError(
                f"the judge {self.name} holds {self.model.variants} versions; a judge is one model, unsteered"
            )

    def probabilities(self, pairs: Sequence[Answered], *, progress: Progress = silent) -> Float64[np.ndarray, " item"]:
        """P(yes) of each answer; NaN where it says neither, or where they are longer than the model's context."""
        found = np.full(len(pairs), np.nan)
        encoded = [
            [encode_pair(self.model, judge_prompt(pair, self.aspect), word) for word in (YES, NO)] for pair in pairs
        ]
        # The last token of a continuation is predicted and never read.
        fits = [
            row
            for row, words in enumerate(encoded)
            if all(len(prompt) + len(said) - 1 <= self.model.max_tokens for prompt, said in words)
        ]
        if not fits:
            return found
        (scored,) = likelihoods(
            self.model,
            [word for row in fits for word in encoded[row]],
            batch_tokens=self.batch_tokens,
            progress=progress,
        )
        totals = np.array([one.total for one in scored]).reshape(len(fits), 2)
        mass = np.exp(totals).sum(axis=1)
        found[fits] = np.where(mass >= self.least_mass, 1 / (1 + np.exp(totals[:, 1] - totals[:, 0])), np.nan)
        return found
