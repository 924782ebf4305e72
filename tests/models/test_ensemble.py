"""Several networks as one: what they remember lies in one cache, and they are what they were."""

import pytest
import torch
from transformers import DynamicCache, StaticCache

from trustrace.core.errors import ModelError
from trustrace.models import tiny
from trustrace.models.ensemble import Ensemble

FAMILIES = ("llama", "gpt_neox", "bloom")
TOKENS = torch.tensor([[5, 6, 7, 8, 9], [1, 1, 4, 3, 2]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])


def members() -> list[torch.nn.Module]:
    return [tiny.build(family, seed=seed, n_blocks=seed + 1) for seed, family in enumerate(FAMILIES)]


def total(logits):
    return logits[0] - 2 * logits[1] + logits[2]


@torch.no_grad()
def expected(parts, tokens=TOKENS, mask=MASK):
    return total([part(tokens, attention_mask=mask, use_cache=False, **placed(part, mask)).logits for part in parts])


def placed(part, mask):
    return {} if part.config.model_type == "bloom" else {"position_ids": (mask.cumsum(1) - 1).clamp_min(0)}


def given(mask=MASK):
    return {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp_min(0)}


@torch.no_grad()
@pytest.mark.parametrize("keep", [0, 2, torch.tensor([1, 4])])
def test_logits_are_mixed_after_the_wanted_tokens(keep) -> None:
    parts = members()
    found = Ensemble(parts, total)(TOKENS, **given(), logits_to_keep=keep).logits
    whole = expected(parts)
    torch.testing.assert_close(found, whole[:, -keep:] if isinstance(keep, int) else whole[:, keep])


@torch.no_grad()
@pytest.mark.parametrize("start", ["none", "without layers", "the first member's layers"])
def test_one_cache_holds_what_all_members_have_read(start) -> None:
    parts = members()
    ensemble = Ensemble(parts, total)
    cache = {"none": None, "without layers": DynamicCache()}.get(start, DynamicCache(config=parts[0].config))
    inputs = {"attention_mask": MASK[:, :3], "position_ids": given()["position_ids"][:, :3]}
    first = ensemble(TOKENS[:, :3], **inputs, past_key_values=cache, use_cache=True)
    assert cache is None or first.past_key_values is cache
    assert len(first.past_key_values.layers) == 1 + 2 + 3
    first.past_key_values.reorder_cache(torch.tensor([1, 0]))
    swapped = given(MASK[[1, 0]])
    swapped["position_ids"] = swapped["position_ids"][:, 3:]
    rest = ensemble(TOKENS[[1, 0], 3:], **swapped, past_key_values=first.past_key_values).logits
    torch.testing.assert_close(rest, expected(parts)[[1, 0], 3:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_reading_without_logits_goes_through_no_head() -> None:
    parts = members()
    ensemble, heads = Ensemble(parts, total), []
    for part in parts:
        part.get_output_embeddings().register_forward_hook(lambda *_: heads.append(1))
    cache = DynamicCache()
    inputs = {"attention_mask": MASK[:, :4], "position_ids": given()["position_ids"][:, :4]}
    ensemble.get_decoder()(input_ids=TOKENS[:, :4], **inputs, past_key_values=cache, use_cache=True)
    assert not heads
    inputs = {"attention_mask": MASK, "position_ids": given()["position_ids"][:, 4:]}
    last = ensemble(TOKENS[:, 4:], **inputs, past_key_values=cache).logits
    torch.testing.assert_close(last, expected(parts)[:, 4:], atol=1e-5, rtol=1e-5)


def test_a_cache_that_members_cannot_share_is_refused() -> None:
    parts = members()
    ensemble = Ensemble(parts, total)
    with pytest.raises(ModelError, match="not a StaticCache"):
        ensemble(TOKENS, past_key_values=StaticCache(config=parts[0].config, max_cache_len=9))
    of_one = parts[0](TOKENS, use_cache=True).past_key_values
    with pytest.raises(ModelError, match=r"has 1 layers, but the members of the ensemble have \(1, 2, 3\)"):
        ensemble(TOKENS, past_key_values=of_one)


def test_members_are_as_they_were() -> None:
    parts = [part.train() for part in members()]
    kinds = [part.config._attn_implementation for part in parts]
    ensemble = Ensemble(parts, total)
    ensemble.generation_config.max_new_tokens = 3
    ensemble.tie_weights()
    assert all(part.training for part in parts)
    assert [part.config._attn_implementation for part in parts] == kinds
    assert parts[0].generation_config.max_new_tokens != 3
    assert (ensemble.device, ensemble.dtype) == (parts[0].device, parts[0].dtype)
    assert ensemble.get_output_embeddings() is parts[0].get_output_embeddings()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device beside the processor")
@torch.no_grad()
def test_members_may_lie_on_several_devices() -> None:
    parts = members()
    whole = expected(parts)
    parts[1].to("cuda")
    ensemble = Ensemble(parts, total)
    found = ensemble(TOKENS, **given()).logits
    torch.testing.assert_close(found, whole, atol=1e-3, rtol=1e-3)
