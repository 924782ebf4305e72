"""Every architecture's residual stream is found and is what Hugging Face computes."""

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertLMHeadModel, T5Config, T5ForConditionalGeneration

from trustrace.core.errors import ModelError
from trustrace.core.sites import Site, sites_of
from trustrace.models import anatomy, tiny
from trustrace.models.language_model import UNLIMITED, LanguageModel

IDS = torch.tensor([[5, 70, 9, 200, 33, 41]])


def read(model: LanguageModel, ids: Tensor = IDS) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    with (
        anatomy.watching(model.anatomy, model.sites, lambda site, residual: seen.update({site.name: residual})),
        torch.no_grad(),
    ):
        model.anatomy.decoder(input_ids=ids, use_cache=False)
    return seen


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_what_is_watched_is_what_hugging_face_calls_hidden_states(family: str) -> None:
    model = LanguageModel.of(tiny.build(family, seed=1), tiny.tokenizer())
    seen = read(model)
    with torch.no_grad():
        expected = model.module(input_ids=IDS, use_cache=False, output_hidden_states=True).hidden_states
    assert [*seen] == ["embed", "block_0", "block_1", "block_2", "final_norm"]
    assert all(torch.equal(seen[site], expected[i]) for i, site in enumerate(["embed", "block_0", "block_1"]))
    assert torch.equal(seen["final_norm"], expected[3])
    assert not torch.allclose(seen["block_2"], expected[3], rtol=0.1)


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_the_final_norm_turns_the_last_block_into_what_the_vocabulary_head_reads(family: str) -> None:
    model = LanguageModel.of(tiny.build(family, seed=2), tiny.tokenizer())
    with torch.no_grad():
        normed = model.anatomy.final_norm(read(model)["block_2"])
        logits = model.module(input_ids=IDS).logits
        head = model.module.get_output_embeddings()(normed)
    softcap = getattr(model.module.config, "final_logit_softcapping", None)
    head = softcap * torch.tanh(head / softcap) if softcap else head
    assert torch.allclose(head, logits, atol=1e-4)


@pytest.mark.parametrize("n_blocks", [1, 2, 5])
def test_blocks_are_counted_by_the_configuration(n_blocks: int) -> None:
    model = LanguageModel.of(tiny.build("qwen3", n_blocks=n_blocks), tiny.tokenizer())
    assert model.n_blocks == n_blocks
    assert model.sites == sites_of(n_blocks)


def test_only_the_wanted_sites_are_told_in_order_of_depth() -> None:
    model = LanguageModel.of(tiny.build("olmo2"), tiny.tokenizer())
    told: list[str] = []
    wanted = [Site.parse("final_norm"), Site.parse("block_1")]
    with anatomy.watching(model.anatomy, wanted, lambda site, residual: told.append(site.name)):
        model.anatomy.decoder(input_ids=IDS)
    assert told == ["block_1", "final_norm"]


def test_hooks_are_gone_when_the_body_raises() -> None:
    model = LanguageModel.of(tiny.build("mpt"), tiny.tokenizer())
    count = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.module.modules())
    with pytest.raises(ZeroDivisionError), anatomy.watching(model.anatomy, model.sites, lambda site, residual: None):
        raise ZeroDivisionError
    assert (
        sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.module.modules()) == count
    )


def test_a_site_beyond_the_blocks_is_refused_and_leaves_no_hook() -> None:
    model = LanguageModel.of(tiny.build("llama"), tiny.tokenizer())
    sites = [Site.parse("embed"), Site.parse("block_3")]
    watching = anatomy.watching(model.anatomy, sites, lambda site, residual: None)
    with pytest.raises(ModelError, match="block_3 is not in LlamaModel, which has 3 blocks"), watching:
        pass
    assert not model.anatomy.blocks[0]._forward_pre_hooks


def test_two_lists_of_the_right_length_are_not_guessed_between() -> None:
    module = tiny.build("llama")
    module.model.spare = nn.ModuleList(nn.Identity() for _ in range(3))
    with pytest.raises(ModelError, match=r"2 lists of 3 blocks among \{'layers': 3, 'spare': 3\}"):
        anatomy.find(module)


def test_a_decoder_without_a_final_norm_is_refused() -> None:
    module = tiny.build("opt")
    module.model.decoder.final_layer_norm = None
    with pytest.raises(ModelError, match="no module takes the last block's output to last_hidden_state"):
        anatomy.find(module)


def test_an_encoder_decoder_is_refused() -> None:
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=50, d_model=16, num_layers=2, num_decoder_layers=3, num_heads=2, d_kv=8, d_ff=16)
    )
    with pytest.raises(ModelError):
        anatomy.find(t5)


def test_a_model_whose_blocks_lie_deeper_is_refused_by_name() -> None:
    bert = BertLMHeadModel(
        BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            is_decoder=True,
        )
    )
    with pytest.raises(ModelError, match="BertModel: 0 lists of 2 blocks"):
        anatomy.find(bert)


def test_a_model_tells_its_shape_and_limits() -> None:
    model = LanguageModel.of(tiny.build("gpt2", d_model=16), tiny.tokenizer(adds_bos=True))
    assert (model.d_model, model.max_tokens, model.adds_bos, model.dtype) == (16, 512, True, torch.float32)
    assert model.device == torch.device("cpu")
    assert model.checkpoint.key == "gpt2@memory"


def test_the_context_is_the_shorter_of_the_models_and_the_tokenizers() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.model_max_length = 100
    assert LanguageModel.of(tiny.build("llama"), tokenizer).max_tokens == 100
    assert LanguageModel.of(tiny.build("bloom"), tiny.tokenizer()).max_tokens == UNLIMITED


def test_a_model_from_memory_is_put_into_evaluation_mode() -> None:
    module = tiny.build("llama").train()
    assert not LanguageModel.of(module, tiny.tokenizer()).module.training
