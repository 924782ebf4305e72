"""Where a model's weights lie: on one device, or its blocks spread over all GPUs."""

import gc
from collections.abc import Mapping
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from trustrace.core.errors import ConfigError, MissingExtraError, ModelError
from trustrace.models.quiet import quietly

BALANCED: Literal["balanced"] = "balanced"
"""All GPUs, each with its share of the blocks: for models that are larger than one of them."""

SPARED_FIRST = 4_000_000_000
"""Bytes of the first GPU that weights leave free: inputs and logits are there, and what is measured is computed there."""

SPARED = 1_000_000_000
"""Bytes of every other GPU that weights leave free, for what passes through its blocks."""

Placement = torch.device | Literal["balanced"]


def placement(name: str) -> Placement:
    """What is called `name`.

    Raises:
        ConfigError: there is no such device.
        MissingExtraError: it is :data:`BALANCED`, and accelerate is not installed.
    """
    if name == BALANCED:
        _accelerate()
        return BALANCED
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}; use 'cpu', 'cuda', 'cuda:<i>' or {BALANCED!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r} is absent: torch sees {torch.cuda.device_count()} CUDA devices; use 'cpu'")
    return device


def placed(module: PreTrainedModel, place: Placement, *, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """`module` where it belongs, in `dtype` if one is given.

    Raises:
        ModelError: the GPUs together do not hold it.
    """
    if isinstance(place, torch.device):
        return module.to(place, dtype)
    module = module.to(dtype=dtype)
    _let_go()
    return spread(module, _balanced(module))


def spread(module: PreTrainedModel, parts: Mapping[str, str | int]) -> PreTrainedModel:
    """`module` with each of its parts on a device of its own; what passes from part to part is moved along.

    Args:
        module: The model, in the memory of the host.
        parts: Names of parts, and their devices.
    """
    with quietly():
        _accelerate().dispatch_model(module, device_map=dict(parts))
    return module


def _let_go() -> None:
    """Make the memory of models that are no longer used free, before it is measured how much is.

    What moves tensors along refers to the model, and the model to it: one that was used before goes only when it is looked for.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _balanced(module: PreTrainedModel) -> Mapping[str, str | int]:
    """An equal share of the blocks for each GPU, less what is spared; a machine without one has the processor."""
    if not torch.cuda.is_available():
        return {"": "cpu"}
    accelerate, whole = _accelerate(), list(module._no_split_modules or ())
    free = accelerate.utils.get_max_memory()
    room = {device: max(0, count - _spared(device)) for device, count in free.items()}
    shares = accelerate.utils.get_balanced_memory(module, max_memory=room, no_split_module_classes=whole)
    # Weights that wait in the host's memory would come through the bus at every pass.
    limits = {device: 0 if device == "cpu" else share for device, share in shares.items()}
    parts: Mapping[str, str | int] = accelerate.infer_auto_device_map(
        module, max_memory=limits, no_split_module_classes=whole, offload_buffers=True
    )
    if "disk" in parts.values() or "cpu" in parts.values():
        size = module.get_memory_footprint() / 1e9
        raise ModelError(
            f"{type(module).__name__}: its {size:.0f} GB do not fit the free memory of {torch.cuda.device_count()} GPUs, of which "
            f"{SPARED_FIRST / 1e9:.0f} GB of the first and {SPARED / 1e9:.0f} GB of each other are kept for computing; "
            "take more or larger ones, or a narrower dtype"
        )
    return parts


def _spared(device: str | int) -> int:
    if device == "cpu":
        return 0
    return SPARED_FIRST if device == 0 else SPARED


def _accelerate() -> Any:
    try:
        import accelerate
    except ImportError as error:
        raise MissingExtraError.of("accelerate", extra="train", purpose="a model over several GPUs") from error
    return accelerate
