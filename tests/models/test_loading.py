"""Loading: whole, safe, fitting, or refused by name."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from trustrace.core.errors import CheckpointError, ConfigError, ModelError, TokenizerError, UnsafeFileError
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load, random_init
from trustrace.models.sources import open_source

Edit = Callable[..., None]


def load_from(folder: Path, **options: object) -> LanguageModel:
    source = open_source(str(folder))
    return load(source, source.checkpoints()[0], **options)  # type: ignore[arg-type]


def to_pickle(folder: Path) -> dict[str, torch.Tensor]:
    """Replace the safetensors of a checkpoint by what older repositories hold."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return tensors


class Trap:
    """A value that runs a command where a pickle of it is read."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def test_a_real_model_tells_its_known_story(data_dir: Path) -> None:
    model = load_from(data_dir / "models" / "stories260K")
    start = torch.tensor([[model.tokenizer.bos_token_id]])
    written = model.module.generate(start, max_new_tokens=60, do_sample=False)[0]
    assert (
        model.tokenizer.decode(written, skip_special_tokens=True)
        .strip()
        .startswith(
            "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball."
        )
    )
    assert (model.n_blocks, model.d_model, model.max_tokens, model.adds_bos) == (5, 64, 512, True)


def test_a_loaded_checkpoint_is_pinned_and_in_evaluation_mode(series: Path) -> None:
    source = open_source(str(series))
    model = load(source, source.checkpoints()[2])
    assert model.checkpoint == source.pin(source.checkpoints()[2])
    assert model.checkpoint.commit
    assert not model.module.training


def test_loading_says_nothing(series: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_from(series)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("asked", "got"), [("auto", torch.float16), ("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_auto_is_the_dtype_that_was_saved(asked: str, got: torch.dtype, tmp_path: Path) -> None:
    tiny.build("llama").half().save_pretrained(tmp_path / "half")
    tiny.tokenizer().save_pretrained(tmp_path / "half")
    assert load_from(tmp_path / "half", dtype=asked).dtype == got


def test_pickled_weights_are_the_same_weights(checkpoint: Path) -> None:
    expected = load_from(checkpoint)
    to_pickle(checkpoint)
    loaded = load_from(checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(loaded.module.parameters(), expected.module.parameters(), strict=True))


def test_pickles_of_parameters_with_attributes_and_of_stale_buffers_are_read(checkpoint: Path) -> None:
    """As Amber's and old Pythia's files have them."""
    tensors = to_pickle(checkpoint)
    kept = {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}
    for parameter in kept.values():
        parameter.sharded = True
    torch.save(
        {**kept, "gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9)}, checkpoint / "pytorch_model.bin"
    )
    loaded = dict(load_from(checkpoint).module.named_parameters())
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items() if name in loaded)


def test_shards_are_put_together(tmp_path: Path) -> None:
    module = tiny.build("llama", seed=7)
    module.save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    tiny.tokenizer().save_pretrained(tmp_path / "sharded")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    loaded = load_from(tmp_path / "sharded")
    assert all(torch.equal(a, b) for a, b in zip(loaded.module.parameters(), module.parameters(), strict=True))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    tiny.build("llama").save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    shard = sorted((tmp_path / "sharded").glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(CheckpointError, match=rf"1 are missing: {shard.name}; fetch them again"):
        load_from(tmp_path / "sharded")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(zipped: bool, checkpoint: Path, tmp_path: Path) -> None:
    tensors = to_pickle(checkpoint)
    planted = {**tensors, "extra": Trap(f"touch {tmp_path / 'ran'}")}
    torch.save(planted, checkpoint / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeFileError, match=r"pytorch_model.bin: reading it could run code"):
        load_from(checkpoint)
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_that_runs_code_is_refused_and_does_not_run(checkpoint: Path, tmp_path: Path) -> None:
    to_pickle(checkpoint)
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(f"touch {tmp_path / 'ran'}")))
    with pytest.raises(UnsafeFileError):
        load_from(checkpoint)
    assert not (tmp_path / "ran").exists()


def test_the_trap_would_have_run(tmp_path: Path) -> None:
    """The control of the two tests above."""
    pickle.loads(pickle.dumps(Trap(f"touch {tmp_path / 'ran'}")))  # noqa: S301
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_safetensors_are_refused(kept: int, checkpoint: Path) -> None:
    whole = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(whole[:kept])
    with pytest.raises(CheckpointError, match=r"model.safetensors: (truncated|\d+ bytes, but its header promises)"):
        load_from(checkpoint)


@pytest.mark.parametrize("kept", [0, 100, -1000])
def test_truncated_pickles_are_refused(kept: int, checkpoint: Path) -> None:
    to_pickle(checkpoint)
    whole = (checkpoint / "pytorch_model.bin").read_bytes()
    (checkpoint / "pytorch_model.bin").write_bytes(whole[:kept])
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin: truncated or damaged"):
        load_from(checkpoint)


def test_a_file_that_is_no_safetensors_is_refused(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes((4).to_bytes(8, "little") + b"oops" * 20)
    with pytest.raises(CheckpointError, match="its header is no JSON"):
        load_from(checkpoint)


def test_weights_that_are_missing_are_not_drawn_at_random(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    del tensors["gpt_neox.layers.1.mlp.dense_h_to_4h.weight"]
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"1 weights are missing, among them gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    ):
        load_from(checkpoint)


def test_weights_of_another_shape_are_refused(checkpoint: Path, edit: Edit) -> None:
    edit(checkpoint / "config.json", intermediate_size=128)
    with pytest.raises(CheckpointError, match="transformers cannot read it"):
        load_from(checkpoint)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value: float, checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["gpt_neox.layers.2.mlp.dense_4h_to_h.bias"][3] = value
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"NaN or infinity in 1 weights, among them gpt_neox.layers.2.mlp.dense_4h_to_h.bias"
    ):
        load_from(checkpoint)


def test_a_folder_with_weights_of_no_known_kind_is_refused(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "model.ckpt")
    with pytest.raises(
        CheckpointError, match=r"no weights; expected model.safetensors or pytorch_model.bin .*'model.ckpt'"
    ):
        load_from(checkpoint)


def test_code_that_comes_with_a_checkpoint_is_not_run_unless_asked_for(
    checkpoint: Path, edit: Edit, tmp_path: Path
) -> None:
    edit(
        checkpoint / "config.json",
        model_type="mine",
        auto_map={"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.MineLM"},
    )
    (checkpoint / "mine.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    with pytest.raises(ModelError, match=r"architecture 'mine' is not known .* runs only with trust_remote_code=True"):
        load_from(checkpoint)
    assert not (tmp_path / "ran").exists()


def test_code_that_comes_with_a_checkpoint_runs_when_asked_for(
    edit: Edit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tiny.save(tmp_path / "coded", "llama")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    edit(
        checkpoint / "config.json",
        model_type="mine",
        auto_map={"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.MineLM"},
    )
    (checkpoint / "mine.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class Mine(LlamaConfig):\n    model_type = 'mine'\n"
        "class MineLM(LlamaForCausalLM):\n    config_class = Mine\n"
    )
    assert type(load_from(checkpoint, trust_remote_code=True).module).__name__ == "MineLM"
    source = open_source(str(checkpoint))
    fresh = random_init(source, source.checkpoints()[0], seed=0, trust_remote_code=True)
    assert type(fresh.module).__name__ == "MineLM"


def test_an_unknown_architecture_is_named(checkpoint: Path, edit: Edit) -> None:
    edit(checkpoint / "config.json", model_type="perceptron")
    with pytest.raises(
        ModelError, match="architecture 'perceptron' is not known to transformers; it may need a newer transformers"
    ):
        load_from(checkpoint)


def test_a_tokenizer_that_is_nowhere_is_an_error(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match="no tokenizer among its files, and checkpoint names no other"):
        load_from(checkpoint)


def test_a_tokenizer_that_is_damaged_is_named(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(TokenizerError, match="its tokenizer cannot be read"):
        load_from(checkpoint)


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(checkpoint: Path) -> None:
    tiny.tokenizer(texts=["the cat sat on the mat"] * 5, vocab_size=259).save_pretrained(checkpoint)
    with pytest.raises(TokenizerError, match="the tokenizer writes token 258, but the model has 258 embeddings"):
        load_from(checkpoint)


def test_special_tokens_beyond_the_embeddings_are_no_reason_to_refuse(checkpoint: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(checkpoint)
    assert load_from(checkpoint).tokenizer.pad_token_id == 258


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"device": "cuda:99"}, "device 'cuda:99' is absent"),
        ({"dtype": "float8"}, "unknown dtype 'float8'; use 'auto', 'float32'"),
    ],
)
def test_places_and_precisions_that_are_not_there_are_named(
    options: dict[str, str], message: str, checkpoint: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_from(checkpoint, **options)


def test_a_model_that_fails_its_proof_is_not_handed_out(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["gpt_neox.layers.2.mlp.dense_4h_to_h.weight"].fill_(3e38)
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="cannot be trusted, load it with prove=False"):
        load_from(checkpoint)
    assert load_from(checkpoint, prove=False).n_blocks == 3


def test_random_initialisation_depends_on_its_seed_alone(series: Path) -> None:
    source = open_source(str(series))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = random_init(source, source.checkpoints()[0], seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    same = random_init(source, source.checkpoints()[2], seed=3)
    other = random_init(source, source.checkpoints()[0], seed=4)
    weights = [next(model.module.parameters()) for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_random_initialisation_is_transformers_own(series: Path) -> None:
    """The second opinion: AutoModelForCausalLM.from_config from the same state of the global generator."""
    from transformers import AutoConfig, AutoModelForCausalLM

    source = open_source(str(series))
    torch.manual_seed(3)
    expected = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(series / "checkpoints" / "step_0000000"))
    drawn = random_init(source, source.checkpoints()[0], seed=3)
    assert all(torch.equal(a, b) for a, b in zip(drawn.module.parameters(), expected.parameters(), strict=True))


def test_random_initialisation_keeps_the_tokenizer_and_says_what_it_is(series: Path) -> None:
    source = open_source(str(series))
    model = random_init(source, source.checkpoints()[1], seed=3, dtype="bfloat16")
    checkpoint = model.checkpoint
    assert (checkpoint.key, checkpoint.step, checkpoint.tokens_seen) == ("run@random_init_3", 0, 0)
    assert checkpoint.commit.startswith("random_init_3-")
    assert model.dtype == torch.bfloat16
    assert model.adds_bos


def test_a_random_initialisation_of_another_architecture_has_another_commit(
    series: Path, tmp_path: Path, edit: Edit
) -> None:
    other = shutil.copytree(series / "checkpoints" / "step_0000000", tmp_path / "other")
    edit(other / "config.json", rms_norm_eps=1e-3)
    assert json.loads((other / "config.json").read_text())["rms_norm_eps"] == 1e-3
    commits = {
        random_init(source, source.checkpoints()[0], seed=0).checkpoint.commit
        for source in (open_source(str(series)), open_source(str(other)))
    }
    assert len(commits) == 2
