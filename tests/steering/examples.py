"""Activations with a known direction, and vectors made up by hand, for the tests of this room."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file

from trustrace.activations.store import Activations
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.statements import LabelMeaning, Source, Split, Statements
from trustrace.steering.vectors import Scales, SteeringVector


def make_statements(
    n: int = 240, *, desired: Literal[0, 1] = 1, paired: bool = True, seed: int = 0, splits: Sequence[Split] = ()
) -> Statements:
    """`n` rows; groups are pairs of one row of each label, or four rows of one label; two of three groups are development."""
    labels = [row % 2 for row in range(n)] if paired else [row // 4 % 2 for row in range(n)]
    groups = [f"group_{row // (2 if paired else 4):04d}" for row in range(n)]
    parts: tuple[Split, ...] = ("train", "validation", "test")
    return Statements(
        name="example",
        dimension="custom",
        texts=tuple(f"statement {row} of seed {seed}" for row in range(n)),
        labels=tuple(labels),
        groups=tuple(groups),
        splits=tuple(splits) or tuple(parts[int(group[-4:]) % 3] for group in groups),
        meaning=LabelMeaning(one="yes", zero="no", desired=desired),
        source=Source(title="made up", licence="CC0-1.0"),
    )


def make_values(
    statements: Statements, *, d_model: int = 24, signal: float = 1.0, seed: int = 0, shift: float = 3.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations whose classes lie `signal` apart along a direction, in unequal noise around a common `shift`; and the direction."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=d_model)
    truth /= np.linalg.norm(truth)
    noise = rng.normal(size=(len(statements), d_model)) * np.linspace(0.2, 2.0, d_model)
    values = noise + shift + signal * np.outer(np.asarray(statements.labels) - 0.5, truth)
    return torch.from_numpy(values.astype(np.float32)), torch.from_numpy(truth.astype(np.float32))


def store(folder: Path, **sites: torch.Tensor) -> Activations:
    """Activations on disk, as somebody else may have captured them."""
    path = folder / "somebody.safetensors"
    save_file({site: values.contiguous() for site, values in sites.items()}, path)
    return Activations.open(path)


def checkpoint(step: int = 100, model: str = "toy") -> Checkpoint:
    return Checkpoint(
        family="pretrain",
        model=model,
        revision=f"step_{step:07d}",
        step=step,
        tokens_seen=1000 * step,
        commit=f"commit_{step}",
    )


def make_vector(along: torch.Tensor | None = None, **changes: Any) -> SteeringVector:
    """A vector along `along` (the first axis of eight if not given), with four different scales."""
    raw = torch.eye(8)[0] if along is None else along
    values: dict[str, Any] = {
        "site": "block_1",
        "direction": (raw / raw.norm()).float(),
        "kind": "mass_mean",
        "scales": Scales(distance=2.0, within_std=0.5, projection_std=1.25, residual_norm=40.0),
        "dataset": "example",
        "fingerprint": "f" * 64,
        "checkpoint": checkpoint(),
        "position": "last",
        "n": 160,
        "n_groups": 80,
        "seed": 3,
        "model_type": "llama",
        "d_model": len(raw),
        "n_blocks": 3,
        "tokenizer": "t" * 64,
    }
    return SteeringVector(**values | changes)
