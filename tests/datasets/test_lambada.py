"""LAMBADA's passages, and their last words."""

import pytest

from trustrace.core.errors import DataError
from trustrace.datasets import lambada, sources


def test_both_variants_hold_the_same_5153_passages(data_dir):
    printed, tokenised = (lambada.passages(variant, data_dir=data_dir) for variant in ("openai", "tokenised"))
    assert len(printed) == len(tokenised) == 5153
    same = [one.split()[-1].lower() == other.split()[-1] for one, other in zip(printed, tokenised, strict=True)]
    assert sum(same) / len(same) > 0.98


def test_a_passage_is_divided_at_its_last_space(data_dir):
    for text in lambada.passages(data_dir=data_dir):
        before, word = lambada.last_word(text)
        assert before + word == text
        assert (before, word) == (" ".join(text.split(" ")[:-1]), " " + text.split(" ")[-1])
        assert word.strip()


def test_a_line_without_a_text_is_shown(monkeypatch):
    monkeypatch.setattr(sources, "read_text", lambda file, data_dir: '{"texts": "x"}\n')
    with pytest.raises(DataError, match="texts"):
        lambada.passages()
