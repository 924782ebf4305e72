"""The loss of a batch is that of all its answer tokens, however many rows are read at a time."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_tuning import opened, pairs_in, recipe
from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.training.answers import accumulate_, checkpointed, mean_loss
from trustrace.training.exchanges import Exchange
from trustrace.training.tuning import RECORD, tune
from trustrace.training.tuning_config import TuneConfig


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("base") / "model", "llama")


def uneven(count: int = 24) -> list[Exchange]:
    """Answers of one word to a dozen, so that a mean of means is another mean."""
    long = [int(generator(place, "uneven").integers(1, 13)) for place in range(count)]
    return [Exchange(prompt=f"{place} says:", answer=" yes" * words) for place, words in enumerate(long)]


def gradients(model: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: weight.grad for name, weight in model.module.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("rows", [1, 3, 8, 100])
def test_parts_of_a_batch_add_up_to_the_gradient_of_all_answer_tokens(base: Path, rows: int) -> None:
    """Second author: transformers' own loss of one exchange at a time, summed by hand, in float64."""
    model, other = opened(base), opened(base)
    pairs = pairs_in(model, uneven(8))
    loss = accumulate_(model, pairs, rows=rows)
    other.module.double()
    total, count = torch.zeros((), dtype=torch.float64), 0
    for prompt, answer in pairs:
        labels = torch.tensor([[-100] * len(prompt) + list(answer)])
        # Transformers takes the mean of this row's tokens in float32; the weights keep its gradient in float64.
        total = total + other.module(torch.tensor([prompt + answer]), labels=labels).loss * len(answer)
        count += len(answer)
    torch.autograd.backward(total / count)
    assert loss == pytest.approx(total.item() / count, rel=1e-6)
    theirs = gradients(other)
    assert theirs.keys() == gradients(model).keys()
    for name, ours in gradients(model).items():
        scale = theirs[name].abs().max()
        assert (ours - theirs[name]).abs().max() < 1e-4 * scale + 1e-9, name


def weights_after(base: Path, out: Path, config: TuneConfig) -> dict[str, torch.Tensor]:
    return load_file(tune(base, uneven(), config=config, out=out, device="cpu") / "model.safetensors")


def gentle(**changes: object) -> TuneConfig:
    """Adam divides by the root of the second moment: with this epsilon its updates are smooth where gradients are near zero."""
    return recipe(steps=4, check_every=4, optimizer={"learning_rate": 1e-1, "epsilon": 1.0}, **changes)


def test_micro_batches_give_the_weights_of_the_whole_batch(base: Path, tmp_path: Path) -> None:
    whole = weights_after(base, tmp_path / "whole", gentle())
    split = weights_after(base, tmp_path / "split", gentle(micro_batch=3))
    before = opened(base).module.state_dict()
    assert max((whole[name] - before[name]).abs().max() for name in whole) > 1e-3
    for name, weight in whole.items():
        torch.testing.assert_close(split[name], weight, rtol=0, atol=1e-6, msg=name)
    records = [json.loads((tmp_path / name / RECORD).read_text()) for name in ("whole", "split")]
    assert records[0]["compute"] == records[1]["compute"]
    assert records[1]["held_out_loss"] == pytest.approx(records[0]["held_out_loss"], rel=1e-5)


def test_activations_that_are_computed_again_give_the_same_weights(base: Path, tmp_path: Path) -> None:
    plain = weights_after(base, tmp_path / "plain", gentle())
    again = weights_after(base, tmp_path / "again", gentle(gradient_checkpointing=True))
    assert all(torch.equal(again[name], weight) for name, weight in plain.items())


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "olmo2"])
def test_blocks_run_twice_where_they_are_checkpointed_and_once_afterwards(family: str, tmp_path: Path) -> None:
    model = opened(tiny.save(tmp_path / "base", family))
    pairs = pairs_in(model, uneven(2))
    calls: list[int] = []
    next(model.anatomy.blocks[0].children()).register_forward_pre_hook(lambda *_: calls.append(1))
    embeddings = model.module.get_input_embeddings()
    hooks, counted = len(embeddings._forward_hooks), []
    for wanted in (True, False):
        calls.clear()
        model.module.train()
        with checkpointed(model, wanted=wanted):
            accumulate_(model, pairs, rows=2)
        counted.append(len(calls))
    assert counted == [2, 1]
    assert len(embeddings._forward_hooks) == hooks


def test_a_model_that_cannot_compute_again_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(base)
    monkeypatch.setattr(type(model.module), "supports_gradient_checkpointing", False)
    with pytest.raises(ConfigError, match="gradient_checkpointing: LlamaForCausalLM"), checkpointed(model, wanted=True):
        pass


def test_a_look_is_the_same_however_many_rows_it_takes_at_a_time(base: Path) -> None:
    model = opened(base)
    pairs = pairs_in(model, uneven(8))
    assert mean_loss(model, pairs, rows=3) == pytest.approx(mean_loss(model, pairs, rows=8), rel=1e-6)


@pytest.mark.parametrize("wrong", [{"micro_batch": 0}, {"micro_batch": -2}, {"gradient_checkpointing": "sometimes"}])
def test_a_micro_batch_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        recipe(**wrong)
