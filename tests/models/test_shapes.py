"""Sizes of known suites: the formula against transformers' own models, and against what their publishers say."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from trustrace.core.errors import ModelError
from trustrace.models import shapes
from trustrace.models.shapes import Shape


def counted(shape: Shape) -> int:
    """The parameters of transformers' model of that shape, on no device."""
    config = AutoConfig.for_model(
        shape.block,
        hidden_size=shape.d_model,
        num_hidden_layers=shape.n_blocks,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_heads,
        intermediate_size=shape.d_mlp,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.is_tied,
        pad_token_id=None,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    "shape", dict.fromkeys(shapes.SHAPES.values()), ids=lambda shape: f"{shape.block}-{shape.d_model}"
)
def test_parameters_are_those_of_the_model_that_transformers_builds(shape: Shape) -> None:
    assert shape.parameters == counted(shape)


@pytest.mark.parametrize(
    ("repository", "parameters"),
    [
        ("EleutherAI/pythia-70m", 70_426_624),
        ("EleutherAI/pythia-160m", 162_322_944),
        ("EleutherAI/pythia-410m", 405_334_016),
        ("EleutherAI/pythia-1b", 1_011_781_632),
        ("EleutherAI/pythia-1.4b", 1_414_647_808),
        ("EleutherAI/pythia-2.8b-deduped", 2_775_208_960),
        ("EleutherAI/pythia-6.9b", 6_857_302_016),
        ("EleutherAI/pythia-12b", 11_846_072_320),
        ("LLM360/Amber", 6_738_415_616),
        ("allenai/OLMo-1B-hf", 1_176_764_416),
        ("allenai/OLMo-2-0425-1B", 1_484_916_736),
    ],
)
def test_published_parameter_counts_are_met(repository: str, parameters: int) -> None:
    assert shapes.of(repository).parameters == parameters


@pytest.mark.parametrize(
    ("repository", "gigabytes"),
    [
        ("LLM360/Amber@ckpt_179", 9.88 + 9.89 + 7.18),
        ("LLM360/AmberSafe", 9.88 + 9.89 + 7.18),
        ("LLM360/AmberChat", 4.94 + 4.95 + 3.59),
        ("EleutherAI/pythia-410m", 0.911),
        ("EleutherAI/pythia-70m", 0.166),
    ],
)
def test_file_sizes_on_the_hub_are_met(repository: str, gigabytes: float) -> None:
    assert shapes.of(repository).revision_bytes / 1e9 == pytest.approx(gigabytes, rel=5e-3)


def test_a_third_partys_tuned_pythia_holds_506_million_values_its_masks_among_them() -> None:
    tuned = shapes.of("lomahony/eleuther-pythia410m-hh-sft")
    assert (tuned.parameters + tuned.bytes_beside) / 1e6 == pytest.approx(506, abs=0.5)
    assert tuned.revision_bytes == 4 * tuned.parameters + tuned.bytes_beside


def test_the_body_lacks_embedding_and_head_alone() -> None:
    amber = shapes.of("LLM360/Amber")
    assert amber.parameters - amber.body_parameters == 2 * 32_000 * 4096 + 4096


def test_keys_and_values_of_a_7b_model_take_half_a_megabyte_a_token_in_half_precision() -> None:
    assert shapes.of("LLM360/AmberChat").cache_bytes(3, dtype="float16") == 3 * 524_288


def test_an_unknown_repository_is_refused_with_the_way_out() -> None:
    with pytest.raises(ModelError, match=r"nobody/nothing: the shape.*known are.*pythia-410m.*--made-by"):
        shapes.of("nobody/nothing")


def test_a_run_of_ones_own_has_the_shape_of_its_file() -> None:
    own = {
        "model_type": "llama",
        "hidden_size": 128,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "intermediate_size": 512,
    }
    shape = shapes.of_architecture({**own, "tie_word_embeddings": True}, vocabulary=4096, context=256)
    assert shape.parameters == counted(shape)
    with pytest.raises(ModelError, match="lacks hidden_size"):
        shapes.of_architecture({"model_type": "llama"}, vocabulary=4096, context=256)
    with pytest.raises(ModelError, match="'gpt2'"):
        shapes.of_architecture({"model_type": "gpt2"}, vocabulary=4096, context=256)
