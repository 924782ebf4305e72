"""Where work is done. Nothing here changes an answer, so nothing here is hashed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trustrace.core.errors import ConfigError

BALANCED = "balanced"
"""A device of many: all GPUs, each with its share of a model's blocks."""

Order = Literal["coarse", "series"]
"""How a series is worked through: its ends first and then ever finer, or from its beginning."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where work is done.

    Attributes:
        device: A torch device; ``auto``, a GPU where there is one; or ``balanced``, where a model's blocks lie on all GPUs, and what is
            measured in them is computed on the first.
        batch_tokens: Tokens in one forward pass; None is what suits the device.
        data_dir: A folder of real data; None downloads what is missing.
        keep_downloads: Keep checkpoints that a trace fetched from the hub in its cache; a series can be larger than the disk.
        disk_budget: Bytes that checkpoints which a trace fetches may take at any time; with one, none is kept. None is what the disk has.
        ahead: How many checkpoints are fetched while one is measured.
        order: Which checkpoints are measured first.
    """

    device: str = "auto"
    batch_tokens: int | None = None
    data_dir: Path | None = None
    keep_downloads: bool = True
    disk_budget: int | None = None
    ahead: int = 1
    order: Order = "coarse"

    @property
    def lets_go(self) -> bool:
        """Whether checkpoints that were fetched go when they have been measured."""
        return self.disk_budget is not None or not self.keep_downloads

    @property
    def model_device(self) -> str:
        """Where models are loaded that are read and not changed: :meth:`torch_device`, or ``balanced``."""
        return self.device if self.device == BALANCED else self.torch_device()

    def torch_device(self) -> str:
        """The device's name as torch knows it."""
        if self.device not in ("auto", BALANCED):
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def require_device(self, *, spreads: bool = True) -> None:
        """Do nothing where torch can use the device.

        Args:
            spreads: Whether this work can be done in a model whose blocks lie on several devices.

        Raises:
            ConfigError: it cannot.
        """
        import torch

        if self.device == BALANCED and not spreads:
            raise ConfigError(
                f"--device {BALANCED}: models are spread over several GPUs by trace, dynamics and capture alone; use cuda, cpu or auto"
            )
        name = self.torch_device()
        try:
            torch.empty(1, device=name)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"--device {name}: torch cannot use it ({str(error).splitlines()[0]}); use cpu, or auto"
            ) from None
