"""A model that is being trained may be read, if training cannot tell afterwards."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(module: nn.Module, *, device: torch.device) -> Iterator[None]:
    """While open, `module` is in evaluation mode and computes in the precision of its weights; afterwards all is as it was.

    What is put back: the mode, the buffers and the attributes of every part, and the generators of Python, numpy, torch and `device`.
    Whoever reads inside takes no gradients (``torch.inference_mode``), so that those of training stand as they are.
    """
    with _parts_kept(module), _generators_kept(device), torch.autocast(device.type, enabled=False):
        module.eval()
        yield


@contextmanager
def _parts_kept(module: nn.Module) -> Iterator[None]:
    # Some rotary embeddings replace their buffers when they meet a longer text, and note its length in an attribute: training would go
    # on with other numbers, or fail on a buffer that was made where no gradients are.
    parts = [(part, dict(vars(part)), dict(part._buffers)) for part in module.modules()]
    contents = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for part, attributes, buffers in parts:
            vars(part).clear()
            vars(part).update(attributes)
            part._buffers.clear()
            part._buffers.update(buffers)
        with torch.no_grad():
            for buffer, content in contents:
                buffer.copy_(content)


@contextmanager
def _generators_kept(device: torch.device) -> Iterator[None]:
    accelerators = [device.index or 0] if device.type != "cpu" else []
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(accelerators, device_type=device.type if accelerators else "cuda"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
