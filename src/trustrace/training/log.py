"""The log of a run: one JSON line per step, with what it cost, and one per save, with the held-out loss."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trustrace.core.errors import RunError
from trustrace.core.progress import Progress
from trustrace.training.folder import write_whole
from trustrace.training.plots import Plots

_STEPS_AT_ONCE = 16

_PLOTTED = {"loss": "train/loss", "learning_rate": "train/learning_rate", "gradient_norm": "train/grad_norm"}

# A loss beyond this has a perplexity that no float holds.
_LARGEST_EXPONENT = 700.0


class TrainingLog:
    """Writes the log of a run to a path, where there is one, tells its progress, and plots it where plots are wanted.

    Losses stay on their device until several are fetched at once, so that a GPU is not stopped at every step.
    """

    def __init__(
        self, path: Path | None, *, total: int, tokens_per_step: int, progress: Progress, plots: Plots | None = None
    ) -> None:
        self._path = path
        self._plots = plots
        self._total = total
        self._tokens_per_step = tokens_per_step
        self._progress = progress
        self._pending: list[tuple[int, float, Tensor]] = []
        self._since = time.perf_counter()

    def note(self, step: int, *, learning_rate: float, loss: Tensor, gradient_norm: Tensor) -> None:
        """Step `step` is done."""
        self._pending.append((step, learning_rate, torch.stack([loss.detach(), gradient_norm.detach()])))

    @property
    def is_due(self) -> bool:
        """Whether enough steps wait to be written."""
        return len(self._pending) >= _STEPS_AT_ONCE

    def flush(self) -> None:
        """Write what was noted.

        Raises:
            RunError: a loss is not finite.
        """
        if not self._pending:
            return
        values = torch.stack([value for _, _, value in self._pending]).tolist()
        now = time.perf_counter()
        rate = len(self._pending) * self._tokens_per_step / (now - self._since)
        lines = [
            {
                "step": step,
                "tokens_seen": step * self._tokens_per_step,
                "loss": loss,
                "learning_rate": learning_rate,
                "gradient_norm": norm,
                "tokens_per_second": round(rate, 1),
            }
            for (step, learning_rate, _), (loss, norm) in zip(self._pending, values, strict=True)
        ]
        self._write(lines)
        self._pending, self._since = [], now
        _require_finite(lines)
        for line in lines:
            self.plot(int(line["step"]), {name: line[key] for key, name in _PLOTTED.items()})
        last = lines[-1]
        self._progress(int(last["step"]), self._total, f"steps: loss {last['loss']:.3f}, {rate:,.0f} tokens/s")

    def saved(self, step: int, *, held_out_loss: float, held_out_tokens: int) -> None:
        """A checkpoint of step `step` was saved; what that took does not count as training time."""
        self._write(
            [
                {
                    "step": step,
                    "tokens_seen": step * self._tokens_per_step,
                    "held_out_loss": held_out_loss,
                    "held_out_perplexity": math.exp(min(held_out_loss, _LARGEST_EXPONENT)),
                    "held_out_tokens": held_out_tokens,
                }
            ]
        )
        self.plot(step, {"eval/loss": held_out_loss})
        self.rested()

    def plot(self, step: int, values: Mapping[str, float]) -> None:
        """Plot `values` of `step`, where plots are wanted."""
        if self._plots is not None and values:
            self._plots.add(step, values)

    def rested(self) -> None:
        """Training goes on; what was done since it stopped does not count as training time."""
        self._since = time.perf_counter()

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if self._path is None:
            return
        with self._path.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


def _require_finite(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if not math.isfinite(line["loss"]):
            raise RunError(
                f"the loss is {line['loss']} at step {line['step']}: training diverged; lower the learning rate or lengthen the warm-up"
            )


def truncate(path: Path, *, step: int) -> None:
    """Drop what was logged after `step`: a run that resumes there writes it again."""
    if not path.is_file():
        return
    kept = [line for line in path.read_text("utf-8", errors="replace").splitlines() if _step_of(line) <= step]
    write_whole(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    """The step of a line; a line that was cut off while it was written belongs to no step that is kept."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return math.inf
