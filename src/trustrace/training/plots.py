"""Where the numbers of a run are plotted while it goes on: TensorBoard's event files, under the names that transformers' Trainer gives.

A run that goes on from step k writes its events anew from there; what a reader finds of later steps that a killed process left is dropped.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from trustrace.core.errors import ConfigError


@runtime_checkable
class Plots(Protocol):
    """Takes named numbers over training, in the first process of those that train."""

    def begin(self, step: int) -> None:
        """Training begins, or goes on, at `step`; nothing that was plotted of later steps counts."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Plot `values` of `step`."""

    def close(self) -> None:
        """Write out what was added; training goes no further in this process."""


class TensorBoardPlots:
    """Event files in `folder`, for ``tensorboard --logdir``."""

    def __init__(self, folder: Path) -> None:
        """Try whether they could be written, before anything is trained.

        Raises:
            ConfigError: the package tensorboard is not installed.
        """
        if importlib.util.find_spec("tensorboard") is None:
            raise ConfigError(
                "report_to: tensorboard is not installed; pip install tensorboard, or leave report_to out: the numbers are in log.jsonl"
            )
        self.folder = folder
        self._writer: Any = None

    def begin(self, step: int) -> None:
        """Open an event file; readers drop what others hold of steps after `step`."""
        from torch.utils.tensorboard import SummaryWriter

        self.close()
        self._writer = SummaryWriter(log_dir=str(self.folder), purge_step=step + 1 if step else None)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar each."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the event file, if one is open."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
