"""Where work is done. Nothing here changes an answer, so nothing here is hashed."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where work is done.

    Attributes:
        device: A torch device, or ``auto``: a GPU where there is one.
        batch_tokens: Tokens in one forward pass; None is what suits the device.
        data_dir: A folder of real data; None downloads what is missing.
        keep_activations: Keep each unit's activations beside its record.
    """

    device: str = "auto"
    batch_tokens: int | None = None
    data_dir: Path | None = None
    keep_activations: bool = False

    def torch_device(self) -> str:
        """The device's name as torch knows it."""
        if self.device != "auto":
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
