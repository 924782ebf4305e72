"""Series of checkpoints in which what emerges, turns or is forgotten is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from tests.measures.examples import make_statements
from trustrace.activations.store import Activations
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.statements import Statements
from trustrace.measures.config import ProbingConfig
from trustrace.measures.over_training.views import Design, View

QUICK = ProbingConfig(folds=3, regularisers=(1e-2, 1.0), bootstrap_draws=200)

Direction = Callable[[int], np.ndarray]


def statements_of(labels: np.ndarray, *, n_groups: int | None = None, **fields: object) -> Statements:
    """Statements with the given labels."""
    return make_statements(n=len(labels), n_groups=n_groups or len(labels) // 2, labels=labels.tolist(), **fields)


def coins(n: int, seed: int = 0) -> np.ndarray:
    """Labels of equal chance."""
    return np.random.default_rng([seed, n]).permutation(np.arange(n) % 2)


def checkpoint(place: int) -> Checkpoint:
    """The checkpoint at `place` of a run that saves at steps 1, 2, 4 ..."""
    return Checkpoint(
        family="folder", model="planted", revision=f"step{2**place}", step=2**place, tokens_seen=1000 * 2**place
    )


def activations(
    labels: np.ndarray, strengths: np.ndarray, *, d: int = 12, turn: np.ndarray | None = None, seed: int = 0
) -> list[torch.Tensor]:
    """One tensor a checkpoint: noise, a mean, a growing norm, and the label by `strengths` on an axis at an angle of `turn` (radians)."""
    rng = np.random.default_rng([seed, 7])
    mean = rng.normal(size=d) * 3
    angles = np.zeros(len(strengths)) if turn is None else turn
    found = []
    for place, (strength, angle) in enumerate(zip(strengths, angles, strict=True)):
        axis = np.zeros(d)
        axis[0], axis[1] = np.cos(angle), np.sin(angle)
        x = rng.normal(size=(len(labels), d)) + strength * (2 * labels[:, None] - 1) * axis
        found.append(torch.from_numpy(((x + mean) * (1 + 0.2 * place)).astype(np.float32)))
    return found


def views_of(values: list[torch.Tensor], *, site: str = "block_0") -> tuple[View, ...]:
    """A view of each tensor, as the checkpoints of one run."""
    return tuple(
        View(name=checkpoint(place).key, checkpoint=checkpoint(place), site=site, read=lambda one=one: one)
        for place, one in enumerate(values)
    )


def design_of(statements: Statements, *, config: ProbingConfig = QUICK, seed: int = 0) -> Design:
    """The design of the statements."""
    return Design.of(statements, config=config, seed=seed)


def stored(folder: Path, place: int, sites: dict[str, torch.Tensor]) -> Activations:
    """The activations of one checkpoint on disk."""
    path = folder / f"checkpoint_{place}.safetensors"
    save_file({site: values.contiguous() for site, values in sites.items()}, path)
    opened = Activations.open(path)
    return Activations(
        path=path,
        checkpoint=checkpoint(place),
        sites=opened.sites,
        position="last",
        fingerprint="",
        n=opened.n,
        d_model=opened.d_model,
    )
