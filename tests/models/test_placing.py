"""Models whose parts lie on several devices: every number is that of one device, and no operation mixes devices."""

import sys
import weakref
from collections.abc import Mapping
from pathlib import Path

import accelerate
import pytest
import torch
from accelerate import dispatch_model
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import PreTrainedModel

from trustrace.activations.capture import capture
from trustrace.activations.encoding import Encoding
from trustrace.activations.pooling import Pooling
from trustrace.core.errors import ConfigError, MissingExtraError, ModelError
from trustrace.core.sites import Position
from trustrace.models import tiny
from trustrace.models.anatomy import find
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load, random_init
from trustrace.models.placing import BALANCED, _balanced, placed, placement
from trustrace.models.selfcheck import prove
from trustrace.models.sources import open_source
from trustrace.models.text_loss import text_loss
from trustrace.studies.settings import Settings

TEXTS = ["The river rises.", "The river falls, and the fields are dry.", "2 + 2 = 5"]
FAMILIES = ["llama", "gpt_neox", "bloom", "gemma2"]


def parts_of(module: PreTrainedModel) -> dict[str, nn.Module]:
    """Blocks, and whatever else has weights or buffers and is in none, by name."""
    blocks = list(find(module).blocks)
    names = {id(part): name for name, part in module.named_modules()}
    parts = {names[id(block)]: block for block in blocks}
    for name, part in module.named_modules():
        if name and not list(part.children()) and not any(name.startswith(f"{one}.") for one in parts):
            parts[name] = part
    return parts


def read(model: LanguageModel, out: Path) -> list[Tensor]:
    activations = capture(model, TEXTS, out=out)
    return [activations.values(site) for site in activations.sites]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_whose_blocks_come_and_go_gives_the_same_bits(family: str, tmp_path: Path) -> None:
    """What stands in for a second device where there is none: every second block is fetched from the disk when it is its turn."""
    plain = LanguageModel.of(tiny.build(family), tiny.tokenizer())
    module = tiny.build(family)
    blocks = list(find(module).blocks)
    places = {name: "disk" if part in blocks[1:] else "cpu" for name, part in parts_of(module).items()}
    dispatch_model(module, device_map=places, offload_dir=tmp_path / "offloaded")
    assert {weight.device.type for weight in module.parameters()} == {"cpu", "meta"}
    apart = LanguageModel.of(module, tiny.tokenizer())
    for one, other in zip(read(plain, tmp_path / "one"), read(apart, tmp_path / "other"), strict=True):
        assert torch.equal(one, other)
    assert text_loss(plain) == text_loss(apart)
    prove(apart)


@pytest.mark.parametrize("position", ["last", "mean"])
def test_tokens_are_pooled_on_the_device_of_their_block(position: Position) -> None:
    """Tensors without numbers know their device, though no such device is there; an operation that mixes two is an error."""
    encodings = [Encoding(ids=(1, 2, 3, 4), start=0, stop=4)] * 2
    with FakeTensorMode():
        first, second = torch.device("cuda", 0), torch.device("cuda", 1)
        pooling = Pooling.of([range(4), range(4, 8)], encodings, position=position, device=first)
        with pytest.raises(RuntimeError, match="two devices"):
            torch.zeros(2, device=first) + torch.zeros(2, device=second)
        assert pooling(torch.zeros(2, 4, 8, device=second)).device == second


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="blocks on several GPUs need two of them")
def test_blocks_on_two_gpus_give_the_numbers_of_one(checkpoint: Path, tmp_path: Path) -> None:
    one, both = (load_from(checkpoint, device) for device in ("cuda:0", BALANCED))
    assert len({weight.device for weight in both.module.parameters()}) == 2
    for here, there in zip(read(one, tmp_path / "one"), read(both, tmp_path / "both"), strict=True):
        assert torch.equal(here, there)
    assert text_loss(one) == text_loss(both)


def load_from(folder: Path, device: str) -> LanguageModel:
    source = open_source(str(folder))
    return load(source, source.checkpoints()[0], device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine with GPUs takes them")
def test_without_a_gpu_the_balance_is_the_processor_alone(checkpoint: Path, tmp_path: Path) -> None:
    plain, balanced = (load_from(checkpoint, device) for device in ("cpu", BALANCED))
    assert balanced.device.type == "cpu"
    for one, other in zip(read(plain, tmp_path / "one"), read(balanced, tmp_path / "other"), strict=True):
        assert torch.equal(one, other)
    source = open_source(str(checkpoint))
    fresh = random_init(source, source.checkpoints()[0], seed=0, device=BALANCED, dtype="bfloat16")
    assert fresh.dtype == torch.bfloat16


def gigabytes(first: float, second: float) -> Mapping[int | str, int]:
    return {0: int(1e9 * first), 1: int(1e9 * second), "cpu": 10**12}


def test_a_model_that_was_spread_leaves_the_memory_before_it_is_measured_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What moves tensors along refers to the model it belongs to, so that no count of references falls to nothing."""
    module, seen = tiny.build("llama"), []
    places = dict.fromkeys(parts_of(module), "cpu") | {"model.layers.1": "disk"}
    dispatch_model(module, device_map=places, offload_dir=tmp_path)
    gone = weakref.ref(module)
    del module

    def free() -> Mapping[int | str, int]:
        seen.append("alive" if gone() else "gone")
        return gigabytes(0, 0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append("blocks of torch given back"))
    monkeypatch.setattr(accelerate.utils, "get_max_memory", free)
    with pytest.raises(ModelError, match="do not fit"):
        placed(tiny.build("gpt2"), BALANCED)
    assert seen == ["blocks of torch given back", "gone"]


def test_weights_leave_room_for_what_is_computed_and_say_so_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A few kilobytes of weights would fit either GPU whole."""
    module = tiny.build("llama")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(accelerate.utils, "get_max_memory", lambda: gigabytes(3.9, 0.9))
    with pytest.raises(ModelError, match="of which 4 GB of the first and 1 GB of each other are kept for computing"):
        placed(module, BALANCED)
    monkeypatch.setattr(accelerate.utils, "get_max_memory", lambda: gigabytes(3.9, 1.1))
    assert set(_balanced(module).values()) == {1}
    monkeypatch.setattr(accelerate.utils, "get_max_memory", lambda: gigabytes(4.1, 1.1))
    assert set(_balanced(module).values()) == {0, 1}


def test_a_missing_accelerate_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"over several GPUs needs accelerate.*trustrace\[train\]"):
        placement(BALANCED)


def test_work_that_is_done_on_one_device_says_so() -> None:
    settings = Settings(device=BALANCED)
    assert settings.model_device == BALANCED
    settings.require_device()
    with pytest.raises(ConfigError, match="spread over several GPUs by trace, dynamics and capture alone"):
        settings.require_device(spreads=False)
