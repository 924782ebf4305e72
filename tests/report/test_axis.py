import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.checkpoints import Checkpoint
from trustrace.report.axis import amount, checkpoint_axis, label


def _at(tokens: int | None, step: int | None = None, revision: str = "r") -> Checkpoint:
    return Checkpoint(family="f", model="m", revision=revision, step=step, tokens_seen=tokens)


@given(st.lists(st.integers(0, 10**13), min_size=2, max_size=30, unique=True).map(sorted))
def test_checkpoints_stand_in_the_order_of_their_tokens(counts):
    positions = checkpoint_axis([_at(count) for count in counts]).positions
    assert list(positions) == sorted(positions)
    assert len(set(positions)) == len(counts)


@given(st.lists(st.integers(1, 10**13), min_size=1, max_size=30, unique=True).map(sorted))
def test_positive_counts_stand_at_their_logarithm_and_ticks_where_they_say(counts):
    axis = checkpoint_axis([_at(0), *(_at(count) for count in counts)])
    assert axis.positions[1:] == pytest.approx([math.log10(count) for count in counts])
    assert axis.ticks[0] == (axis.positions[0], "0")
    for place, name in axis.ticks[1:]:
        assert axis.positions[1] - 1e-6 <= place <= axis.positions[-1] + 1e-6
        assert _read(name) == pytest.approx(10**place, rel=0.01)


def _read(name: str) -> float:
    number, _, unit = name.partition("\u00a0")
    return float(number) * {"": 1, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[unit]


def test_zero_stands_left_of_a_break_and_never_inside_the_scale():
    axis = checkpoint_axis([_at(0), _at(1_000), _at(10_000_000)])
    assert axis.zero_break is not None
    assert axis.positions[0] < axis.zero_break < axis.positions[1]
    assert checkpoint_axis([_at(1_000), _at(2_000)]).zero_break is None


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (512, "512"),
        (1_000, "1.0 k"),
        (262_144, "262 k"),
        (1_048_576, "1.05 M"),
        (999_900, "1.0 M"),
        (1.26e12, "1.26 T"),
    ],
)
def test_counts_are_written_with_three_digits_and_a_unit(count, text):
    assert amount(count) == text.replace(" ", "\u00a0")


def test_steps_are_the_axis_where_tokens_are_unknown_and_order_where_both_are():
    assert checkpoint_axis([_at(None, 0), _at(None, 10)]).title == "Optimizer steps"
    plain = checkpoint_axis([_at(None, revision="early"), _at(5, revision="late")])
    assert (plain.title, plain.positions, [name for _, name in plain.ticks]) == (
        "Checkpoint",
        (0.0, 1.0),
        ["early", "late"],
    )


@pytest.mark.parametrize("checkpoint", [_at(0), _at(5_000_000), _at(None, 7), _at(None)])
def test_a_single_checkpoint_has_an_axis_with_room_around_it(checkpoint):
    axis = checkpoint_axis([checkpoint])
    low, high = axis.limits
    assert low < axis.positions[0] < high
    assert axis.ticks


def test_a_checkpoint_is_called_by_what_is_known_of_it():
    assert label(_at(1_000_000, 3)) == "1.0\u00a0M tokens"
    assert label(_at(None, 3)) == "step 3"
    assert label(_at(None, revision="main")) == "main"
