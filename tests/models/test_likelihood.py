"""Log-probabilities of continuations, against one forward pass of each text."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from trustrace.core.errors import ConfigError, DataError, ModelError, TokenizerError
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel, Sharing
from trustrace.models.likelihood import Pair, encode_pair, likelihoods, read_logits

BEGINNING = "Once upon a time, in the far west, "
FAMILIES = sorted(tiny.FAMILIES)


def model_of(family: str) -> LanguageModel:
    return LanguageModel.of(tiny.build(family), tiny.tokenizer(adds_bos=family in tiny.FAMILIES_WITH_BOS))


def pairs_of(model: LanguageModel) -> list[Pair]:
    contexts = [BEGINNING + end for end in ("a", "hello there", "what is this")]
    pairs = [
        encode_pair(model, context, answer) for context in contexts for answer in (" b", " c", " cde", " a longer one")
    ]
    return [*pairs, encode_pair(model, "", "abc")]


def by_hand(model: LanguageModel, pair: Pair) -> np.ndarray:
    prompt, continuation = pair
    with torch.no_grad():
        logits = model.module(torch.tensor([prompt + continuation])).logits[0].double()
    chosen = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(-1, torch.tensor(continuation)[:, None])
    return chosen[:, 0].numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_are_those_of_each_text_alone(family: str) -> None:
    model = model_of(family)
    pairs = pairs_of(model)
    (found,) = likelihoods(model, pairs)
    for pair, likelihood in zip(pairs, found, strict=True):
        np.testing.assert_allclose(likelihood.log_probs, by_hand(model, pair), atol=1e-5)
        assert likelihood.total == pytest.approx(likelihood.log_probs.sum())
        assert len(likelihood) == len(pair[1])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sharing", ["prompt", "nothing"])
def test_of_prompts_with_one_answer_each_nothing_but_the_end_goes_through_the_vocabulary_head(
    family: str, sharing: Sharing
) -> None:
    model = replace(model_of(family), sharing=sharing)
    pairs = pairs_of(model)[1::4] + pairs_of(model)[3:4]
    lengths: list[int] = []
    head = model.module.get_output_embeddings()
    handle = head.register_forward_hook(lambda module, args, output: lengths.append(args[0].shape[1]))
    (found,) = likelihoods(model, pairs)
    handle.remove()
    assert lengths == [max(len(continuation) for _, continuation in pairs)]
    for pair, likelihood in zip(pairs, found, strict=True):
        np.testing.assert_allclose(likelihood.log_probs, by_hand(model, pair), atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_the_size_of_a_batch_changes_nothing(batch_tokens: int) -> None:
    model = model_of("olmo2")
    pairs = pairs_of(model)
    (expected,), (found,) = likelihoods(model, pairs), likelihoods(model, pairs, batch_tokens=batch_tokens)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-5)


def test_what_the_model_would_say_itself_is_greedy_and_nothing_else_is() -> None:
    model = model_of("llama")
    prompt = tuple(model.tokenizer("abc").input_ids)
    with torch.no_grad():
        first = int(model.module(torch.tensor([prompt])).logits[0, -1].argmax())
        second = int(model.module(torch.tensor([(*prompt, first)])).logits[0, -1].argmax())
    (found,) = likelihoods(
        model, [(prompt, (first, second)), (prompt, (first, second + 1)), (prompt, (first + 1, second))]
    )
    assert [likelihood.is_greedy for likelihood in found] == [True, False, False]


def test_answers_of_one_token_share_a_row() -> None:
    model = model_of("llama")
    prompt = tuple(model.tokenizer("abc").input_ids)
    rows: list[int] = []
    handle = model.anatomy.blocks[0].register_forward_hook(lambda module, args, output: rows.append(args[0].shape[0]))
    likelihoods(model, [(prompt, (token,)) for token in range(20)])
    handle.remove()
    assert set(rows) == {1}


def test_logits_come_in_batches_padded_on_the_right() -> None:
    model = model_of("gpt_neox")
    pairs = pairs_of(model)
    seen: set[int] = set()
    for batch in read_logits(model, pairs, batch_tokens=200):
        for row, (place, length) in enumerate(zip(batch.pairs, batch.lengths, strict=True)):
            log_probs = batch.logits[0, row, :length].log_softmax(-1)
            chosen = log_probs.gather(-1, torch.tensor(pairs[place][1])[:, None])[:, 0]
            np.testing.assert_allclose(chosen.numpy(), by_hand(model, pairs[place]), atol=1e-5)
            seen.add(place)
    assert seen == set(range(len(pairs)))


def test_spaces_at_the_end_of_a_context_go_to_the_continuation() -> None:
    model = model_of("gpt2")
    assert encode_pair(model, "a question: ", "yes") == encode_pair(model, "a question:", " yes")


def test_an_empty_context_is_the_token_that_begins_a_text() -> None:
    with_bos, without = model_of("llama"), model_of("gpt2")
    assert encode_pair(with_bos, "", "abc")[0] == (with_bos.tokenizer.bos_token_id,)
    assert len(encode_pair(without, "", "abc")[1]) == 3


@pytest.mark.parametrize("wrong", [[], [((), (1,))], [((1,), ())], [(tuple(range(200)) * 3, (1,))]])
def test_pairs_that_cannot_be_scored_are_refused(wrong: list[Pair]) -> None:
    with pytest.raises(DataError):
        likelihoods(model_of("llama"), wrong)


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_tokens"):
        likelihoods(model_of("llama"), [((1,), (2,))], batch_tokens=0)


def local_model() -> LanguageModel:
    """GPT-Neo looks at a number of columns, which padding between tokens would use up."""
    shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 258, "max_position_embeddings": 128}
    kinds = {"attention_types": [[["global", "local"], 1]], "window_size": 12}
    config = CONFIG_MAPPING["gpt_neo"](**shape, **kinds, bos_token_id=0, eos_token_id=1)
    torch.manual_seed(0)
    return LanguageModel.of(AutoModelForCausalLM.from_config(config).eval(), tiny.tokenizer())


def test_a_model_that_looks_at_so_many_columns_is_not_given_gaps() -> None:
    model = local_model()
    pairs = pairs_of(model)[:-1]
    (found,) = likelihoods(model, pairs)
    for pair, likelihood in zip(pairs, found, strict=True):
        np.testing.assert_allclose(likelihood.log_probs, by_hand(model, pair), atol=1e-5)


def test_a_model_with_a_state_in_place_of_keys_and_values_is_refused() -> None:
    config = CONFIG_MAPPING["rwkv"](hidden_size=32, num_hidden_layers=2, vocab_size=258, attention_hidden_size=32)
    model = LanguageModel.of(AutoModelForCausalLM.from_config(config).eval(), tiny.tokenizer())
    with pytest.raises(ModelError, match="keeps a state"):
        likelihoods(model, [((1, 2), (3,))])


def test_a_text_that_has_not_begun_needs_a_token_for_that() -> None:
    model = model_of("gpt2")
    model.tokenizer.bos_token = model.tokenizer.eos_token = None
    with pytest.raises(TokenizerError, match="neither a beginning- nor an end-of-sequence token"):
        encode_pair(model, "", "abc")


def test_a_longer_continuation_s_row_serves_what_it_begins_with() -> None:
    model = model_of("llama")
    prompt = tuple(model.tokenizer("abc").input_ids)
    rows: list[int] = []
    handle = model.anatomy.blocks[0].register_forward_hook(lambda module, args, output: rows.append(args[0].shape[0]))
    likelihoods(model, [(prompt, (5, 6, 7, 8)), (prompt, (5, 6, 9)), (prompt, (5, 4)), (prompt, (3,))])
    handle.remove()
    assert set(rows) == {1}
