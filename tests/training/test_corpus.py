import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.errors import CheckpointError, ConfigError, DataError
from trustrace.training.config import BpeTokenizer, FolderCorpus, WordTokenizer, WorldCorpus
from trustrace.training.corpus import (
    documents,
    filled_in,
    n_windows,
    open_packed,
    pack,
    rows_of_step,
    split_documents,
    windows,
)
from trustrace.training.tokenizer import encode, make_tokenizer

TEXTS = ["one fish", "two fish", "red fish\n", "blue fish", "häßliche Fische 🐟", "no fish at all"]


def packed(tmp_path: Path, *, vocab_size: int = 300, min_tokens: int = 4):
    tokenizer = make_tokenizer(BpeTokenizer(vocab_size=vocab_size), TEXTS, max_tokens=8)
    marked = [(text, i % 3 == 0) for i, text in enumerate(TEXTS)]
    return tokenizer, pack(marked, tokenizer=tokenizer, folder=tmp_path / "corpus", min_tokens=min_tokens)


def test_packed_tokens_are_the_documents_with_an_end_after_each(tmp_path: Path) -> None:
    tokenizer, corpus = packed(tmp_path)
    end = tokenizer.eos_token
    assert tokenizer.decode(corpus.train) == "".join(text + end for i, text in enumerate(TEXTS) if i % 3)
    assert tokenizer.decode(corpus.held_out) == "".join(text + end for i, text in enumerate(TEXTS) if i % 3 == 0)
    assert (corpus.train_documents, corpus.held_out_documents) == (4, 2)
    assert open_packed(tmp_path / "corpus") == corpus
    assert not list(tmp_path.glob(".*"))


def test_a_packed_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    packed(tmp_path)
    path = tmp_path / "corpus" / "train.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CheckpointError, match=r"expected .* bytes of packed tokens; remove"):
        _ = open_packed(tmp_path / "corpus").train


def test_too_few_tokens_to_train_or_to_hold_out_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="training tokens in 4 documents; one sequence needs 1000"):
        packed(tmp_path, min_tokens=1000)
    tokenizer = make_tokenizer(BpeTokenizer(vocab_size=300), TEXTS, max_tokens=8)
    with pytest.raises(DataError, match=r"0 of 6 documents are held out, with 0 tokens.*raise held_out"):
        pack([(text, False) for text in TEXTS], tokenizer=tokenizer, folder=tmp_path / "c", min_tokens=4)
    assert not (tmp_path / "c").exists()


def test_large_vocabularies_take_four_bytes_a_token(tmp_path: Path) -> None:
    words = [" ".join(f"w{i}" for i in range(70_000)), "w1 w2 w3 w4 w5"]
    tokenizer = make_tokenizer(WordTokenizer(vocab_size=80_000), words, max_tokens=8)
    corpus = pack([(words[0], False), (words[1], True)], tokenizer=tokenizer, folder=tmp_path / "corpus", min_tokens=4)
    assert corpus.dtype == "uint32"
    assert tokenizer.decode(corpus.train[:-1]) == words[0]


def test_a_byte_tokenizer_writes_any_text_and_is_the_same_every_time() -> None:
    tokenizers = [make_tokenizer(BpeTokenizer(vocab_size=320), TEXTS, max_tokens=8) for _ in range(2)]
    strange = " \u0000 tabs\t ∑ 🐟 \r\n\n end "
    assert tokenizers[0].decode(tokenizers[0](strange).input_ids) == strange
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()
    assert tokenizers[0].pad_token_id != tokenizers[0].eos_token_id


def test_a_word_tokenizer_knows_the_most_frequent_words_and_marks_the_others() -> None:
    tokenizer = make_tokenizer(WordTokenizer(vocab_size=5), ["a a a b b c"], max_tokens=8)
    assert tokenizer.tokenize("a b c") == ["a", "b", "<|unk|>"]


def test_the_end_token_is_not_written_twice() -> None:
    tokenizer = make_tokenizer(BpeTokenizer(vocab_size=300), TEXTS, max_tokens=8)
    rows = encode(tokenizer, ["fish", "fish" + tokenizer.eos_token, ""])
    assert [row.count(tokenizer.eos_token_id) for row in rows] == [1, 1, 1]


