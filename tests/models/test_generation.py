"""Answers in batches are the answers of one prompt at a time."""

from collections import Counter

import numpy as np
import pytest
import torch

from trustrace.core.errors import ConfigError, DataError
from trustrace.models import tiny
from trustrace.models.generation import Decoding, generate
from trustrace.models.language_model import LanguageModel

BEGINNING = "Once upon a time, in the far west, "
PROMPTS = [
    BEGINNING + end for end in ("a", "hello there", "what is this thing?", "x yz", "longer prompts are read as well")
]
FAMILIES = sorted(tiny.FAMILIES)


def model_of(family: str) -> LanguageModel:
    return LanguageModel.of(tiny.build(family), tiny.tokenizer(adds_bos=family in tiny.FAMILIES_WITH_BOS))


def by_hand(model: LanguageModel, prompt: str, n: int) -> list[int]:
    """Greedy decoding by whole forward passes, without a cache."""
    tokens = list(model.tokenizer(prompt).input_ids)
    start = len(tokens)
    for _ in range(n):
        with torch.no_grad():
            tokens.append(int(model.module(torch.tensor([tokens])).logits[0, -1].argmax()))
        if tokens[-1] == model.tokenizer.eos_token_id:
            break
    return [token for token in tokens[start:] if token != model.tokenizer.eos_token_id]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_answers_as_each_prompt_alone_would_be_answered(family: str) -> None:
    model = model_of(family)
    (answers,) = generate(model, PROMPTS, decoding=Decoding(max_new_tokens=10))
    assert [list(answer.tokens) for answer in answers] == [by_hand(model, prompt, 10) for prompt in PROMPTS]


@pytest.mark.parametrize("batch_tokens", [1, 60, 150, 10_000])
def test_the_size_of_a_batch_changes_no_answer(batch_tokens: int) -> None:
    model = model_of("gpt2")
    expected = generate(model, PROMPTS, decoding=Decoding(max_new_tokens=8))
    assert generate(model, PROMPTS, decoding=Decoding(max_new_tokens=8), batch_tokens=batch_tokens) == expected


def test_the_checkpoint_s_own_taste_in_decoding_is_ignored_and_left_as_it_was() -> None:
    model = model_of("llama")
    expected = generate(model, PROMPTS, decoding=Decoding(max_new_tokens=8))
    theirs = model.module.generation_config
    theirs.do_sample, theirs.temperature, theirs.repetition_penalty, theirs.max_length = True, 5.0, 3.0, 4
    assert generate(model, PROMPTS, decoding=Decoding(max_new_tokens=8)) == expected
    assert model.module.generation_config is theirs


def test_an_answer_ends_before_the_first_stop() -> None:
    model = model_of("llama")
    (whole,) = generate(model, PROMPTS[:2], decoding=Decoding(max_new_tokens=12))
    stop = whole[0].text[3:5]
    (cut,) = generate(model, PROMPTS[:2], decoding=Decoding(max_new_tokens=12, stops=(stop,)))
    assert cut[0].text == whole[0].text[: whole[0].text.index(stop)]
    assert cut[0].ending == "stop"
    assert len(cut[0].tokens) < len(whole[0].tokens)
    assert stop not in cut[1].text


def test_an_end_of_sequence_token_ends_an_answer_and_is_no_part_of_it() -> None:
    model = model_of("llama")
    (free,) = generate(model, PROMPTS[:1], decoding=Decoding(max_new_tokens=6))
    model.module.generation_config.eos_token_id = [free[0].tokens[3], 1]
    (ended,) = generate(model, PROMPTS[:1], decoding=Decoding(max_new_tokens=6))
    first = free[0].tokens.index(free[0].tokens[3])
    assert (ended[0].ending, ended[0].tokens) == ("eos", free[0].tokens[:first])


def test_samples_do_not_depend_on_the_batch_and_do_depend_on_the_seed() -> None:
    model = model_of("llama")
    decoding = Decoding(max_new_tokens=8, temperature=1.3, top_p=0.9, seed=3)
    together = generate(model, PROMPTS, decoding=decoding)
    assert generate(model, PROMPTS, decoding=decoding, batch_tokens=1) == together
    other = Decoding(max_new_tokens=8, temperature=1.3, top_p=0.9, seed=4)
    assert generate(model, PROMPTS, decoding=other) != together


def test_samples_have_the_model_s_own_probabilities() -> None:
    model = model_of("llama")
    draws = 600
    (answers,) = generate(model, ["abc"] * draws, decoding=Decoding(max_new_tokens=1, temperature=0.4))
    with torch.no_grad():
        logits = model.module(torch.tensor([model.tokenizer("abc").input_ids])).logits[0, -1].double()
    expected = (logits / 0.4).softmax(-1).numpy()
    counts = Counter(answer.tokens[0] for answer in answers if answer.tokens)
    likeliest = np.argsort(-expected)[:5]
    for token in likeliest:
        p = expected[token]
        assert abs(counts[int(token)] / draws - p) < 4 * np.sqrt(p * (1 - p) / draws)


def test_samples_from_a_small_nucleus_are_the_likeliest_token() -> None:
    model = model_of("llama")
    (greedy,) = generate(model, PROMPTS, decoding=Decoding(max_new_tokens=5))
    (drawn,) = generate(model, PROMPTS, decoding=Decoding(max_new_tokens=5, temperature=1.0, top_p=1e-6))
    assert drawn == greedy


def test_a_prompt_without_room_for_its_answer_is_refused_before_any_is_answered() -> None:
    model = model_of("llama")
    with pytest.raises(DataError, match=r"prompt 1 with its answer takes 60. tokens, but .* reads 512 at most"):
        generate(model, ["short", "x" * 500], decoding=Decoding(max_new_tokens=100))


def test_nothing_to_answer_is_refused() -> None:
    with pytest.raises(DataError, match="at least one"):
        generate(model_of("llama"), [], decoding=Decoding(max_new_tokens=1))


@pytest.mark.parametrize(
    "wrong",
    [{"max_new_tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"stops": ("",)}],
)
def test_decoding_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        Decoding(**({"max_new_tokens": 3} | wrong))  # type: ignore[arg-type]


def test_two_samples_in_a_row_are_drawn_apart() -> None:
    """Pairs of tokens have the product of their probabilities: the noise of one step is no other's."""
    model = model_of("llama")
    for parameter in model.module.parameters():
        parameter.data.zero_()
    draws = 3000
    (answers,) = generate(model, ["abc"] * draws, decoding=Decoding(max_new_tokens=2, temperature=1.0))
    same = np.mean([len(answer.tokens) == 2 and answer.tokens[0] == answer.tokens[1] for answer in answers])
    assert same < 10 / 258
