"""The budget of a trace while training: never above its share, and spread over the whole schedule."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.errors import ConfigError
from trustrace.studies.live.allowance import Allowance
from trustrace.studies.live.config import EverySteps, GivenSteps, LogSpacedSteps, steps_of


def walk(*, share: float | None, cost: float, total: int, schedule: list[int]) -> tuple[list[int], Allowance]:
    """The steps that are measured in a training at one second a step whose measurements cost the same each time."""
    allowance, last, done = Allowance(share=share), 0, []
    for place, step in enumerate(schedule):
        allowance = allowance.having_trained(seconds=float(step - last), steps=step - last)
        last = step
        allowance, allowed = allowance.asked(total=total, waiting=len(schedule) - place)
        if allowed:
            allowance = allowance.having_measured(cost)
            done.append(step)
    return done, allowance


@given(
    share=st.floats(0.01, 0.5),
    cost=st.floats(0.01, 40),
    every=st.integers(1, 50),
    total=st.integers(60, 600),
)
def test_no_more_is_spent_than_the_share_once_the_first_price_is_known(
    share: float, cost: float, every: int, total: int
) -> None:
    _, allowance = walk(share=share, cost=cost, total=total, schedule=list(range(0, total + 1, every)))
    assert allowance.measured <= max(share * total, cost) * (1 + 1e-9)


def test_what_is_affordable_is_spread_evenly_and_the_last_step_is_among_it() -> None:
    schedule = list(range(0, 1001, 10))
    done, _ = walk(share=0.05, cost=5.0, total=1000, schedule=schedule)
    assert len(done) in (9, 10)
    assert done[0] == 0
    assert done[-1] == 1000
    gaps = [later - earlier for earlier, later in pairwise(done)]
    assert max(gaps) <= 2 * min(gaps)


def test_what_fits_or_has_no_budget_is_all_done() -> None:
    schedule = sorted(steps_of(LogSpacedSteps(log_spaced=12), total=1000))
    assert walk(share=0.05, cost=50 / 14, total=1000, schedule=schedule)[0] == schedule
    assert walk(share=None, cost=1e6, total=1000, schedule=schedule)[0] == schedule


def test_a_budget_below_one_measurement_allows_only_the_first_which_tells_the_price() -> None:
    assert walk(share=0.01, cost=30.0, total=1000, schedule=list(range(0, 1001, 100)))[0] == [0]


def test_schedules_are_what_they_say() -> None:
    assert sorted(steps_of(EverySteps(every=4), total=10)) == [0, 4, 8, 10]
    assert sorted(steps_of(GivenSteps(steps=(3, 99)), total=10)) == [3]
    spaced = sorted(steps_of(LogSpacedSteps(log_spaced=5), total=10_000))
    assert spaced == [0, 1, 10, 100, 1000, 10_000]
    assert len(steps_of(LogSpacedSteps(log_spaced=12), total=100_000)) == 13
    ratios = [math.log(later / earlier) for earlier, later in pairwise(spaced[1:])]
    assert ratios == pytest.approx([math.log(10)] * 4)


@pytest.mark.parametrize("schedule", [EverySteps(every=11), GivenSteps(steps=(11, 20))])
def test_a_schedule_without_a_step_inside_the_training_is_refused(schedule: EverySteps | GivenSteps) -> None:
    with pytest.raises(ConfigError, match="outside a training of 10 steps"):
        steps_of(schedule, total=10)
