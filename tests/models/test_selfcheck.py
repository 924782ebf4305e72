"""The proof passes for every family, and fails for each thing that can silently go wrong."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trustrace.core.errors import ModelError
from trustrace.models import selfcheck, tiny
from trustrace.models.language_model import LanguageModel


def model_of(family: str, dtype: torch.dtype = torch.float32) -> LanguageModel:
    return LanguageModel.of(tiny.build(family, seed=1).to(dtype), tiny.tokenizer())


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_every_family_proves_itself(family: str) -> None:
    check = selfcheck.prove(model_of(family))
    assert check.hidden_states == 0
    assert check.batch < 5e-6
    assert check.padding_side < 5e-6
    assert check.tolerance == 1e-4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_dtype_proves_itself_within_its_own_tolerance(dtype: torch.dtype) -> None:
    check = selfcheck.prove(model_of("olmo2", dtype))
    assert max(check.hidden_states, check.batch, check.padding_side) <= check.tolerance == selfcheck.TOLERANCE[dtype]


def test_a_shorter_context_than_the_proofs_is_enough() -> None:
    model = model_of("llama")
    model.tokenizer.model_max_length = 5
    assert selfcheck.prove(model).batch < 5e-6


def test_blocks_in_the_wrong_order_are_found_out() -> None:
    model = model_of("gpt_neox")
    first, second, third = model.anatomy.blocks
    swapped = replace(model, anatomy=replace(model.anatomy, blocks=nn.ModuleList([second, first, third])))
    with pytest.raises(ModelError, match="what hooks read differs from Hugging Face's hidden_states at"):
        selfcheck.prove(swapped)


def test_a_single_block_read_at_the_wrong_place_is_found_out() -> None:
    model = model_of("gpt_neox")
    first, _, third = model.anatomy.blocks
    wrong = replace(model, anatomy=replace(model.anatomy, blocks=nn.ModuleList([first, first, third])))
    with pytest.raises(ModelError, match="hidden_states at 1 sites, most at block_1"):
        selfcheck.prove(wrong)


def test_a_wrong_final_norm_is_found_out() -> None:
    model = model_of("llama")
    wrong = replace(model, anatomy=replace(model.anatomy, final_norm=model.anatomy.blocks[0].input_layernorm))
    with pytest.raises(ModelError, match="most at final_norm by"):
        selfcheck.prove(wrong)


def test_statements_that_leak_into_each_other_are_found_out() -> None:
    model = model_of("mistral")

    def mix(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output + 0.1 * output.mean(dim=0, keepdim=True)

    model.anatomy.blocks[1].register_forward_hook(mix)
    with pytest.raises(ModelError, match="a statement in a batch differs from the statement by itself at 3 sites"):
        selfcheck.prove(model)


def test_positions_that_count_padding_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "_placed", lambda anatomy, mask: {"attention_mask": mask})
    with pytest.raises(ModelError, match="padding on the left differs from no padding at 5 sites"):
        selfcheck.prove(model_of("gpt2"))


def test_a_mask_that_is_ignored_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "_placed", lambda anatomy, mask: {})
    with pytest.raises(ModelError, match="padding on the left"):
        selfcheck.prove(model_of("gpt_neox"))


def test_a_model_that_computes_nan_is_found_out() -> None:
    model = model_of("qwen2")
    with torch.no_grad():
        model.anatomy.blocks[2].mlp.down_proj.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="by nan"):
        selfcheck.prove(model)
