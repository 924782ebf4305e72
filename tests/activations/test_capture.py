import json
from functools import cache

import pytest
import torch

from tests.activations.models import language_model, statements
from trustrace.activations.capture import capture
from trustrace.activations.forward import evaluating
from trustrace.activations.store import Activations
from trustrace.core.errors import ConfigError, DataError, ModelError
from trustrace.models import loading, sources, tiny
from trustrace.models.language_model import LanguageModel


@cache
def shared_model(family, adds_bos=True):
    return language_model(family, adds_bos=adds_bos)


def one_at_a_time(model, text):
    """A second author: the textbook loop over the whole language model, one vector per token and site."""
    stream, handles = {}, []

    def hook(name):
        return lambda module, args, output: stream.update({name: output[0] if isinstance(output, tuple) else output})

    for i, block in enumerate(model.anatomy.blocks):
        handles.append(block.register_forward_hook(hook(f"block_{i}")))
    with torch.no_grad():
        output = model.module(torch.tensor([model.tokenizer(text).input_ids]), output_hidden_states=True)
    for handle in handles:
        handle.remove()
    stream |= {"embed": output.hidden_states[0], "final_norm": output.hidden_states[-1]}
    skipped = 1 if model.tokenizer(text).input_ids[0] == model.tokenizer.bos_token_id else 0
    return {site: tokens[0, skipped:] for site, tokens in stream.items()}


POOL = {
    "first": lambda tokens: tokens[0],
    "last": lambda tokens: tokens[-1],
    "mean": lambda tokens: tokens.mean(0),
    "max": lambda tokens: tokens.amax(0),
}


def largest_gap(activations, site, reference):
    captured = activations.values(site)
    return float(((captured - reference).norm(dim=1) / reference.norm(dim=1)).max())


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_a_capture_equals_one_statement_at_a_time_at_every_site_and_position(family, tmp_path):
    adds_bos = family in tiny.FAMILIES_WITH_BOS
    model, texts = shared_model(family, adds_bos), statements()
    plain = [one_at_a_time(model, text) for text in texts]
    for position, pool in POOL.items():
        out = tmp_path / f"{position}.safetensors"
        activations = capture(model, texts, out=out, position=position, batch_tokens=100)
        assert activations.sites == tuple(site.name for site in model.sites)
        for site in activations.sites:
            reference = torch.stack([pool(one[site]) for one in plain])
            assert largest_gap(activations, site, reference) < 1e-5, (position, site)


def test_shared_beginnings_are_computed_once_where_the_model_allows_it(tmp_path):
    provenance = capture(shared_model("llama"), statements(), out=tmp_path / "a.safetensors").provenance
    assert provenance["prefix_sharing"]["used"]
    assert provenance["prefix_sharing"]["difference"] < 1e-5
    assert provenance["tokens_computed"] < 0.6 * provenance["tokens"]


@pytest.mark.parametrize("sharing", [False, True])
@pytest.mark.parametrize("batch_tokens", [1, 37, 4096])
def test_neither_budget_nor_sharing_changes_an_activation(batch_tokens, sharing, tmp_path):
    model, texts = shared_model("llama"), statements()
    reference = capture(model, texts, out=tmp_path / "a.safetensors", batch_tokens=64)
    other = capture(model, texts, out=tmp_path / "b.safetensors", batch_tokens=batch_tokens, sharing=sharing)
    for site in reference.sites:
        assert largest_gap(other, site, reference.values(site)) < 1e-5


def test_only_the_wanted_sites_are_written_in_order_of_depth(tmp_path):
    activations = capture(shared_model("llama"), ["a b"], out=tmp_path / "a.safetensors", sites=["block_1", "embed"])
    assert activations.sites == ("embed", "block_1")
    assert Activations.open(activations.path).sites == ("embed", "block_1")


def test_a_span_is_read_in_the_light_of_the_whole_statement(tmp_path):
    model, text = shared_model("llama"), "cats are grey"
    whole = one_at_a_time(model, text)["block_2"]
    activations = capture(model, [text], out=tmp_path / "a.safetensors", position="mean", spans=[(5, 8)])
    assert torch.allclose(activations.values("block_2")[0], whole[5:8].mean(0), atol=1e-5)
    assert activations.position == "mean_of_span"


def test_low_precision_is_kept_while_the_model_runs_and_widened_when_stored(tmp_path):
    model = language_model()
    half = LanguageModel.of(model.module.to(torch.bfloat16), model.tokenizer)
    activations = capture(half, statements(), out=tmp_path / "a.safetensors")
    assert activations.provenance["dtype"] == "bfloat16"
    values = activations.values("block_2")
    assert values.dtype == torch.float32
    assert torch.equal(values, values.bfloat16().float())
    reference = torch.stack([one_at_a_time(half, text)["block_2"][-1].float() for text in statements()])
    assert largest_gap(activations, "block_2", reference) < 5e-2


