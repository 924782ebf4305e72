"""Normalised HSIC of one layer of a 7B model, and everything that is measured there, against the published arithmetic.

The baseline is the formula as the scripts write it: kernels, one-sided centring, inverses of matrices that are not symmetric, for T, X and
the labels anew at every layer. Ours has factored X once for all layers, as a trace does, and that is not counted; the Gram matrix of T is,
although a trace has it from probing.
"""

import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

from benchmarks.rows import Row, peak, resident, seconds
from trustrace.activations.store import Activations
from trustrace.core.draws import generator
from trustrace.core.statements import LabelMeaning, Source, Statements
from trustrace.measures.config import InformationConfig, ProbingConfig
from trustrace.measures.information.inputs import FixedInputs
from trustrace.measures.information.kernels import LabelKernel, gaussian_, squared_distances
from trustrace.measures.information.operators import Operator, inner, smoother_
from trustrace.measures.measure import measure
from trustrace.measures.spaces import symmetric_product

D_MODEL, RIDGE, SIGMA = 4096, 1e-5, 50.0
REPEATS = {1561: 5, 5211: 2}


def run() -> list[Row]:
    rows = [_pair_row(n, reach=reach) for n, reach in ((1561, 8.0), (5211, 10.0))]
    return [*rows, _everything_row(), _memory_row()]


def _pair_row(n: int, *, reach: float) -> Row:
    ratios, details, error = [], [], 0.0
    for repeat in range(REPEATS[n]):
        t, x, labels = _example(n, seed=repeat)
        own = smoother_(_kernel(x), ridge=RIDGE)
        found: list[tuple[float, float]] = []
        ours = seconds(lambda: found.append(_ours(t, own, labels)))  # noqa: B023 - called at once
        theirs = seconds(lambda: found.append(_published(t, x, labels, dtype=torch.float64)))  # noqa: B023 - called at once
        error = max(error, *(abs(a - b) / b for a, b in zip(*found, strict=True)))
        ratios.append(theirs / ours)
        details.append(f"{theirs:.2f} s against {ours:.2f} s")
    return Row.of(
        ratios,
        what=f"I(T;X) and I(T;Y) of a layer, n = {n:,}, d = {D_MODEL:,}, float64",
        baseline="the published formula with explicit inverses, float64",
        reach=reach,
        detail=f"{'; '.join(details)}; largest relative difference {error:.1e}",
        threads=torch.get_num_threads(),
    )


