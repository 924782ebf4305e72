"""The rule of intervals, case by case."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.studies.paper.claims import above, by_count, within

ENDS = st.tuples(st.floats(-10, 10), st.floats(-10, 10)).map(sorted)


@pytest.mark.parametrize(
    ("lower", "upper", "verdict"),
    [
        (0.1, 0.2, "agrees"),
        (-0.2, -0.1, "disagrees"),
        (-0.1, 0.1, "cannot be told"),
        (0.0, 0.1, "cannot be told"),
        (-0.1, 0.0, "cannot be told"),
        (math.nan, math.nan, "cannot be told"),
    ],
)
def test_only_a_whole_interval_decides(lower: float, upper: float, verdict: str) -> None:
    assert above(lower, upper) == verdict


@given(ENDS, st.floats(-10, 10))
def test_the_contrary_claim_has_the_contrary_verdict(ends: list[float], bound: float) -> None:
    contrary = {"agrees": "disagrees", "disagrees": "agrees", "cannot be told": "cannot be told"}
    assert above(-ends[1], -ends[0], bound=-bound) == contrary[above(*ends, bound=bound)]


def test_between_two_bounds_a_whole_interval_must_lie() -> None:
    assert within(-0.1, 0.1, least=-0.2, most=0.2) == "agrees"
    assert within(0.1, 0.3, least=-0.2, most=0.2) == "cannot be told"
    assert within(0.3, 0.4, least=-0.2, most=0.2) == "disagrees"
    assert within(-0.4, -0.3, least=-0.2, most=0.2) == "disagrees"
    assert within(math.nan, math.nan, least=-0.2, most=0.2) == "cannot be told"


def test_over_blocks_one_to_the_contrary_keeps_a_claim_open() -> None:
    assert by_count(2, 0, of=4) == "agrees"
    assert by_count(1, 0, of=4) == "cannot be told"
    assert by_count(3, 1, of=4) == "cannot be told"
    assert by_count(0, 2, of=4) == "disagrees"
    assert by_count(0, 0, of=0) == "cannot be told"
