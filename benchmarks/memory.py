"""Memory that a capture and its reading add to a process, against holding every activation at once.

The process already holds the model and has captured ten short statements, so that the code and the buffers of the libraries are in
memory, and its allocator gives back at once what is freed: glibc would keep some of it, in amounts that say more about the allocator.
What the peak resident size grows by after that is counted: the tokens, the batches, and one site at a time while reading.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.example import llama, statements
from benchmarks.rows import Row, peak, resident
from trustrace.activations.capture import capture
from trustrace.activations.store import Activations

REPEATS = 1
BATCH_TOKENS = 256


def run() -> list[Row]:
    ratios, details = [], []
    for _ in range(REPEATS):
        grown, held = (int(number) for number in _child().split())
        ratios.append(held / grown)
        details.append(f"{held / 1e6:.1f} MB held, {grown / 1e6:.1f} MB grown")
    return [
        Row.of(
            ratios,
            what=f"peak memory of capturing all sites in batches of {BATCH_TOKENS} tokens, then reading them one by one",
            baseline="holding the activations of all sites in float32",
            reach=4.0,
            detail="; ".join(details) + " (peak resident size beyond the model and the libraries)",
            threads=torch.get_num_threads(),
        )
    ]


def _child() -> str:
    command = [sys.executable, "-c", "from benchmarks.memory import measure; measure()"]
    settings = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=settings).stdout


def measure() -> None:
    """Print by how many bytes the peak grows, and how many all activations take."""
    model, texts = llama(), statements()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "memory.safetensors"
        capture(model, sorted(texts, key=len)[:10], out=out)
        before = resident()
        capture(model, texts, out=out, batch_tokens=BATCH_TOKENS)
        activations = Activations.open(out)
        for site in activations.sites:
            activations.values(site).norm().item()
        grown = peak() - before
    print(grown, 4 * len(activations.sites) * len(activations) * activations.d_model)
