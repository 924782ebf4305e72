"""Models in memory, and one of several versions, made with a hook that tests wrote themselves."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from trustrace.models import loading, sources, tiny
from trustrace.models.language_model import LanguageModel
from trustrace.models.layout import current_layout


@cache
def random_model(family: str, *, adds_bos: bool) -> LanguageModel:
    """A tiny model with random weights."""
    return LanguageModel.of(tiny.build(family), tiny.tokenizer(adds_bos=adds_bos))


@cache
def stories(data_dir: Path) -> LanguageModel:
    """The small real LLaMA."""
    source = sources.open_source(str(data_dir / "models" / "stories260K"))
    return loading.load(source, source.checkpoints()[0], prove=False)


@contextmanager
def versions(model: LanguageModel, alphas: Sequence[float]) -> Iterator[LanguageModel]:
    """`model` with alpha times a fixed vector added to its second block's output at every token, one version for each alpha."""
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(5))
    strengths = torch.tensor(alphas)

    def added(module, args, output):
        chosen = current_layout().variants
        alpha = strengths[chosen] if chosen is not None else strengths[:1].expand(len(output))
        return output + alpha[:, None, None] * vector

    handle = model.anatomy.blocks[1].register_forward_hook(added)
    try:
        yield replace(model, variants=len(alphas), sharing="beginning")
    finally:
        handle.remove()