def test_a_tokenizer_is_trained_on_so_many_characters() -> None:
    tokenizer = make_tokenizer(WordTokenizer(vocab_size=9, characters=6), ["one two three", "never read"], max_tokens=8)
    assert tokenizer.tokenize("one two never") == ["one", "<|unk|>", "<|unk|>"]


@pytest.mark.parametrize("config", [BpeTokenizer(), WordTokenizer()])
def test_a_corpus_without_text_trains_no_tokenizer(config: BpeTokenizer | WordTokenizer) -> None:
    with pytest.raises(DataError, match="no text to train a tokenizer on"):
        make_tokenizer(config, ["", "  \n"], max_tokens=8)


def test_equal_documents_are_on_one_side() -> None:
    marked = list(split_documents(TEXTS * 3, held_out=0.5))
    assert len(set(marked)) == len(TEXTS)
    assert {held for _, held in marked} == {True, False}


def test_documents_are_read_up_to_the_limit(books: Path) -> None:
    assert len(list(documents(FolderCorpus(path=str(books), max_documents=3)))) == 3
    assert len(list(documents(FolderCorpus(path=str(books))))) == 40


def test_the_controlled_world_is_read_by_seed() -> None:
    first, again, other = (list(documents(WorldCorpus(seed=seed, max_documents=3))) for seed in (0, 0, 1))
    assert len(first) == 3
    assert first == again
    assert first != other
    words = [len(text.split()) for text in documents(WorldCorpus(words=500))]
    assert sum(words) >= 500 > sum(words[:-1])


def test_documents_are_written_as_the_tokenizer_itself_writes_them() -> None:
    tokenizer = make_tokenizer(BpeTokenizer(vocab_size=300), TEXTS, max_tokens=8)
    tokenizer.backend_tokenizer.enable_truncation(2)
    rows = encode(tokenizer, TEXTS)
    assert rows == [[*tokenizer(text, verbose=False).input_ids, tokenizer.eos_token_id] for text in TEXTS]
    assert max(map(len, rows)) > 3


def test_a_variable_in_a_path_is_filled_in_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_BOOKS", "/books")
    assert filled_in("${SOME_BOOKS}/a") == Path("/books/a")
    with pytest.raises(ConfigError, match=r"OTHER_BOOKS.*is not set"):
        filled_in("$OTHER_BOOKS/a")


@given(n_tokens=st.integers(3, 400), length=st.integers(1, 50))
def test_windows_predict_each_token_once(n_tokens: int, length: int) -> None:
    tokens = np.arange(n_tokens, dtype=np.uint16)
    count = n_windows(n_tokens, length=length)
    if count == 0:
        return
    cut = windows(tokens, np.arange(count), length=length)
    assert cut.shape == (count, length + 1)
    np.testing.assert_array_equal(cut[:, 1:].ravel(), np.arange(1, count * length + 1))
    np.testing.assert_array_equal(cut[:, :-1].ravel(), np.arange(count * length))


@given(batch=st.integers(1, 9), n_sequences=st.integers(1, 30), seed=st.integers(0, 3))
def test_every_epoch_reads_every_sequence_once(batch: int, n_sequences: int, seed: int) -> None:
    steps = range(-(-3 * n_sequences // batch))
    rows = np.concatenate([rows_of_step(step, batch=batch, n_sequences=n_sequences, seed=seed) for step in steps])
    for epoch in range(3):
        part = rows[epoch * n_sequences : (epoch + 1) * n_sequences]
        assert sorted(part.tolist()) == list(range(n_sequences))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    first, second = (rows_of_step(epoch, batch=50, n_sequences=50, seed=0).tolist() for epoch in (0, 1))
    other = rows_of_step(0, batch=50, n_sequences=50, seed=1).tolist()
    assert first != second
    assert first != other
    assert first != sorted(first)


def test_the_hash_of_a_corpus_is_that_of_its_documents(tmp_path: Path) -> None:
    packed(tmp_path)
    record = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert record["sha256"] == hashlib.sha256("".join(f"{text}\0" for text in TEXTS).encode()).hexdigest()
