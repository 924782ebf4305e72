"""Coarse first: a run that is stopped at any moment has seen all of training."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.checkpoints import Checkpoint
from trustrace.models import families
from trustrace.models.ordering import coarse_first


def made(tokens: list[int]) -> tuple[Checkpoint, ...]:
    return tuple(
        Checkpoint(family="f", model="m", revision=f"r{i}", tokens_seen=value) for i, value in enumerate(tokens)
    )


def radius(chosen: tuple[float, ...], marks: list[float]) -> float:
    """The largest distance of a checkpoint to the nearest that is measured."""
    return max(min(abs(mark - one) for one in chosen) for mark in marks)


def best_radius(marks: list[float], k: int) -> float:
    """The second author: every choice of k is tried."""
    return min(radius(chosen, marks) for chosen in itertools.combinations(marks, k))


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=9))
def test_every_prefix_is_within_twice_the_best_choice_of_as_many(tokens: list[int]) -> None:
    series = made(tokens)
    order = coarse_first(series)
    assert sorted(one.revision for one in order) == sorted(one.revision for one in series)
    marks = [math.log1p(value) for value in tokens]
    seen = [math.log1p(one.tokens_seen or 0) for one in order]
    for k in range(1, len(order) + 1):
        assert radius(tuple(seen[:k]), marks) <= 2 * best_radius(marks, k) + 1e-9


@pytest.mark.parametrize("order", [tuple, lambda series: tuple(reversed(series))], ids=["forwards", "backwards"])
def test_the_series_own_order_is_not(order: object) -> None:
    """The control: whoever starts at one end has not seen the other."""
    series = order(made([10**i for i in range(9)]))  # type: ignore[operator]
    marks = [math.log1p(one.tokens_seen or 0) for one in series]
    assert radius(tuple(marks[:3]), marks) > 2 * best_radius(marks, 3)


def test_pythia_begins_with_its_ends_and_the_middle_of_its_logarithm() -> None:
    pythia = families.of("EleutherAI/pythia-70m")
    series = [
        Checkpoint(family="pythia", model="p", revision=name, step=place[0], tokens_seen=place[1])
        for name in pythia.expected
        if (place := pythia.place(name))
    ]
    order = [one.revision for one in coarse_first(series)]
    # Between nothing and the first step, two million tokens, lies half of the logarithm.
    assert order[:4] == ["step143000", "step0", "step1", "step512"]
    assert len(set(order)) == len(series) == 154


def test_order_does_not_depend_on_how_the_series_was_listed() -> None:
    series = made([0, 5, 5, 80, 81, 4000, 10**6])
    assert coarse_first(series) == coarse_first(series[::-1])


def test_a_series_without_tokens_or_steps_goes_by_its_places() -> None:
    series = tuple(Checkpoint(family="f", model="m", revision=name) for name in "abcde")
    assert [one.revision for one in coarse_first(series)] == ["e", "a", "c", "b", "d"]


def test_nothing_has_no_order() -> None:
    assert coarse_first(()) == ()
