"""What a model did on a task, item by item; a number with its interval comes out of that alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float64
from numpy import ndarray

from trustrace.core.progress import Progress
from trustrace.models.language_model import LanguageModel

Statistic = Literal["mean", "product_of_means", "ratio", "exp_ratio", "auroc", "pearson", "spearman"]
"""How items become a number. `mean`: of the one part. `product_of_means`: of each part. `ratio`: the sum of the first part / that
of the second, such as F1. `exp_ratio`: exp(sum of the first part / sum of
the second), such as a perplexity from negative log-likelihoods and token counts. `auroc`: how well the second part, a score, ranks the
items of label 1 in the first part above those of label 0. `pearson`, `spearman`: the correlation of the two parts."""

Better = Literal["higher", "lower", "neither"]
"""In which direction a model is better."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Graded:
    """One quantity, item by item.

    Attributes:
        quantity: What it is: ``truth``, ``toxic``, ``accuracy``, ``perplexity`` ...
        method: Who or what graded: a judge's name, ``log_probability``, ``parsed`` ...
        values: The parts of each item; NaN where the item has none, and then it is left out and counted in the note. An infinite part of a
            `ratio` or `exp_ratio` is a value, elsewhere it is none.
        groups: The group of each item: the unit of resampling.
        statistic: How items become a number.
        better: In which direction the model is better.
        note: What a reader must know.
    """

    quantity: str
    method: str
    values: Float64[ndarray, "item part"]
    groups: tuple[str, ...]
    statistic: Statistic = "mean"
    better: Better = "higher"
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What one version of a model did on one task.

    Attributes:
        dataset: The items, such as ``truthfulqa`` or ``lambada``.
        graded: The quantities, over the same items or some of them.
        samples: One JSON object per item for people to read: prompt, response, grades.
    """

    dataset: str
    graded: tuple[Graded, ...]
    samples: tuple[Mapping[str, Any], ...] = field(default=())


@runtime_checkable
class Task(Protocol):
    """Something a model can be asked to do. It does not know whether the model is steered."""

    @property
    def name(self) -> str:
        """What the task is called on the command line."""

    def run(self, model: LanguageModel, *, batch_tokens: int | None, progress: Progress) -> Sequence[Outcome]:
        """One outcome for each of the model's variants."""
