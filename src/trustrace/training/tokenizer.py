"""How text becomes tokens: a tokenizer trained on the corpus, or one that is given."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from trustrace.core.errors import DataError, TokenizerError
from trustrace.training.config import BpeTokenizer, GivenTokenizer, WordTokenizer

END = "<|endoftext|>"
PAD = "<|pad|>"
UNKNOWN = "<|unk|>"


def make_tokenizer(
    config: BpeTokenizer | WordTokenizer | GivenTokenizer, documents: Iterable[str], *, max_tokens: int
) -> PreTrainedTokenizerBase:
    """The tokenizer that `config` asks for.

    A trained one puts nothing before a text; ``<|endoftext|>`` stands between documents, and padding has a token of its own.

    Args:
        config: Which kind, and how large.
        documents: The training documents; unread where the tokenizer is given.
        max_tokens: The context length, recorded as ``model_max_length`` of a trained tokenizer.

    Raises:
        TokenizerError: a given tokenizer cannot be read, or has no end-of-text token to put between documents.
        DataError: there is no text to train on.
    """
    if isinstance(config, GivenTokenizer):
        return open_tokenizer(config.path)
    texts = _first(_with_text(documents), characters=config.characters)
    trained = _words(texts, config) if isinstance(config, WordTokenizer) else _bytes(texts, config)
    names = {"bos_token": END, "eos_token": END, "pad_token": PAD}
    if isinstance(config, WordTokenizer):
        names["unk_token"] = UNKNOWN
    return PreTrainedTokenizerFast(tokenizer_object=trained, model_max_length=max_tokens, **names)


def open_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder or hub repository.

    Raises:
        TokenizerError: it cannot be read, or has no end-of-text token.
    """
    path = os.path.expandvars(path)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    # The tokenizers library raises plain Exception for a damaged file.
    except Exception as error:
        raise TokenizerError(f"{path}: no tokenizer could be read: {error}") from error
    if tokenizer.eos_token_id is None:
        raise TokenizerError(f"{path}: the tokenizer has no end-of-text token (eos_token) to put between documents")
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerBase, documents: list[str]) -> list[list[int]]:
    """The tokens of each document, as the tokenizer writes it by itself, with one end-of-text token at its end."""
    rows = _tokens_fast(tokenizer.backend_tokenizer, documents) if tokenizer.is_fast else _tokens(tokenizer, documents)
    end = tokenizer.eos_token_id
    return [row if row[-1:] == [end] else [*row, end] for row in rows]


def _tokens(tokenizer: PreTrainedTokenizerBase, documents: list[str]) -> list[list[int]]:
    rows: list[list[int]] = tokenizer(documents, return_attention_mask=False, verbose=False)["input_ids"]
    return rows


def _tokens_fast(backend: tokenizers.Tokenizer, documents: list[str]) -> list[list[int]]:
    """The same at half the time, since nothing records where in the text each token stands."""
    backend.no_truncation()
    backend.no_padding()
    return [encoding.ids for encoding in backend.encode_batch_fast(documents)]


def _bytes(texts: Iterator[str], config: BpeTokenizer) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _words(texts: Iterator[str], config: WordTokenizer) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [END, PAD, UNKNOWN]
    trainer = trainers.WordLevelTrainer(vocab_size=config.vocab_size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _with_text(documents: Iterable[str]) -> Iterator[str]:
    """The documents, after making sure that there is one with text."""
    found = False
    for document in documents:
        found = found or bool(document.strip())
        yield document
    if not found:
        raise DataError("the corpus has no text to train a tokenizer on; check its folder and its documents")


def _first(documents: Iterable[str], *, characters: int) -> Iterator[str]:
    """Documents until `characters` have been read; the last one is cut."""
    left = characters
    for document in documents:
        if left <= 0:
            return
        yield document[:left]
        left -= len(document)
