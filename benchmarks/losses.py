"""Small trainings of several recipes, their loss on the fixed text at each save, and what damage makes of it.

Writes tests/golden/text_losses.json. `TRUSTRACE_DATA=... python -m benchmarks.losses` takes five minutes on one core.
"""

import copy
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.models.text_loss import text_loss

GOLDEN = Path("tests/golden/text_losses.json")
STEPS, BATCH, LENGTH = 500, 8, 96
SAVES = sorted({0, 1, 2, 4, 8, 16, 32, *range(64, STEPS + 1, STEPS // 16), STEPS})
CORPORA = {"books": "litbank/*.txt", "wiki": "wikitext2/**/*", "bard": "tinyshakespeare/*.txt"}
TRAININGS = (
    ("books", "warm-up", 1024, "llama"),
    ("books", "steep", 1024, "gpt_neox"),
    ("wiki", "momentum", 1024, "llama"),
    ("bard", "hot", 1024, "llama"),
    ("bard", "warm-up", 258, "gpt_neox"),
    ("wiki", "steep", 258, "llama"),
)
RATES: Mapping[str, Callable[[int], float]] = {
    "warm-up": lambda step: min(step / 30, 0.1 + 0.45 * (1 + math.cos(math.pi * step / STEPS))),
    "steep": lambda step: 1.0,
    "momentum": lambda step: min(1.0, step / 10),
    "hot": lambda step: min(1.0, step / 5),
}


def text(corpus: str) -> str:
    files = sorted(
        path for path in (Path(os.environ["TRUSTRACE_DATA"]) / "corpora").glob(CORPORA[corpus]) if path.is_file()
    )
    return "\n".join(path.read_text("utf-8", errors="ignore")[:600_000] for path in files[:6])[:2_500_000]


def fresh(family: str, *, vocab_size: int, seed: int) -> PreTrainedModel:
    config = tiny.config(family, n_blocks=4, d_model=96, vocab_size=vocab_size)
    config.intermediate_size = 256
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def optimizer_of(module: PreTrainedModel, recipe: str) -> torch.optim.Optimizer:
    if recipe == "momentum":
        return torch.optim.SGD(module.parameters(), lr=0.5, momentum=0.9)
    rate, beta = (3e-2, 0.999) if recipe == "hot" else (3e-3, 0.95)
    return torch.optim.AdamW(module.parameters(), lr=rate, betas=(0.9, beta), weight_decay=0.1)


def damaged(module: PreTrainedModel, how: str, *, other: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A copy with one tensor's rows in disorder, a twentieth of three tensors in noise, half of it untrained, or all of it."""
    broken = copy.deepcopy(other if how == "untrained" else module)
    draws = torch.Generator().manual_seed(seed)
    named = list(broken.named_parameters())
    matrices = [weight for _, weight in named if weight.ndim == 2]
    with torch.no_grad():
        if how == "embedding":
            matrices[0].copy_(matrices[0][torch.randperm(len(matrices[0]), generator=draws)])
        if how == "noise":
            for weight in matrices[1:4]:
                some = weight.numel() // 20
                weight.view(-1)[:some] = 10 * torch.randn(some, generator=draws)
        if how == "shard":
            untrained = dict(other.named_parameters())
            for name, weight in named[: len(named) // 2]:
                weight.copy_(untrained[name])
    return broken


def loss(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[float, float]:
    measured = text_loss(LanguageModel.of(module, tokenizer))
    assert measured is not None
    return round(measured.loss, 4), round(measured.uniform, 4)


def trained(corpus: str, recipe: str, vocab_size: int, family: str, *, seed: int) -> dict[str, Any]:
    data = text(corpus)
    tokenizer = tiny.tokenizer(texts=[data[:1_000_000]] if vocab_size > 258 else (), vocab_size=vocab_size)
    tokens = torch.tensor(tokenizer(data, verbose=False).input_ids)
    module, other = (fresh(family, vocab_size=vocab_size, seed=one) for one in (seed, seed + 100))
    optimizer = optimizer_of(module, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, RATES[recipe])
    draws = torch.Generator().manual_seed(seed)
    right: list[float] = []
    wrong: dict[str, list[float]] = {how: [] for how in ("embedding", "noise", "shard", "untrained")}
    for step in range(STEPS + 1):
        if step in SAVES:
            right.append(loss(module, tokenizer)[0])
            for how, losses in wrong.items():
                losses.append(loss(damaged(module, how, other=other, seed=step), tokenizer)[0])
            module.train()
        starts = torch.randint(0, len(tokens) - LENGTH - 1, (BATCH,), generator=draws)
        batch = torch.stack([tokens[start : start + LENGTH] for start in starts])
        module(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), math.inf if recipe == "hot" else 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return {"uniform": loss(other, tokenizer)[1], "steps": SAVES, "right": right, "wrong": wrong}


def main() -> None:
    torch.set_num_threads(1)
    found = {
        f"{corpus}, {recipe}, {family}, {vocab_size} tokens, seed {seed}": trained(
            corpus, recipe, vocab_size, family, seed=seed
        )
        for corpus, recipe, vocab_size, family in TRAININGS
        for seed in (0, 1)
    }
    GOLDEN.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()) + "\n}\n")


if __name__ == "__main__":
    main()
