"""One batch through the decoder: every wanted site, no vocabulary head, no cache."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trustrace.activations.batching import Batch
from trustrace.core.errors import ModelError
from trustrace.core.sites import Site
from trustrace.models.anatomy import watching
from trustrace.models.language_model import LanguageModel

Reduction = Callable[[Float[Tensor, "row token d_model"]], Tensor]


def read_sites(model: LanguageModel, batch: Batch, sites: Sequence[Site], reduce: Reduction) -> dict[Site, Tensor]:
    """What `reduce` makes of the residual stream at each site, from one forward pass.

    The stream is reduced as it passes, so that it is never held at two sites at once.

    Raises:
        ModelError: the batch does not fit the device's memory.
    """
    values: dict[Site, Tensor] = {}

    def keep(site: Site, residual: Float[Tensor, "row token d_model"]) -> None:
        values[site] = reduce(residual)

    with torch.inference_mode(), evaluating(model.module), watching(model.anatomy, sites, keep):
        try:
            model.anatomy.decoder(**_inputs(model, batch), use_cache=False)
        except torch.OutOfMemoryError as error:
            rows, width = batch.tokens.shape
            raise ModelError(
                f"{model.checkpoint.key}: a batch of {rows} rows of {width} tokens does not fit the memory of {model.device}; "
                "lower batch_tokens, or load the model in a narrower dtype"
            ) from error
    return values


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Every part of `module` in evaluation mode; those that were training go on with it afterwards."""
    training = [part for part in module.modules() if part.training]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True


def _inputs(model: LanguageModel, batch: Batch) -> dict[str, Tensor]:
    tokens = batch.tokens.to(model.device)
    if not batch.has_branches:
        return {"input_ids": tokens}
    ancestry = batch.ancestry.to(model.device)
    # Additive, since eager attention adds the mask; the lowest finite number, since a whole row of -inf would be NaN.
    mask = torch.zeros(ancestry.shape, dtype=model.dtype, device=model.device)
    mask.masked_fill_(~ancestry, torch.finfo(model.dtype).min)
    return {"input_ids": tokens, "position_ids": batch.depths.to(model.device), "attention_mask": mask}
