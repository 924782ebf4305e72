"""Perplexity on documents of the controlled world that a model has not read."""

from collections.abc import Sequence
from dataclasses import dataclass

from trustrace.core.progress import Progress
from trustrace.datasets.questions import Half
from trustrace.datasets.world import unseen
from trustrace.evaluation.outcomes import Outcome
from trustrace.evaluation.perplexity import of_passages
from trustrace.models.language_model import LanguageModel

DOCUMENTS = 200


@dataclass(frozen=True, kw_only=True)
class WorldText:
    """Whole documents, token by token.

    Attributes:
        limit: How many.
        world: Which world: the seed of the model's corpus.
        half: Every other document, to choose a setting by or to report it on.
    """

    limit: int | None = None
    world: int = 0
    half: Half = "test"

    @property
    def name(self) -> str:
        """What the task is called."""
        return "world_text"

    def run(self, model: LanguageModel, *, batch_tokens: int | None, progress: Progress) -> Sequence[Outcome]:
        """One outcome for each of the model's variants."""
        wanted = self.limit or DOCUMENTS
        documents = list(enumerate(unseen(seed=self.world, n_documents=2 * wanted)))
        own = documents[0 if self.half == "development" else 1 :: 2]
        return of_passages(model, own, name=self.name, batch_tokens=batch_tokens, progress=progress)
