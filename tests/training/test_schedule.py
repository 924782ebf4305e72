import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_cosine_with_min_lr_schedule_with_warmup

from trustrace.training.config import Optimizer, Saves
from trustrace.training.schedule import learning_rate, save_steps

saves = st.builds(Saves, dense=st.integers(0, 40), dense_until=st.integers(1, 3000), every=st.integers(1, 500))


def test_the_schedule_of_the_pythia_suite_is_reproduced() -> None:
    # Biderman et al. (2023), section 2.1: step 0, powers of two to 512, then every 1000 steps to 143,000; 154 checkpoints.
    published = (0, *(2**i for i in range(10)), *range(1000, 143_001, 1000))
    assert save_steps(143_000, Saves(dense=10, dense_until=512, every=1000)) == published
    assert len(published) == 154


@given(total=st.integers(1, 5000), saves=saves)
def test_saves_rise_from_the_start_to_the_end_of_a_run(total: int, saves: Saves) -> None:
    steps = save_steps(total, saves)
    assert steps[0] == 0
    assert steps[-1] == total
    assert all(a < b for a, b in pairwise(steps))
    assert len(steps) <= 2 + saves.dense + total // saves.every


@given(total=st.integers(1, 5000), saves=saves)
def test_late_saves_are_the_multiples_of_every(total: int, saves: Saves) -> None:
    late = [step for step in save_steps(total, saves) if saves.dense_until < step < total]
    assert late == [step for step in range(saves.dense_until + 1, total) if step % saves.every == 0]


@given(saves=st.builds(Saves, dense=st.integers(2, 40), dense_until=st.integers(2, 3000), every=st.just(10_000)))
def test_early_saves_are_evenly_spaced_in_the_logarithm_up_to_rounding(saves: Saves) -> None:
    early = save_steps(saves.dense_until, saves)[1:]
    ratio = saves.dense_until ** (1 / (saves.dense - 1))
    assert early[0] == 1
    for a, b in pairwise(early):
        assert b <= (a + 0.5) * ratio + 0.5
        assert b - a == 1 or b >= (a - 0.5) * ratio - 0.5


@pytest.mark.parametrize(("warmup", "floor"), [(0, 0.0), (7, 1e-4), (1, 3e-4), (60, 2e-4)])
def test_the_learning_rate_is_that_of_transformers(warmup: int, floor: float) -> None:
    total, recipe = 60, Optimizer(learning_rate=1e-3, floor=floor, warmup_steps=warmup)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
    theirs = get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup, total, min_lr=floor)
    for update in range(1, total + 1):
        optimizer.step()
        theirs.step()
        expected = theirs.get_last_lr()[0]
        if update == total == warmup:
            expected = recipe.learning_rate
        assert math.isclose(learning_rate(update, total=total, optimizer=recipe), expected, rel_tol=1e-9, abs_tol=1e-15)


def test_the_peak_is_reached_at_the_end_of_the_warm_up_and_the_floor_at_the_end() -> None:
    recipe = Optimizer(learning_rate=3e-4, floor=3e-5, warmup_steps=2000)
    assert learning_rate(1, total=9000, optimizer=recipe) == pytest.approx(3e-4 / 2000)
    assert learning_rate(2000, total=9000, optimizer=recipe) == pytest.approx(3e-4)
    assert learning_rate(5500, total=9000, optimizer=recipe) == pytest.approx((3e-4 + 3e-5) / 2)
    assert learning_rate(9000, total=9000, optimizer=recipe) == pytest.approx(3e-5)
