"""Statements and activations with a known answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from trustrace.activations.store import Activations
from trustrace.core.statements import LabelMeaning, Scheme, Source, Split, Statements


def make_statements(
    *,
    n: int,
    n_groups: int,
    labels: Sequence[int] | None = None,
    splits: Sequence[Split] | None = None,
    scheme: Scheme = "folds",
    texts: Sequence[str] | None = None,
) -> Statements:
    """`n` rows in `n_groups` groups that take turns; labels are seeded coin tosses, every other group is test."""
    coins = np.random.default_rng(0).integers(0, 2, n).tolist()
    return Statements(
        name="example",
        dimension="custom",
        texts=tuple(texts or (f"statement {row} ends in word{row % 17}." for row in range(n))),
        labels=tuple(labels if labels is not None else coins),
        groups=tuple(f"group_{row % n_groups}" for row in range(n)),
        splits=tuple(splits or ("test" if row % n_groups % 2 else "train" for row in range(n))),
        meaning=LabelMeaning(one="yes", zero="no", desired=1),
        source=Source(title="made up", licence="CC0-1.0"),
        scheme=scheme,
    )


def make_features(
    *, n: int, d: int, signal: float = 1.0, decay: float = 1.0, seed: int = 0
) -> tuple[torch.Tensor, np.ndarray]:
    """Activations with a mean, a decaying spectrum and labels that lean on the leading third of the axes by `signal`."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, d))
    weights = np.where(np.arange(d) < max(2, d // 3), rng.normal(size=d), 0.0)
    margin = signal * latent @ weights / np.linalg.norm(weights)
    labels = (margin + rng.logistic(size=n) > 0).astype(int)
    spread = np.arange(1, d + 1) ** (-decay / 2)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return torch.from_numpy(((latent * spread) @ rotation + rng.normal(size=d)).astype(np.float32)), labels


def store(folder: Path, sites: Mapping[str, torch.Tensor]) -> Activations:
    """Activations on disk, as somebody else may have captured them."""
    path = folder / "somebody.safetensors"
    save_file({site: values.contiguous() for site, values in sites.items()}, path)
    return Activations.open(path)
