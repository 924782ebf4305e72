"""Capture against the loop that everybody writes first, and against what the processor can do at all."""

import tempfile
from pathlib import Path

import torch

from benchmarks.example import block_parameters, llama, statements
from benchmarks.rows import Row, seconds
from trustrace.activations.capture import capture
from trustrace.activations.encoding import encode
from trustrace.activations.store import Activations
from trustrace.models.language_model import LanguageModel

REPEATS = 3
EVERY = 8


def run() -> list[Row]:
    texts, model = statements(every=EVERY), llama()
    sequences = [encoding.ids for encoding in encode(model, texts)]
    given, needed = sum(map(len, sequences)), _distinct_beginnings(sequences)
    work = 2 * block_parameters(model) * needed
    faster, of_peak, details = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bench.safetensors"
        capture(model, texts[:50], out=out)
        for _ in range(REPEATS):
            loop = seconds(lambda: one_at_a_time(model, texts))
            ours = seconds(lambda: capture(model, texts, out=out))
            peak = gemm_rate()
            faster.append(loop / ours)
            of_peak.append(work / ours / peak)
            details.append(f"{loop:.1f} s against {ours:.1f} s, products at {peak / 1e9:.0f} GFLOP/s")
        computed = Activations.open(out).provenance["tokens_computed"]
    detail = (
        f"{len(texts)} statements, {given} tokens, {needed} distinct beginnings, {computed} computed; "
        + "; ".join(details)
    )
    threads = torch.get_num_threads()
    return [
        Row.of(
            faster,
            what="capture of all sites, 25 M parameter Llama, StereoSet and TruthfulQA",
            baseline="one statement at a time through AutoModelForCausalLM with hooks",
            reach=3.0,
            detail=detail,
            threads=threads,
        ),
        Row.of(
            of_peak,
            what="the same, as a part of this machine's matrix products in float32",
            baseline="torch.mm of 1,024 and 2,048 rows, the faster; the work is 2 x block parameters x distinct beginnings",
            reach=0.7,
            detail=detail,
            threads=threads,
        ),
    ]


def one_at_a_time(model: LanguageModel, texts: list[str]) -> dict[int, torch.Tensor]:
    """The last token of every block's output, kept in memory."""
    kept: dict[int, list[torch.Tensor]] = {i: [] for i in range(model.n_blocks)}
    handles = [
        block.register_forward_hook(lambda module, args, output, i=i: kept[i].append(output[0, -1].clone()))
        for i, block in enumerate(model.anatomy.blocks)
    ]
    try:
        with torch.no_grad():
            for text in texts:
                model.module(**model.tokenizer(text, return_tensors="pt", return_token_type_ids=False))
    finally:
        for handle in handles:
            handle.remove()
    return {i: torch.stack(rows) for i, rows in kept.items()}


def gemm_rate() -> float:
    """Floating-point operations a second of a large float32 product, the best of several."""
    rates = []
    for size in (1024, 2048):
        one, other = torch.randn(size, size), torch.randn(size, size)
        rates.extend(2 * size**3 / seconds(lambda a=one, b=other: torch.mm(a, b)) for _ in range(5))
    return max(rates)


def _distinct_beginnings(sequences: list[tuple[int, ...]]) -> int:
    """Tokens that no method could leave out: one for each distinct beginning of a statement."""
    return len({sequence[:length] for sequence in sequences for length in range(1, len(sequence) + 1)})
