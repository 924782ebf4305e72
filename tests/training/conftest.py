"""A corpus of a few small documents and a run that takes a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trustrace.core.draws import generator
from trustrace.training.config import PretrainConfig

WORDS = (
    "the",
    "sea",
    "ship",
    "old",
    "captain",
    "sailed",
    "north",
    "storm",
    "never",
    "came",
    "back",
    "home",
    "quietly",
    "again",
)


@pytest.fixture(scope="session")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty documents whose next word depends on the last one."""
    folder = tmp_path_factory.mktemp("books")
    for i in range(40):
        rng = generator(i, "books")
        row = int(rng.integers(len(WORDS)))
        words = []
        for _ in range(150):
            row = (row * 3 + int(rng.integers(2))) % len(WORDS)
            words.append(WORDS[row])
        (folder / f"{i:02d}.txt").write_text(" ".join(words) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny(books: Path) -> Callable[..., PretrainConfig]:
    """A run of 40 steps, with whatever is changed."""

    def build(**changes: Any) -> PretrainConfig:
        values = {
            "architecture": {
                "model_type": "llama",
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "tie_word_embeddings": True,
            },
            "corpus": {"kind": "folder", "path": str(books)},
            "tokenizer": {"kind": "bpe", "vocab_size": 300},
            "sequence_length": 16,
            "batch": 4,
            "tokens": 16 * 4 * 40,
            "optimizer": {"learning_rate": 1e-2, "floor": 1e-3, "warmup_steps": 4},
            "held_out": 0.2,
            "held_out_tokens": 256,
            "saves": {"dense": 3, "dense_until": 4, "every": 15},
        }
        return PretrainConfig.read(values | changes, where="tiny.yaml")

    return build
