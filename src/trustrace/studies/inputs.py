"""The inputs of each dataset as the last checkpoint embeds them: what stands still while the model moves."""

from collections.abc import Sequence
from pathlib import Path

from trustrace.activations.capture import capture
from trustrace.activations.encoding import encode
from trustrace.core.errors import DataError
from trustrace.core.statements import Statements
from trustrace.measures.information.inputs import FixedInputs
from trustrace.models.language_model import LanguageModel
from trustrace.studies.config import TraceConfig
from trustrace.studies.settings import Settings


def fixed_inputs(
    model: LanguageModel, datasets: Sequence[Statements], *, study: TraceConfig, settings: Settings, folder: Path
) -> dict[str, FixedInputs]:
    """The mean input embedding and the tokens of every statement, by dataset; embeddings are kept in `folder`.

    A dataset that cannot be captured is left out: its own units say why when their turn comes.
    """
    found: dict[str, FixedInputs] = {}
    for place, statements in enumerate(datasets):
        try:
            embedded = capture(
                model,
                statements.texts,
                sites=("embed",),
                position="mean",
                batch_tokens=settings.batch_tokens,
                truncation=study.truncation,
                out=folder / f"inputs_{place}.safetensors",
            )
            tokens = [one.ids for one in encode(model, statements.texts, truncation=study.truncation)]
        except DataError:
            continue
        found[statements.name] = FixedInputs(embedding=embedded.values("embed"), tokens=tokens)
    return found