def _example(n: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Standardised features of a layer and of an earlier one, and labels."""
    rng = generator(seed, "benchmark", n)
    latent = rng.normal(size=(n, D_MODEL)) / np.sqrt(np.arange(1, D_MODEL + 1))
    mixing = rng.normal(size=(D_MODEL, D_MODEL)) / np.sqrt(D_MODEL)
    x = latent @ mixing
    t = np.maximum(x, 0) @ mixing + 0.1 * rng.normal(size=(n, D_MODEL))
    labels = (latent[:, 0] + rng.normal(size=n) > 0).astype(np.int64)
    return *(torch.from_numpy((one - one.mean(0)) / one.std(0)) for one in (t, x)), labels


def _kernel(values: torch.Tensor) -> torch.Tensor:
    return gaussian_(squared_distances(symmetric_product(values)), scale=2 * SIGMA**2 * values.shape[1])


def _ours(t: torch.Tensor, x: Operator, labels: np.ndarray) -> tuple[float, float]:
    smoothed = smoother_(_kernel(t), ridge=RIDGE)
    label = LabelKernel.of(labels, unlike=float(np.exp(-1 / (2 * SIGMA**2))))
    strength = label.strength / (label.strength + RIDGE * len(labels))
    return inner(x, smoothed), strength * float(label.direction @ smoothed.matrix @ label.direction)


def _published(t: torch.Tensor, x: torch.Tensor, labels: np.ndarray, *, dtype: torch.dtype) -> tuple[float, float]:
    y = torch.from_numpy(labels)[:, None]
    t, x, y = (one.to(dtype) for one in (t, x, y))
    return _explicit(t, x), _explicit(t, y)


def _explicit(a: torch.Tensor, b: torch.Tensor) -> float:
    n = len(a)
    identity = torch.eye(n, dtype=a.dtype)
    centring = identity - 1 / n
    smoothers = []
    for values in (a, b):
        size = values.square().sum(dim=1)
        distances = size[:, None] + size - 2 * values @ values.T
        kernel = torch.exp(-distances / (2 * SIGMA**2 * values.shape[1])) @ centring
        smoothers.append(kernel @ torch.inverse(kernel + RIDGE * n * identity))
    return float((smoothers[0] * smoothers[1].T).sum())


def _everything_row() -> Row:
    """All that `rigorous` does for one more site, against all that the scripts do for one layer."""
    ratios, details = [], []
    for repeat in range(3):
        t, x, labels = _example(1561, seed=repeat)
        ours = _site_seconds(t.float(), x.float(), labels)
        theirs = seconds(lambda: _scripts(t, x, labels))  # noqa: B023 - called at once
        ratios.append(theirs / ours)
        details.append(f"{theirs:.2f} s against {ours:.2f} s")
    return Row.of(
        ratios,
        what="everything `rigorous` does for a site (probes, controls, MDL, bootstrap, all estimators, 5 widths), n = 1,561, d = 4,096",
        baseline="what the scripts do for a layer (scikit-learn at its defaults, two nHSIC by explicit inverse), float32",
        reach=1.0,
        detail="; ".join(details),
        threads=torch.get_num_threads(),
    )


def _site_seconds(t: torch.Tensor, x: torch.Tensor, labels: np.ndarray) -> float:
    """What three sites take beyond one: what a site costs where a model has many."""
    statements = _statements(labels)
    inputs = FixedInputs.of_words(statements, embedding=x[:, :1024])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "layers.safetensors"
        save_file({"block_0": x, "block_1": t, "block_2": t + x}, file)
        layers = Activations.open(file)

        def some(*sites: str) -> float:
            return seconds(
                lambda: measure(
                    layers,
                    statements,
                    config=ProbingConfig(),
                    information=InformationConfig(),
                    inputs=inputs,
                    protocol="rigorous",
                    seed=0,
                    sites=sites,
                )
            )

        return (some("block_0", "block_1", "block_2") - some("block_0")) / 2


def _statements(labels: np.ndarray) -> Statements:
    n = len(labels)
    return Statements(
        name="benchmark",
        dimension="custom",
        texts=tuple(f"word{row % 40} of statement {row}" for row in range(n)),
        labels=tuple(labels.tolist()),
        groups=tuple(str(row // 3) for row in range(n)),
        splits=("train",) * n,
        meaning=LabelMeaning(one="yes", zero="no", desired=1),
        source=Source(title="made up", licence="CC0-1.0"),
    )


def _scripts(t: torch.Tensor, x: torch.Tensor, labels: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        LogisticRegression().fit(t.float().numpy(), labels)
    _published(t, x, labels, dtype=torch.float32)


def _memory_row() -> Row:
    n = 5211
    settings = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", "from benchmarks.information import measure_memory; measure_memory()"]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True, env=settings).stdout)
    allowed = 4 * n * n * 8
    return Row.of(
        [allowed / grown],
        what=f"peak memory of the pair, n = {n:,}, X's smoother included",
        baseline="four n x n matrices in float64",
        reach=1.0,
        detail=f"{grown / 1e6:.0f} MB grown, {allowed / 1e6:.0f} MB allowed (peak resident size beyond features and libraries)",
        threads=torch.get_num_threads(),
    )


def measure_memory() -> None:
    """Print by how many bytes the peak grows."""
    small = _example(100, seed=0)
    _ours(small[0], smoother_(_kernel(small[1]), ridge=RIDGE), small[2])
    rng = np.random.default_rng(0)
    t, x = (torch.from_numpy(rng.normal(size=(5211, D_MODEL))) for _ in range(2))
    labels = rng.integers(0, 2, 5211)
    before = resident()
    _ours(t, smoother_(_kernel(x), ridge=RIDGE), labels)
    print(peak() - before)
