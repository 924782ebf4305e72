"""Being told something is as if it stood in every prompt."""

import numpy as np
import pytest

from tests.interventions.test_steering import unit
from trustrace.core.errors import ConfigError, DataError
from trustrace.interventions.edits import add
from trustrace.interventions.prompting import Prompting
from trustrace.interventions.steering import Steering
from trustrace.models import tiny
from trustrace.models.generation import Decoding, generate
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import encode_pair, likelihoods

PROMPTS = ["what is this?", "a", "hello there"]


def model_of(family: str) -> LanguageModel:
    return LanguageModel.of(tiny.build(family), tiny.tokenizer(adds_bos=family in tiny.FAMILIES_WITH_BOS))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_an_instruction_is_read_before_every_prompt(family: str) -> None:
    model, decoding = model_of(family), Decoding(max_new_tokens=6)
    with Prompting(instruction="Answer truthfully. ").on(model) as instructed:
        found = generate(instructed, PROMPTS, decoding=decoding)
        (scored,) = likelihoods(instructed, [encode_pair(model, prompt, " yes") for prompt in PROMPTS])
    expected = ["Answer truthfully. " + prompt for prompt in PROMPTS]
    assert found == generate(model, expected, decoding=decoding)
    (by_hand,) = likelihoods(model, [encode_pair(model, prompt, " yes") for prompt in expected])
    np.testing.assert_allclose([one.total for one in scored], [one.total for one in by_hand], atol=1e-5)
    assert generate(model, PROMPTS, decoding=decoding) != found


def test_an_instruction_and_a_vector_go_together() -> None:
    model, decoding = model_of("llama"), Decoding(max_new_tokens=6)
    steering = Steering.of([add("block_1", unit(0), alpha=5.0)])
    with Prompting(instruction="Be kind. ").on(model) as told, steering.on(told) as both:
        found = generate(both, PROMPTS, decoding=decoding)
    with steering.on(model) as steered:
        assert found == generate(steered, ["Be kind. " + prompt for prompt in PROMPTS], decoding=decoding)


def test_an_instruction_takes_its_room_from_the_context() -> None:
    model = model_of("llama")
    with Prompting(instruction="x" * 100).on(model) as told:
        assert told.max_tokens == model.max_tokens - 100
        with pytest.raises(DataError, match="412 at most"):
            generate(told, ["y" * 420], decoding=Decoding(max_new_tokens=1))


@pytest.mark.parametrize("instruction", ["", "x" * 600])
def test_an_instruction_of_nothing_or_of_too_much_is_refused(instruction: str) -> None:
    with pytest.raises(ConfigError, match="instruction"), Prompting(instruction=instruction).on(model_of("llama")):
        pass
