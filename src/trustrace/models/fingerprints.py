"""What a tokenizer is, as one short string: by it a file can tell whether it belongs to a model."""

import hashlib
import json

from transformers import PreTrainedTokenizerBase


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of the sorted vocabulary, tokens with their ids: equal for the same tokens, however the tokenizer was loaded."""
    vocabulary = sorted(tokenizer.get_vocab().items())
    return hashlib.sha256(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