def test_the_manifest_says_what_a_reader_must_know(tmp_path):
    model = shared_model("llama")
    activations = capture(model, statements(), out=tmp_path / "a.safetensors", position="mean", fingerprint="f00d")
    manifest = json.loads((tmp_path / "a.safetensors.json").read_text())
    assert manifest["fingerprint"] == "f00d"
    assert manifest["position"] == "mean"
    assert manifest["checkpoint"]["model"] == model.checkpoint.model
    assert manifest["provenance"] | {} == activations.provenance
    assert {"dtype": "float32", "adds_bos": True, "attention": "sdpa"}.items() <= manifest["provenance"].items()
    assert set(manifest["provenance"]["versions"]) == {"trustrace", "torch", "transformers"}
    assert Activations.open(activations.path) == activations


def test_progress_counts_the_tokens_that_are_computed(tmp_path):
    seen = []
    activations = capture(
        shared_model("llama"),
        statements(),
        out=tmp_path / "a.safetensors",
        batch_tokens=64,
        progress=lambda done, total, what: seen.append((done, total, what)),
    )
    total = activations.provenance["tokens_computed"]
    assert seen[0] == (0, total, "tokens")
    assert seen[-1] == (total, total, "tokens")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert len(seen) > 3


def hooks_of(module):
    return [part for part in module.modules() if part._forward_hooks or part._forward_pre_hooks]


def test_a_model_is_left_as_it_was_found(tmp_path):
    model = language_model()
    model.module.train()
    model.anatomy.blocks[1].eval()
    training = [part.training for part in model.module.modules()]
    weights = [parameter.clone() for parameter in model.module.parameters()]
    config, chance = model.module.config.to_dict(), torch.random.get_rng_state()
    capture(model, statements(), out=tmp_path / "a.safetensors")
    assert [part.training for part in model.module.modules()] == training
    assert all(torch.equal(a, b) for a, b in zip(weights, model.module.parameters(), strict=True))
    assert model.module.config.to_dict() == config
    assert torch.equal(torch.random.get_rng_state(), chance)
    assert hooks_of(model.module) == []


def test_dropout_of_a_model_in_training_does_not_reach_an_activation(tmp_path):
    model = language_model("gpt2")
    reference = capture(model, ["a b c"], out=tmp_path / "a.safetensors").values("block_2")
    model.module.train()
    assert torch.equal(capture(model, ["a b c"], out=tmp_path / "b.safetensors").values("block_2"), reference)


def test_evaluation_mode_ends_when_the_body_raises():
    module = torch.nn.Sequential(torch.nn.Dropout())
    with pytest.raises(KeyboardInterrupt), evaluating(module):
        raise KeyboardInterrupt
    assert module.training
    assert module[0].training


def interrupt(done, total, what):
    if done:
        raise KeyboardInterrupt


def test_an_interrupted_capture_leaves_no_hook_and_no_file_and_keeps_the_one_before(tmp_path):
    model, out = language_model(), tmp_path / "a.safetensors"
    before = capture(model, ["a b"], out=out)
    with pytest.raises(KeyboardInterrupt):
        capture(model, statements(), out=out, batch_tokens=64, progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "a.safetensors.json"]
    assert Activations.open(out) == before
    assert hooks_of(model.module) == []


def test_an_error_inside_the_model_leaves_no_hook_and_no_file(tmp_path):
    model = language_model()

    def burst(*_):
        raise RuntimeError("burst")

    with model.anatomy.blocks[1].register_forward_hook(burst), pytest.raises(RuntimeError, match="burst"):
        capture(model, ["a b"], out=tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
    assert hooks_of(model.module) == []


def test_a_batch_that_does_not_fit_the_memory_is_told_with_the_way_out(tmp_path):
    model = language_model()

    def exhausted(*_):
        raise torch.OutOfMemoryError("device full")

    with (
        model.anatomy.blocks[1].register_forward_hook(exhausted),
        pytest.raises(
            ModelError, match=r"a batch of 1 rows of 4 tokens does not fit the memory of cpu; lower batch_tokens"
        ),
    ):
        capture(model, ["a b"], out=tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"sites": ["block_3"]}, ConfigError),
        ({"sites": ["layer_1"]}, ConfigError),
        ({"batch_tokens": 0}, ConfigError),
        ({"batch_tokens": -5}, ConfigError),
        ({"texts": []}, DataError),
        ({"texts": ["a" * 600]}, DataError),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(wrong, error, tmp_path):
    arguments = {"texts": ["a b"], "out": tmp_path / "a.safetensors"} | wrong
    with pytest.raises(error):
        capture(shared_model("llama"), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_last_activation_of_a_real_model_foretells_its_next_token(data_dir, tmp_path):
    source = sources.open_source(str(data_dir / "models" / "stories260K"))
    model = loading.load(source, source.checkpoints()[0])
    texts = ["Once upon a time, there was a little girl named", "Once upon a time, there", "Once upon a"]
    activations = capture(model, texts, out=tmp_path / "a.safetensors", sites=["final_norm"])
    assert activations.provenance["prefix_sharing"]["used"]
    with torch.no_grad():
        logits = model.module.get_output_embeddings()(activations.values("final_norm"))
    assert [model.tokenizer.decode(row.argmax()).strip() for row in logits] == ["Lily", "was", "time"]
