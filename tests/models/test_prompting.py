"""Rows that start from what their prompts share go on as if each had read its own prompt alone."""

from dataclasses import replace

import pytest
import torch

from trustrace.core.errors import ConfigError, DataError
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel, Sharing
from trustrace.models.prompting import begun, prompted
from trustrace.models.reading import (
    SHORTEST_BEGINNING,
    batches,
    beginning_of,
    comfortable,
    padded,
    read,
    require_context,
    tokens_of,
    told,
)

BEGINNING = "Once upon a time "
TEXTS = [BEGINNING + end for end in ("there", "a", "nobody knew")]


def model_of(family: str = "llama", *, sharing: Sharing = "prompt", variants: int = 1) -> LanguageModel:
    plain = LanguageModel.of(tiny.build(family), tiny.tokenizer(adds_bos=family in tiny.FAMILIES_WITH_BOS))
    return replace(plain, sharing=sharing, variants=variants)


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma2", "bloom"])
@pytest.mark.parametrize("sharing", ["prompt", "beginning", "nothing"])
@pytest.mark.parametrize(("variants", "copies"), [(1, [1, 1, 1]), (3, [1, 1, 1]), (2, [1, 3, 2])])
def test_rows_go_on_as_each_prompt_alone_would(family: str, sharing: Sharing, variants: int, copies: list[int]) -> None:
    model = model_of(family, sharing=sharing, variants=variants)
    prompts = [tokens_of(model, text) for text in TEXTS]
    beginning = beginning_of(model, prompts)
    past = begun(model, beginning)
    ending = (70, 71)
    # Twice from one past: what one batch reads must not be seen by the next.
    for _ in range(2):
        at = prompted(model, past, prompts, beginning=beginning, copies=copies, room=len(ending))
        rows = [rest + ending for rest in at.rests]
        _, logits = read(model, at.past, rows, prompts=at.prompts, variants=at.variants)
        assert at.places == tuple(place for place, count in enumerate(copies) for _ in range(count * variants))
        assert at.variants.tolist() == list(range(variants)) * sum(copies)
        assert at.prompts == tuple(len(prompts[place]) for place in at.places)
        for row, place in enumerate(at.places):
            with torch.inference_mode():
                alone = model.module(torch.tensor([prompts[place] + ending])).logits[0, -3:]
            last = len(at.rests[row]) - 1
            torch.testing.assert_close(logits[row, last : last + 3], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("sharing", "rows"), [("prompt", 1), ("beginning", 3)])
def test_a_beginning_is_read_once_for_all_or_once_for_each_variant(sharing: Sharing, rows: int) -> None:
    model = model_of(sharing=sharing, variants=3)
    prompts = [tokens_of(model, text) for text in TEXTS]
    beginning = beginning_of(model, prompts)
    assert len(begun(model, beginning).mask) == rows
    assert beginning == tokens_of(model, BEGINNING)


def test_a_beginning_is_never_a_whole_prompt_and_never_too_short_to_be_worth_it() -> None:
    model = model_of()
    whole = tokens_of(model, BEGINNING)
    assert beginning_of(model, [whole, (*whole, 9)]) == whole[:-1]
    assert beginning_of(model, [whole, whole]) == whole[:-1]
    assert beginning_of(model, [whole]) == ()
    shared = tuple(range(50, 50 + SHORTEST_BEGINNING))
    assert beginning_of(model, [(*shared, 1, 2), (*shared, 3)]) == shared
    assert beginning_of(model, [(*shared[:-1], 1, 2), (*shared[:-1], 3)]) == ()
    # A window slides over columns, so that padding between tokens would move it.
    assert beginning_of(model_of("gemma2"), [(*shared, 1, 2), (*shared, 3)]) == ()
    assert beginning_of(model_of(sharing="nothing"), [(*shared, 1, 2), (*shared, 3)]) == ()


@pytest.mark.parametrize("limit", [1, 7, 20, 1000])
def test_batches_hold_every_place_once_and_no_more_than_they_may(limit: int) -> None:
    lengths, copies = [3, 9, 4, 9, 1, 5], [1, 2, 1, 1, 4, 2]
    found = list(batches(lengths, copies=copies, limit=limit))
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    for batch in found:
        size = sum(copies[place] for place in batch) * max(lengths[place] for place in batch)
        assert size <= limit or len(batch) == 1
    widths = [lengths[place] for batch in found for place in batch]
    assert widths == sorted(widths, reverse=True)


def test_rows_are_padded_on_the_side_that_is_asked_for() -> None:
    tokens, mask = padded([(5, 6, 7), (8,)], device=torch.device("cpu"), side="left", fill=1)
    assert (tokens.tolist(), mask.tolist()) == ([[5, 6, 7], [1, 1, 8]], [[1, 1, 1], [0, 0, 1]])
    tokens, mask = padded([(5, 6, 7), (8,)], device=torch.device("cpu"), side="right", fill=1)
    assert (tokens.tolist(), mask.tolist()) == ([[5, 6, 7], [8, 1, 1]], [[1, 1, 1], [1, 0, 0]])


def test_what_a_model_is_told_stands_after_the_token_that_begins_a_text() -> None:
    with_bos, without = (replace(model_of(family), preamble=(40, 41)) for family in ("llama", "gpt2"))
    assert told(with_bos, tokens_of(with_bos, "a")) == (0, 40, 41, *tokens_of(without, "a"))
    assert told(without, tokens_of(without, "a")) == (40, 41, *tokens_of(without, "a"))


def test_a_batch_of_no_tokens_and_a_text_beyond_the_context_are_refused() -> None:
    model = model_of()
    with pytest.raises(ConfigError, match="at least one token"):
        comfortable(model, 0)
    assert comfortable(model, 17) == 17
    assert comfortable(model, None) > 512
    require_context(model, 512, what="it")
    with pytest.raises(DataError, match="it takes 513 tokens"):
        require_context(model, 513, what="it")
