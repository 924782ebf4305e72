"""Memory that a capture and its reading add to a process, against holding every activation at once.

Each side runs in a process of its own. The peak resident size (``ru_maxrss``) after the model, the statements and one full batch are in
memory is the start; what the peak grows by afterwards is what is compared, since the model and one batch are needed either way.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.example import llama, statements
from benchmarks.rows import Row
from trustrace.activations.capture import capture
from trustrace.activations.store import Activations

REPEATS = 1


def run() -> list[Row]:
    ratios, details = [], []
    for _ in range(REPEATS):
        grown, held = (int(number) for number in _child().split())
        ratios.append(held / grown)
        details.append(f"{held / 1e6:.1f} MB held, {grown / 1e6:.1f} MB grown")
    return [
        Row.of(
            ratios,
            what="peak memory of capturing all sites, then reading them one by one",
            baseline="holding the activations of all sites in float32",
            reach=4.0,
            detail="; ".join(details) + " (growth of the peak resident size beyond the model and one batch)",
            threads=torch.get_num_threads(),
        )
    ]


def _child() -> str:
    command = [sys.executable, "-c", "from benchmarks.memory import measure; measure()"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def measure() -> None:
    """Print by how many bytes the peak grows, and how many all activations take."""
    model, texts = llama(), statements()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "memory.safetensors"
        # The longest statements fill the largest batches.
        longest = sorted(texts, key=len)[-100:]
        capture(model, longest, out=out)
        before = _peak()
        capture(model, texts, out=out)
        activations = Activations.open(out)
        for site in activations.sites:
            activations.values(site).square().sum().item()
        grown = _peak() - before
    print(grown, 4 * len(activations.sites) * len(activations) * activations.d_model)


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
