"""A tiny model that has learned a few texts by heart: what it says is known, and it says it by itself."""

import torch

from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel


def taught(texts, *, steps=120, seed=0, adds_bos=False, vocab_size=600) -> LanguageModel:
    """A llama that continues the beginning of any of `texts` as it goes on, each ended by an end-of-sequence token."""
    tokenizer = tiny.tokenizer(texts=texts, vocab_size=vocab_size, adds_bos=adds_bos)
    module = tiny.build("llama", seed=seed, n_blocks=2, d_model=64, vocab_size=len(tokenizer))
    rows = [[*tokenizer(text).input_ids, tokenizer.eos_token_id] for text in texts]
    longest = max(map(len, rows))
    tokens = torch.tensor([[*row, *[1] * (longest - len(row))] for row in rows])
    labels = torch.tensor([[*row, *[-100] * (longest - len(row))] for row in rows])
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3)
    for _ in range(steps):
        loss = module(input_ids=tokens, labels=labels, attention_mask=(labels >= 0).long()).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return LanguageModel.of(module, tokenizer)
