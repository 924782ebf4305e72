"""Whoever reads a model in training leaves it as he found it."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from trustrace.models import tiny
from trustrace.models.fingerprints import weights_fingerprint
from trustrace.models.undisturbed import undisturbed

CPU = torch.device("cpu")


class Rotary(nn.Module):
    """What meets a longer text, replaces its buffer and notes the length, as rotary embeddings of some models do."""

    longest = 0
    inv_freq: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inv_freq", torch.ones(4), persistent=False)
        self.seen = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = len(x)
        self.register_buffer("inv_freq", self.inv_freq * 2, persistent=False)
        self.later = True
        return x * self.inv_freq


def test_buffers_and_attributes_that_a_forward_pass_changes_are_put_back_and_training_can_go_on() -> None:
    part = Rotary()
    kept = part.inv_freq
    with undisturbed(part, device=CPU), torch.inference_mode():
        part(torch.ones(9, 4))
        kept.mul_(3)
    assert part.inv_freq is kept
    assert kept.tolist() == [1.0] * 4
    assert (part.seen, hasattr(part, "later")) == (1, False)
    weight = torch.ones(1, 4, requires_grad=True)
    part(weight).sum().backward()


def test_modes_of_every_part_are_put_back_also_when_the_body_raises() -> None:
    module = tiny.build("gpt2")
    module.train()
    module.transformer.h[1].eval()
    modes = [part.training for part in module.modules()]

    def read() -> None:
        with undisturbed(module, device=CPU):
            assert not any(part.training for part in module.modules())
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        read()
    assert [part.training for part in module.modules()] == modes
    assert len(set(modes)) == 2


def test_every_generator_goes_on_as_if_nobody_had_drawn() -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = drawn()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with undisturbed(nn.Linear(1, 1), device=CPU):
        drawn()
        torch.manual_seed(9)
    random.seed(1), np.random.seed(1)
    torch.manual_seed(1)
    with undisturbed(Rotary(), device=CPU):
        drawn()
    assert drawn() == expected


def test_autocast_of_training_does_not_reach_what_is_read() -> None:
    layer = nn.Linear(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        with undisturbed(layer, device=CPU):
            assert layer(torch.ones(1, 2)).dtype == torch.float32
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16


def test_weights_have_one_fingerprint_wherever_they_lie_and_another_after_the_smallest_change() -> None:
    module, twin = tiny.build("llama", seed=1), tiny.build("llama", seed=1)
    before = weights_fingerprint(module)
    assert before == weights_fingerprint(twin)
    with torch.no_grad():
        weight = twin.get_input_embeddings().weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    assert weights_fingerprint(twin) != before
