"""Capturing the activations of one dataset in one checkpoint."""

from pathlib import Path

from trustrace.activations.capture import capture
from trustrace.activations.check import CaptureCheck, check_capture
from trustrace.activations.encoding import Truncation
from trustrace.activations.store import Activations
from trustrace.core.errors import CheckpointError
from trustrace.core.progress import Progress
from trustrace.core.sites import Position
from trustrace.core.statements import Statements
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load
from trustrace.models.sources import open_source
from trustrace.studies.settings import Settings

CHECKED = 48
"""Statements that the self-check compares."""


def load_model(
    source: str, *, revision: str | None, settings: Settings, dtype: str = "auto", trust_remote_code: bool = False
) -> LanguageModel:
    """The checkpoint `revision` of `source`, or its last one.

    Raises:
        CheckpointError: there is no such revision.
    """
    series = open_source(source)
    known = series.checkpoints()
    wanted = [checkpoint for checkpoint in known if revision in (None, checkpoint.revision)]
    if not wanted:
        some = ", ".join(checkpoint.revision for checkpoint in known[:5])
        raise CheckpointError(f"{source} has no checkpoint {revision!r}; it has {len(known)}, such as {some}")
    settings.require_device()
    return load(series, wanted[-1], device=settings.model_device, dtype=dtype, trust_remote_code=trust_remote_code)


def capture_statements(
    model: LanguageModel,
    statements: Statements,
    *,
    out: Path,
    sites: tuple[str, ...],
    position: Position,
    truncation: Truncation,
    settings: Settings,
    progress: Progress,
) -> Activations:
    """The activations of `statements` in `model`, written to `out`; no `sites` means all of them."""
    return capture(
        model,
        statements.texts,
        sites=sites or "all",
        position=position,
        truncation=truncation,
        batch_tokens=settings.batch_tokens,
        out=out,
        fingerprint=statements.texts_fingerprint,
        progress=progress,
    )


def check_model(model: LanguageModel, statements: Statements, *, position: Position) -> CaptureCheck:
    """Whether batches give what one statement at a time gives, on the first statements: those of one source begin alike.

    Raises:
        ModelError: they differ by more than rounding.
    """
    result = check_capture(model, statements.texts[:CHECKED], position=position)
    result.require()
    return result
