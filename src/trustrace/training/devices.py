"""One device, or many under ``accelerate launch``: the few places where training must know the difference."""

import os
import pickle
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from trustrace.core.errors import ConfigError, MissingExtraError, RunError, UnsafeFileError
from trustrace.training.watching import require_whole

_SHARDING = ("FSDP", "DEEPSPEED", "MEGATRON_LM")
"""What accelerate calls the ways of training in which no process holds the whole model."""


class Devices:
    """A single process, and what a training step asks of the devices it runs on.

    Attributes:
        device: Where this process computes.
        rank: This process among `n_processes`.
        n_processes: How many train together.
    """

    def __init__(self, device: torch.device, *, rank: int = 0, n_processes: int = 1) -> None:
        self.device = device
        self.rank = rank
        self.n_processes = n_processes

    def prepare(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Any]:
        """Model and optimizer, ready to train."""
        return model.to(self.device), optimizer

    def accumulating(self, model: nn.Module, *, is_last: bool) -> AbstractContextManager[Any]:
        """Gradients inside are exchanged between processes only if `is_last`."""
        return nullcontext()

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Add the gradients of `loss`."""
        torch.autograd.backward(loss)

    def clip_(self, parameters: Iterator[nn.Parameter], *, max_norm: float) -> Float[Tensor, ""]:
        """Scale gradients down to the global norm `max_norm`; returns the norm before."""
        return nn.utils.clip_grad_norm_(parameters, max_norm)

    def total(self, value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The sum of `value` over all processes."""
        return value

    def wait(self) -> None:
        """Until every process is here."""

    def weights(self, model: nn.Module) -> tuple[Any, dict[str, Tensor]]:
        """The bare model and its whole state; every process must ask."""
        return model, model.state_dict()

    def whole(self, model: nn.Module) -> Any:
        """The bare model itself, for whoever reads it between two steps.

        Raises:
            ConfigError: no process holds the whole of it.
        """
        require_whole(model)
        return model

    def save_state(self, model: nn.Module, optimizer: Any, folder: Path) -> None:
        """Write what is needed to go on; every process must call."""
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "state.pt")

    def load_state(self, model: nn.Module, optimizer: Any, folder: Path) -> None:
        """Read what :meth:`save_state` wrote; every process must call.

        Raises:
            UnsafeFileError: the file asks for more than tensors and numbers.
            RunError: it is truncated, damaged, or another training's.
        """
        file = folder / "state.pt"
        try:
            with warnings.catch_warnings():
                # Torch warns of newer pickle protocols that its safe reader may refuse; a refusal is an error below.
                warnings.simplefilter("ignore", UserWarning)
                state = torch.load(file, map_location="cpu", weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        except pickle.UnpicklingError as error:
            raise UnsafeFileError(
                f"{file}: reading it could run code, because its pickle holds more than a training's state; remove {folder}, and the "
                "training goes on from an earlier state, or begins again"
            ) from error
        # What a damaged pickle asks of torch fails in as many ways as there are things to ask for.
        except Exception as error:
            raise RunError(
                f"{file}: no state of this training ({str(error).partition(chr(10))[0]}); remove {folder}, and it goes on from an "
                "earlier state, or begins again"
            ) from error


class ManyDevices(Devices):
    """The processes of an ``accelerate launch``: data parallel, sharded (FSDP) or DeepSpeed, as its configuration says."""

    def __init__(self, *, on_cpu: bool) -> None:
        try:
            from accelerate import Accelerator
        except ImportError:
            raise MissingExtraError.of("accelerate", extra="train", purpose="training on several devices") from None
        self._accelerator = each = Accelerator(cpu=on_cpu)
        super().__init__(each.device, rank=each.process_index, n_processes=each.num_processes)

    @override
    def prepare(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Any]:
        prepared: tuple[nn.Module, Any] = self._accelerator.prepare(model, optimizer)
        return prepared

    @override
    def accumulating(self, model: nn.Module, *, is_last: bool) -> AbstractContextManager[Any]:
        return nullcontext() if is_last else self._accelerator.no_sync(model)

    @override
    def backward(self, loss: Float[Tensor, ""]) -> None:
        self._accelerator.backward(loss)

    @override
    def clip_(self, parameters: Iterator[nn.Parameter], *, max_norm: float) -> Float[Tensor, ""]:
        norm: Tensor = self._accelerator.clip_grad_norm_(parameters, max_norm)
        return norm

    @override
    def total(self, value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        summed: Tensor = self._accelerator.reduce(value, reduction="sum")
        return summed

    @override
    def wait(self) -> None:
        self._accelerator.wait_for_everyone()

    @override
    def weights(self, model: nn.Module) -> tuple[Any, dict[str, Tensor]]:
        return self._accelerator.unwrap_model(model), self._accelerator.get_state_dict(model)

    @override
    def whole(self, model: nn.Module) -> Any:
        kind = self._accelerator.distributed_type.value
        require_whole(model, sharded_by=kind if kind in _SHARDING else "")
        return self._accelerator.unwrap_model(model)

    @override
    def save_state(self, model: nn.Module, optimizer: Any, folder: Path) -> None:
        self._accelerator.save_state(str(folder))

    @override
    def load_state(self, model: nn.Module, optimizer: Any, folder: Path) -> None:
        self._accelerator.load_state(str(folder))


def open_devices(device: str) -> Devices:
    """All devices of this launch.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` ...; under ``accelerate launch`` the launcher decides, ``cpu`` excepted.

    Raises:
        ConfigError: there is no such device.
        MissingExtraError: many processes were launched but accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return ManyDevices(on_cpu=device == "cpu")
    return Devices(_existing(device))


def _existing(name: str) -> torch.device:
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto":
        return torch.device(accelerator or "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {name!r} cannot be used; here is {accelerator or 'no accelerator'}, and 'cpu': {error}"
        ) from None
    return device
