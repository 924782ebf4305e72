"""Tiny models: every family builds, seeds decide everything, nothing global moves."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.errors import ConfigError
from trustrace.models import tiny
from trustrace.models.loading import load
from trustrace.models.sources import open_source

PLAIN, WITH_BOS = tiny.tokenizer(), tiny.tokenizer(adds_bos=True)


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_every_family_is_built_small_in_evaluation_mode_with_every_parameter_drawn(family: str) -> None:
    module = tiny.build(family, seed=3)
    assert module.config.model_type == family
    assert not module.training
    assert sum(parameter.numel() for parameter in module.parameters()) < 100_000
    constant = [name for name, parameter in module.named_parameters() if parameter.unique().numel() < 2]
    assert not constant


def test_a_seed_decides_the_weights_and_nothing_else_does() -> None:
    torch.manual_seed(1)
    one = tiny.build("llama", seed=5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    same, other = tiny.build("llama", seed=5), tiny.build("llama", seed=6)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@given(st.text(min_size=1))
def test_the_tokenizer_writes_any_text_and_reads_it_back(text: str) -> None:
    ids = PLAIN(text, add_special_tokens=False).input_ids
    assert max(ids) < len(PLAIN) == 258
    for special in ("<s>", "</s>"):
        text = text.replace(special, special)
    assert PLAIN.decode(ids, clean_up_tokenization_spaces=False) == text


def test_a_beginning_of_sequence_token_is_added_only_where_asked_for() -> None:
    assert WITH_BOS("word").input_ids == [WITH_BOS.bos_token_id, *PLAIN("word").input_ids]


def test_merges_are_learned_from_texts() -> None:
    learned = tiny.tokenizer(texts=["the cat sat on the mat"] * 10, vocab_size=270)
    assert len(learned("the mat").input_ids) < len(PLAIN("the mat").input_ids)
    assert len(learned) <= 270


def test_an_unknown_family_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no tiny model of family 'rnn'; there are: bloom, falcon"):
        tiny.build("rnn")


@pytest.mark.parametrize("family", ["llama", "falcon", "gpt2"])
def test_what_was_saved_is_what_is_loaded(family: str, tmp_path: Path) -> None:
    source = open_source(str(tiny.save(tmp_path / family, family, seed=9)))
    model = load(source, source.checkpoints()[0])
    built = tiny.build(family, seed=9)
    assert all(torch.equal(a, b) for a, b in zip(model.module.parameters(), built.parameters(), strict=True))
    assert model.adds_bos == (family in tiny.FAMILIES_WITH_BOS)
