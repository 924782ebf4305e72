"""Planted faults in a real little training, and trainings without faults that raise no alarm."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.models import tiny
from trustrace.models.integrity import SAMPLED, Vitals, screen, vitals_of
from trustrace.models.text_loss import TextLoss

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 96, 128, 160)
Series = list[tuple[Checkpoint, Vitals]]


def at(step: int, revision: str = "") -> Checkpoint:
    return Checkpoint(family="f", model="m", revision=revision or f"step{step}", step=step, tokens_seen=step * 512)


@cache
def trained(seed: int = 0, recipe: str = "warm-up") -> tuple[Vitals, ...]:
    """A model that learns to count, its weights noted along the way."""
    module = tiny.build("gpt_neox", seed=seed, n_blocks=2, d_model=16)
    rates = {
        "warm-up": lambda step: min(step / 10, 0.5 * (1 + math.cos(math.pi * step / max(STEPS)))),
        "steep": lambda step: 1.0,
        "momentum": lambda step: min(1.0, step / 5),
    }
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9)
        if recipe == "momentum"
        else torch.optim.AdamW(module.parameters(), lr=0.02 if recipe == "steep" else 0.005, weight_decay=0.1)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rates[recipe])
    draws = torch.Generator().manual_seed(seed)
    noted = []
    for step in range(max(STEPS) + 1):
        if step in STEPS:
            noted.append(vitals_of(module))
        starts = torch.randint(0, 200, (8, 1), generator=draws)
        tokens = (starts + torch.arange(16)) % 258
        module(input_ids=tokens, labels=tokens).loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return tuple(noted)


def series(seed: int = 0, recipe: str = "warm-up") -> Series:
    return [(at(step), vitals) for step, vitals in zip(STEPS, trained(seed, recipe), strict=True)]


def replaced(clean: Series, step: int, vitals: Vitals) -> Series:
    return [(one, vitals if one.step == step else own) for one, own in clean]


def alarmed(found: Series) -> dict[str, str]:
    return {alarm.checkpoint.revision: alarm.reason for alarm in screen(found)}


def test_vitals_are_the_norms_and_some_values_of_each_tensor() -> None:
    module = tiny.build("gpt2")
    vitals = vitals_of(module)
    state = dict(module.named_parameters())
    assert vitals.names == tuple(state)
    for name, norm, sample in zip(vitals.names, vitals.norms, vitals.samples, strict=True):
        values = state[name].detach().double().numpy().ravel()
        assert norm == pytest.approx(math.sqrt(sum(values**2)), rel=1e-6)
        kept = min(SAMPLED, len(values))
        assert sample[:kept] == pytest.approx(values[[i * len(values) // kept for i in range(kept)]])
        assert not sample[kept:].any()


def test_vitals_are_the_same_from_their_file() -> None:
    vitals = trained()[3]
    for text in (None, TextLoss(loss=1.25, uniform=2.5)):
        again = Vitals.from_bytes(replace(vitals, text=text).to_bytes())
        assert again.names == vitals.names
        assert np.array_equal(again.norms, vitals.norms)
        assert np.array_equal(again.samples, vitals.samples)
        assert again.text == text
    with pytest.raises(CheckpointError, match="cannot be read"):
        Vitals.from_bytes(b"no file of this kind")


@pytest.mark.parametrize("recipe", ["warm-up", "steep", "momentum"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_clean_training_raises_no_alarm(recipe: str, seed: int) -> None:
    """Its early norms change steeply: that is what training does."""
    clean = series(seed, recipe)
    assert not alarmed(clean)
    assert not alarmed(clean[::2])
    assert not alarmed(clean[::5])
    assert not alarmed(clean[:3])


def test_the_clean_training_that_starts_steeply_does() -> None:
    """The control of the one above."""
    norms = np.array([vitals.norms for vitals in trained(0, "steep")])
    assert np.abs(np.log(norms[-1] / norms[0])).max() > 1.0


@pytest.mark.parametrize("step", STEPS[1:-1])
def test_another_seeds_weights_of_the_same_step_are_found(step: int) -> None:
    """Their norms are right; it is where they lie that is not."""
    foreign = trained(1)[STEPS.index(step)]
    found = alarmed(replaced(series(), step, foreign))
    assert list(found) == [f"step{step}"]
    assert "lie off the way" in found[f"step{step}"]


@pytest.mark.parametrize("recipe", ["warm-up", "steep", "momentum"])
def test_another_seeds_weights_are_found_whatever_the_recipe(recipe: str) -> None:
    assert list(alarmed(replaced(series(0, recipe), 64, trained(1, recipe)[7]))) == ["step64"]


def test_one_shard_of_another_seed_is_found() -> None:
    own, foreign = trained()[6], trained(1)[6]
    third = len(own.names) // 3
    mixed = Vitals(
        names=own.names,
        norms=np.concatenate([foreign.norms[:third], own.norms[third:]]),
        samples=np.concatenate([foreign.samples[:third], own.samples[third:]]),
    )
    assert list(alarmed(replaced(series(), 32, mixed))) == ["step32"]


def test_norms_of_another_size_are_found_even_where_they_point_the_same_way() -> None:
    own = trained()[8]
    louder = Vitals(names=own.names, norms=own.norms * 1.5, samples=own.samples)
    found = alarmed(replaced(series(), 96, louder))
    assert list(found) == ["step96"]
    assert "deviations off the course of step64 and step128" in found["step96"]


def test_the_last_weights_under_an_early_name_are_found_and_the_last_stay() -> None:
    assert list(alarmed(replaced(series(), 8, trained()[-1]))) == ["step8"]


def test_equal_weights_that_nothing_tells_apart_are_both_named() -> None:
    found = alarmed(replaced(series(), 128, trained()[8]))
    assert found == {
        "step96": "its weights equal those of step128",
        "step128": "its weights equal those of step96",
    }


def test_weights_that_may_be_equal_are_no_reason_for_alarm() -> None:
    """A warm-up that starts at a rate of zero leaves the first update empty; ``main`` is often the last step again."""
    clean = series()
    main = Checkpoint(family="f", model="m", revision="main")
    assert not alarmed([*replaced(clean, 1, trained()[0]), (main, trained()[-1])])


def test_noise_about_a_fixed_point_and_random_walks_raise_no_alarm() -> None:
    draws = np.random.default_rng(0)
    names = tuple("abcdefghij")
    noise = draws.normal(size=(40, 10, SAMPLED))
    for samples in (5 + noise, 50 + noise.cumsum(axis=0)):
        made = [
            (at(1000 * i + 1000), Vitals(names=names, norms=np.linalg.norm(one, axis=1), samples=one.astype("f4")))
            for i, one in enumerate(samples)
        ]
        assert not alarmed(made)


def test_a_checkpoint_of_another_architecture_is_named_and_the_others_are_judged_without_it() -> None:
    other = vitals_of(tiny.build("llama"))
    assert alarmed(replaced(series(), 4, other)) == {"step4": "its tensors are not those of the rest of the series"}
    assert list(alarmed(replaced(replaced(series(), 4, other), 64, trained(1)[7]))) == ["step4", "step64"]


def test_three_equal_checkpoints_are_all_named() -> None:
    same = trained()[7]
    assert list(alarmed(replaced(replaced(series(), 96, same), 128, same))) == ["step64", "step96", "step128"]


def test_two_checkpoints_are_judged_by_equality_alone() -> None:
    assert not alarmed(series()[:2])
    assert not screen([])


def told(found: Series, losses: Sequence[float]) -> Series:
    """A series that reads a text as well, with these losses."""
    return [
        (one, replace(vitals, text=TextLoss(loss=loss, uniform=2.7)))
        for (one, vitals), loss in zip(found, losses, strict=True)
    ]


LOSSES = (2.7, 2.7, 2.69, 2.6, 2.3, 1.9, 1.5, 1.25, 1.1, 1.02, 1.0)


def test_losses_of_a_training_raise_no_alarm() -> None:
    assert not alarmed(told(series(), LOSSES))


def test_damage_that_shows_in_the_loss_alone_is_found_the_last_checkpoint_included() -> None:
    """One damaged tensor is too little for the rules that look at weights."""
    for place in (7, 10):
        losses = [3.1 if i == place else loss for i, loss in enumerate(LOSSES)]
        found = alarmed(told(series(), losses))
        assert list(found) == [f"step{STEPS[place]}"]
        assert "its loss on a fixed text is" in found[f"step{STEPS[place]}"]


def test_the_last_weights_under_the_first_name_are_found_and_the_last_stay() -> None:
    """By weights alone nothing would tell the two apart."""
    swapped = replaced(series(), 0, trained()[-1])
    assert list(alarmed(swapped)) == ["step0", "step160"]
    assert list(alarmed(told(swapped, (1.0, *LOSSES[1:])))) == ["step0"]


def test_losses_at_unknown_moments_are_not_compared() -> None:
    clean = told(series(), LOSSES)
    main = Checkpoint(family="f", model="m", revision="main")
    assert not alarmed([*clean, (main, replace(clean[-1][1], text=TextLoss(loss=9.0, uniform=2.7)))])


def test_a_record_with_any_byte_cut_or_changed_is_refused_or_read_and_nothing_else() -> None:
    whole = Vitals(names=("a", "b"), norms=np.ones(2), samples=np.zeros((2, SAMPLED), dtype=np.float32)).to_bytes()
    for cut in range(0, len(whole), 3):
        with pytest.raises(CheckpointError, match="cannot be read"):
            Vitals.from_bytes(whole[:cut])
    refused = 0
    for place in range(len(whole)):
        for bit in (0, 6):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            try:
                Vitals.from_bytes(bytes(changed))
            except CheckpointError:
                refused += 1
    assert refused > len(whole) / 2
