"""How much is read from a checkpoint, by its configuration alone."""

from dataclasses import dataclass

import torch
from transformers import AutoConfig

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.models import trusting
from trustrace.models.quiet import quietly
from trustrace.models.sources import CheckpointSource


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The size of a model's residual stream.

    Attributes:
        n_blocks: Blocks of the decoder.
        d_model: Width.
        bytes_per_value: Of what it computes in.
    """

    n_blocks: int
    d_model: int
    bytes_per_value: int


def extent_of(
    source: CheckpointSource, checkpoint: Checkpoint, *, dtype: str = "auto", trust_remote_code: bool = False
) -> Extent:
    """The extent of a checkpoint, as :func:`trustrace.models.loading.load` would give it; no weights are fetched.

    Raises:
        CheckpointError: its configuration is missing, or does not say.
        ModelError: its architecture is unknown here.
    """
    with source.path(checkpoint, with_weights=False) as folder:
        trusting.require_known(folder, trusted=trust_remote_code)
        try:
            with quietly():
                config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
            text = config.get_text_config(decoder=True)
            computed = config.dtype if dtype == "auto" else getattr(torch, dtype)
            return Extent(
                n_blocks=int(text.num_hidden_layers),
                d_model=int(text.hidden_size),
                bytes_per_value=(computed or torch.float32).itemsize,
            )
        # Each architecture fails in a way of its own over a configuration that does not fit it.
        except Exception as error:
            raise CheckpointError(
                f"{folder}: its configuration does not say how large the model is: {error}"
            ) from error
