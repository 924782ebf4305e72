"""Every wanted site of every statement, in one pass over as few tokens as possible."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from trustrace.activations.batching import Batch, Tree, batched, lay_out, plant
from trustrace.activations.encoding import Encoding, Span, Truncation, encode
from trustrace.activations.forward import read_sites
from trustrace.activations.pooling import Pooling
from trustrace.activations.sharing import Sharing, decide
from trustrace.activations.store import Activations
from trustrace.activations.writing import Writer, writing
from trustrace.core.errors import ConfigError
from trustrace.core.progress import Progress, silent
from trustrace.core.sites import Position, Site, select_sites
from trustrace.models.language_model import LanguageModel


def capture(
    model: LanguageModel,
    texts: Sequence[str],
    *,
    out: Path,
    sites: Sequence[str] | Literal["all"] = "all",
    position: Position = "last",
    spans: Sequence[Span] | None = None,
    truncation: Truncation = "never",
    batch_tokens: int | None = None,
    sharing: bool = True,
    progress: Progress = silent,
    fingerprint: str = "",
) -> Activations:
    """Read the residual stream of `model` on every text and write it to `out`.

    Equal to one text at a time up to rounding. Texts that begin alike share the computation of their beginning where the model allows
    it (:mod:`trustrace.activations.batching`); the vocabulary head is not run; memory holds one batch.

    Args:
        model: The model; left as it was found.
        texts: The statements.
        out: The safetensors file; its manifest ``<out>.json`` is written last.
        sites: Site names, or all of them.
        position: How a statement's tokens become one vector. A beginning-of-sequence token is never among them.
        spans: Characters (first, past last) of each statement to read instead of all of it; the model still sees the whole statement.
        truncation: What happens to statements longer than the context.
        batch_tokens: Tokens per forward pass; by default what suits the device.
        sharing: Whether shared beginnings may be computed once.
        progress: Told of tokens as they are done.
        fingerprint: Of the texts (``Statements.texts_fingerprint``), recorded so that a measurement can refuse others.

    Raises:
        ConfigError: a site is unknown, or `batch_tokens` is not positive.
        DataError: a statement is empty or too long.
        RunError: the file cannot be written.
    """
    if batch_tokens is not None and batch_tokens < 1:
        raise ConfigError(f"batch_tokens is {batch_tokens}; at least one token must go through the model at a time")
    chosen = select_sites(sites, n_blocks=model.n_blocks)
    encodings = encode(model, texts, spans=spans, truncation=truncation)
    sequences = [encoding.ids for encoding in encodings]
    budget = _comfortable(model) if batch_tokens is None else batch_tokens
    shared = decide(model, sequences, site=chosen[-1]) if sharing else Sharing(used=False, reason="it was switched off")
    trees = plant(sequences, sharing=shared.used)
    activations = Activations(
        path=out,
        checkpoint=model.checkpoint,
        sites=tuple(site.name for site in chosen),
        position=f"{position}_of_span" if spans else position,
        fingerprint=fingerprint,
        n=len(texts),
        d_model=model.d_model,
        provenance=_provenance(model, encodings, trees=trees, batch_tokens=budget, sharing=shared),
    )
    with writing(activations) as writer:
        _run(
            model,
            encodings,
            trees=trees,
            batch_tokens=budget,
            sites=chosen,
            position=position,
            writer=writer,
            progress=progress,
        )
    return activations


def _run(
    model: LanguageModel,
    encodings: Sequence[Encoding],
    *,
    trees: Sequence[Tree],
    batch_tokens: int,
    sites: Sequence[Site],
    position: Position,
    writer: Writer,
    progress: Progress,
) -> None:
    sequences = [encoding.ids for encoding in encodings]
    total, done = sum(tree.n_tokens for tree in trees), 0
    progress(done, total, "tokens")
    for rows in batched(trees, batch_tokens=batch_tokens):
        batch = lay_out(rows, sequences)
        pooling = _pooling(model, batch, encodings, position)
        for site, values in read_sites(model, batch, sites, pooling).items():
            writer.put(site.name, batch.statements, values.cpu().numpy())
        done += batch.n_tokens
        progress(done, total, "tokens")


def _pooling(model: LanguageModel, batch: Batch, encodings: Sequence[Encoding], position: Position) -> Pooling:
    members = [encodings[statement] for statement in batch.statements]
    return Pooling.of(batch.paths, members, position=position, device=model.device)


def _comfortable(model: LanguageModel) -> int:
    """Tokens per forward pass that suit the device."""
    if model.device.type != "cpu":
        return 16_384
    # Activations of one pass should stay in a core's cache, and matrix products still be square enough to run at full rate.
    return min(4096, max(256, 2**18 // model.d_model))


def _provenance(
    model: LanguageModel, encodings: Sequence[Encoding], *, trees: Sequence[Tree], batch_tokens: int, sharing: Sharing
) -> dict[str, Any]:
    """What a reader of the file must know to judge or repeat it."""
    config = model.module.config
    return {
        "dtype": str(model.dtype).removeprefix("torch."),
        "stored_dtype": "float32",
        "device": model.device.type,
        "attention": getattr(config, "_attn_implementation", None),
        "adds_bos": model.adds_bos,
        "tokens": sum(len(encoding.ids) for encoding in encodings),
        "tokens_computed": sum(tree.n_tokens for tree in trees),
        "batch_tokens": batch_tokens,
        "prefix_sharing": asdict(sharing),
        "versions": {package: version(package) for package in ("trustrace", "torch", "transformers")},
    }
