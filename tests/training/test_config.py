from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from trustrace.core.errors import ConfigError
from trustrace.training.config import Optimizer, PretrainConfig, context_length, model_config
from trustrace.training.plan import describe

PRESETS = Path(__file__).parents[2] / "studies" / "pretrain"
Build = Callable[..., PretrainConfig]
LLAMA = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def preset(name: str) -> PretrainConfig:
    return PretrainConfig.read(yaml.safe_load((PRESETS / name).read_text()), where=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": {"model_type": "lama"}}, "did you mean 'llama'"),
        ({"architecture": {"hidden_size": 8}}, "model_type None is no causal language model"),
        ({"architecture": {"model_type": "t5"}}, "'t5' is no causal language model"),
        ({"architecture": LLAMA | {"hiden_size": 8}}, "hiden_size is no setting of llama; did you mean 'hidden_size'"),
        ({"architecture": LLAMA | {"vocab_size": 8}}, "vocab_size cannot be set here: the tokenizer decides it"),
        ({"architecture": LLAMA | {"hidden_size": 15}}, "not a multiple of the number of attention heads"),
        ({"architecture": LLAMA | {"hidden_size": "wide"}}, "expected int"),
        ({"architecture": LLAMA | {"max_position_embeddings": 8}}, "16 exceeds the architecture's context of 8"),
        ({"tokens": 63}, "63 are less than one step of 64"),
        ({"optimizer": {"learning_rate": 1e-3, "warmup_steps": 41}}, "41 is more than the 40 steps"),
        ({"optimizer": {"learning_rate": 1e-3, "floor": 1e-2}}, "above the peak"),
        ({"optimiser": {}}, "did you mean 'optimizer'"),
        ({"corpus": {"kind": "folder", "pth": "x"}}, "did you mean 'path'"),
        ({"held_out": 0.0}, "held_out"),
        ({"saves": {"every": 0}}, "saves.every"),
    ],
)
def test_a_mistake_is_named(tiny: Build, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(**changes)


def test_the_context_is_the_trained_length_unless_the_architecture_says_more(tiny: Build) -> None:
    assert context_length(tiny()) == 16
    assert context_length(tiny(architecture=LLAMA | {"max_position_embeddings": 64})) == 64
    gpt2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2}
    assert model_config(tiny(architecture=gpt2), vocab_size=300).n_positions == 16
    assert context_length(tiny(architecture=gpt2 | {"n_positions": 17})) == 17
    assert context_length(tiny(architecture=gpt2 | {"max_position_embeddings": 18})) == 18
    assert (
        context_length(tiny(architecture={"model_type": "bloom", "hidden_size": 16, "n_layer": 1, "n_head": 2})) == 16
    )


def test_a_padding_token_that_is_also_the_end_token_gets_no_dead_embedding_row(tiny: Build) -> None:
    assert model_config(tiny(), vocab_size=300, eos=0, pad=0).pad_token_id is None
    assert model_config(tiny(), vocab_size=300, eos=0, pad=1).pad_token_id == 1


def test_parameters_and_disk_of_a_tied_llama_are_those_of_the_textbook(tiny: Build) -> None:
    plan = describe(tiny())
    d, ffn, vocab = 16, 32, 300
    by_hand = vocab * d + (4 * d * d + 3 * d * ffn + 2 * d) + d
    assert plan.parameters == by_hand
    assert (plan.steps, plan.tokens, plan.tokens_per_step) == (40, 2560, 64)
    assert plan.saves == (0, 1, 2, 4, 15, 30, 40)
    assert plan.disk_bytes == 4 * by_hand * (7 + 6)
    assert plan.training_flops == 6 * by_hand * 2560


def test_the_cpu_preset_is_of_cpu_size_and_saved_densely_at_first() -> None:
    plan = describe(preset("cpu.yaml"))
    assert 2e6 <= plan.parameters <= 6e6
    assert len(plan.saves) >= 24
    assert sum(step <= 128 for step in plan.saves) >= 12


def test_the_gpu_preset_has_about_a_hundred_million_parameters() -> None:
    assert 0.9e8 <= describe(preset("gpu_100m.yaml")).parameters <= 1.3e8


def test_ambers_preset_is_ambers_published_recipe() -> None:
    # Liu et al. (2023), LLM360 (arXiv 2312.06550), and LLM360/amber-train.
    config = preset("amber_7b.yaml")
    settings = model_config(config, vocab_size=32_000)
    assert (settings.hidden_size, settings.intermediate_size, settings.num_hidden_layers) == (4096, 11008, 32)
    assert (settings.num_attention_heads, settings.rms_norm_eps, settings.rope_parameters["rope_theta"]) == (
        32,
        1e-6,
        10_000,
    )
    assert (config.batch, config.sequence_length, config.saves.every, config.seed) == (2240, 2048, 762, 11111)
    assert config.steps == 360 * 762
    assert config.tokens_per_step * 762 == pytest.approx(3.496e9, rel=1e-3)
    assert config.optimizer == Optimizer(
        learning_rate=3e-4, floor=3e-5, warmup_steps=2000, betas=(0.9, 0.95), weight_decay=0.1, decayed="all", clip=1.0
    )
    untied = settings.tie_word_embeddings
    assert untied is False
