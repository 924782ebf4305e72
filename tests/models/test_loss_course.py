"""Courses of losses, written by hand and real ones, with and without a checkpoint that does not belong."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from trustrace.models.loss_course import FEWEST, loss_misfits
from trustrace.models.text_loss import TextLoss

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "text_losses.json").read_text(encoding="utf-8"))
"""Losses of twelve trainings of 500 steps, as `python -m benchmarks.losses` took them; `wrong` are those of the same checkpoint damaged."""

UNIFORM = 2.7
STEEP = [2.7, 2.69, 2.6, 2.3, 1.9, 1.5, 1.25, 1.1, 1.02, 0.97, 0.93, 0.91, 0.9]


def misfits(losses: Sequence[float | None], *, steps: Sequence[int | None] | None = None) -> list[int]:
    known = [None if loss is None else TextLoss(loss=loss, uniform=UNIFORM) for loss in losses]
    return sorted(loss_misfits(known, progress=steps or [1000 * place for place in range(len(known))]))


@pytest.mark.parametrize(
    "course",
    [
        pytest.param(STEEP, id="a steep beginning"),
        pytest.param([2.7, 2.7, 2.7, 2.7, 1.1, 1.1, 1.1, 0.8, 0.8, 0.8], id="plateaus and sudden falls"),
        pytest.param([1.0, 1.02, 0.99, 1.01, 0.98, 1.0, 1.03, 1.0, 0.99], id="noise about a level"),
        pytest.param([1.2, 1.2, 1.2, 1.2, 1.2, 1.2], id="a standstill"),
        pytest.param([2.7, 2.9, 2.75, 2.4, 2.0, 1.7, 1.5, 1.4], id="a bump of the warm-up"),
        pytest.param(
            [1.2, 1.2, 1.19, 2.4, 1.7, 1.4, 1.25, 1.2, 1.18], id="a spike that recovers over several checkpoints"
        ),
        pytest.param(
            [1.2, 1.2, 1.19, 2.4, 1.35, 1.2, 1.2, 1.18], id="a spike of which the next checkpoint shows a part"
        ),
        pytest.param([1.2, 1.2, 1.19, 1.4, 1.8, 2.4, 2.9, 3.5], id="a divergence"),
        pytest.param([1.2, 1.1, 1.05, 1.0, 0.98, 0.96, 0.7], id="a last decay of the learning rate"),
        pytest.param([0.7, 0.85, 0.9, 0.84, 0.8, 0.76, 0.74], id="training that goes on from a trained model"),
        pytest.param([0.7, 1.4, 1.9, 2.1, 2.2, 2.2], id="tuning that forgets the text"),
    ],
)
def test_a_course_that_training_takes_raises_no_alarm(course: list[float]) -> None:
    assert not misfits(course)


@pytest.mark.parametrize("place", range(6, len(STEEP)))
def test_the_loss_of_no_training_is_found_wherever_something_was_learned(place: int) -> None:
    assert misfits([*STEEP[:place], 2.7, *STEEP[place + 1 :]]) == [place]


@pytest.mark.parametrize("place", range(4))
def test_the_loss_of_the_last_is_found_wherever_little_was_learned(place: int) -> None:
    assert misfits([*STEEP[:place], 0.9, *STEEP[place + 1 :]]) == [place]


def test_a_first_that_is_untrained_far_into_training_is_found() -> None:
    losses = [2.7, 1.1, 1.05, 1.0, 0.97, 0.95]
    assert misfits(losses, steps=[1000, 2000, 3000, 4000, 5000, 6000]) == [0]
    assert not misfits(losses, steps=[0, 1000, 2000, 3000, 4000, 5000])
    assert not misfits(losses, steps=[100, 1000, 2000, 3000, 4000, 5000])
    assert not misfits([1.7, *losses[1:]], steps=[1000, 2000, 3000, 4000, 5000, 6000])


def test_a_spike_that_one_checkpoint_alone_shows_cannot_be_told_from_damage() -> None:
    assert misfits([1.2, 1.2, 1.19, 2.4, 1.19, 1.2, 1.18]) == [3]
    assert misfits([1.2, 1.2, 1.19, 1.2, 1.19, 1.2, 2.4]) == [6]


def test_two_that_are_wrong_together_are_taken_for_a_spike() -> None:
    assert not misfits([1.2, 1.2, 1.19, 2.7, 2.6, 1.19, 1.2, 1.18])


def test_a_course_that_is_noisy_needs_more() -> None:
    quiet, noisy = [1.0] * 9, [1.0, 1.1] * 4 + [1.0]
    quiet[4] = noisy[4] = 1.25
    assert misfits(quiet) == [4]
    assert not misfits(noisy)


def test_a_right_end_beside_a_wrong_neighbour_is_right() -> None:
    assert misfits([2.7, 3.9, 2.6, 2.3, 1.9, 1.5]) == [1]
    assert misfits([1.5, 1.3, 1.2, 1.15, 0.2, 1.1]) == [4]


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_is_an_alarm_of_its_own(value: float) -> None:
    assert misfits([1.0, value]) == [1]
    assert misfits([1.0, 1.0, value, 1.0, 3.0, 1.0, 1.0]) == [2, 4]


def test_what_is_unknown_is_passed_over() -> None:
    assert misfits([1.2, None, 1.2, 1.2, 2.6, None, 1.2, 1.2]) == [4]
    assert not misfits([1.2, 1.2, 1.2, 1.2, 1.2, 2.6], steps=[0, 1, 2, 3, 4, None])
    assert not misfits([None] * 9)


def test_fewer_than_five_losses_are_not_judged() -> None:
    assert not misfits([1.0] * (FEWEST - 2) + [3.0])
    assert misfits([1.0] * (FEWEST - 1) + [3.0]) == [FEWEST - 1]


def test_the_size_of_the_unit_does_not_matter() -> None:
    for losses in (STEEP, [*STEEP[:8], 2.7, *STEEP[9:]]):
        scaled = [TextLoss(loss=7 * loss, uniform=7 * UNIFORM) for loss in losses]
        assert sorted(loss_misfits(scaled, progress=range(len(losses)))) == misfits(losses)


def test_a_perfect_prediction_breaks_nothing() -> None:
    assert not misfits([1.0, 0.5, 0.0, 0.0, 0.0, 0.0])


def real(name: str, wrong: str = "", place: int = -1) -> list[TextLoss]:
    series = GOLDEN[name]
    losses = [series["wrong"][wrong][i] if i == place else loss for i, loss in enumerate(series["right"])]
    return [TextLoss(loss=loss, uniform=series["uniform"]) for loss in losses]


@pytest.mark.parametrize("name", GOLDEN)
def test_real_trainings_raise_no_alarm_however_few_checkpoints_are_taken(name: str) -> None:
    """AdamW with warm-up and decay, from a steep start and far too hot, SGD with momentum; words, bytes; two seeds."""
    losses, steps = real(name), GOLDEN[name]["steps"]
    for every in (1, 2, 3, 5):
        for first in range(every):
            assert not loss_misfits(losses[first::every], progress=steps[first::every])


def test_damage_that_shows_in_the_loss_is_found_in_real_trainings() -> None:
    """At least half as much again as the right loss: all but six, which lie where the loss falls fastest."""
    found = []
    for name, series in GOLDEN.items():
        for how, losses in series["wrong"].items():
            for place, loss in enumerate(losses):
                if loss > 1.5 * series["right"][place]:
                    found.append(place in loss_misfits(real(name, how, place), progress=series["steps"]))
    assert (sum(found), len(found)) == (196, 202)


NOISE: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "a walk of small steps": lambda draws, n: draws.normal(0, 0.02, n).cumsum(),
    "a walk of large steps": lambda draws, n: draws.normal(0, 0.1, n).cumsum(),
    "little noise": lambda draws, n: falling(n) + draws.normal(0, 0.01, n),
    "much noise": lambda draws, n: falling(n) + draws.normal(0, 0.05, n),
    "heavy tails": lambda draws, n: falling(n) + 0.02 * draws.standard_t(3, n),
    "much noise with heavy tails": lambda draws, n: falling(n) + 0.05 * draws.standard_t(3, n),
    "noise that ceases": lambda draws, n: (
        falling(n) + np.where(np.arange(n) < 0.3 * n, 0.05, 0.003) * draws.standard_t(3, n)
    ),
}


def falling(n: int) -> np.ndarray:
    return np.log(1 + 1.7 * np.exp(-12 * np.arange(n) / n))


@pytest.mark.parametrize("how", NOISE)
def test_a_long_course_that_is_noisy_raises_no_alarm(how: str) -> None:
    """What a bound that does not grow with the series makes of it: an alarm in more than half of the series of 360 checkpoints."""
    draws = np.random.default_rng(0)
    alarmed = sum(bool(misfits(np.exp(NOISE[how](draws, 360)).tolist())) for _ in range(20))
    assert alarmed <= 1


def test_no_training_is_found_in_a_long_course_with_noise() -> None:
    losses = np.exp(falling(360) + np.random.default_rng(0).normal(0, 0.005, 360)).tolist()
    for place in (60, 200, 359):
        assert misfits([*losses[:place], 2.7, *losses[place + 1 :]]) == [place]
