"""Selection: all, a list, a glob, every n-th, log-spaced."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ConfigError
from trustrace.models import families
from trustrace.models.selection import Selection, select


def made(*tokens: int | None, steps: bool = False) -> tuple[Checkpoint, ...]:
    return tuple(
        Checkpoint(
            family="f", model="m", revision=f"r{i}", step=value if steps else None, tokens_seen=None if steps else value
        )
        for i, value in enumerate(tokens)
    )


PYTHIA = families.of("EleutherAI/pythia-70m")
SERIES = tuple(
    Checkpoint(family="pythia", model="p", revision=revision, step=place[0], tokens_seen=place[1])
    for revision in PYTHIA.expected
    if (place := PYTHIA.place(revision))
)


def revisions(how: Selection) -> list[str]:
    return [one.revision for one in select(SERIES, how)]


def test_all_is_all_in_order_of_training() -> None:
    assert select(SERIES[::-1], "all") == SERIES


def test_a_list_is_taken_in_order_of_training() -> None:
    assert revisions(["step1000", "step2", "step2"]) == ["step2", "step1000"]


def test_a_glob_and_a_name_are_matched_to_revisions() -> None:
    assert revisions("step[12]") == ["step1", "step2"]
    assert revisions("step143000") == ["step143000"]
    assert len(revisions("step*000")) == 143


def test_every_nth_keeps_the_last() -> None:
    assert revisions({"every": 50}) == ["step4", "step43000", "step93000", "step143000"]
    assert revisions({"every": 1}) == [one.revision for one in SERIES]


def test_log_spaced_is_dense_early_and_has_both_ends() -> None:
    chosen = revisions({"log_spaced": 10})
    assert (chosen[0], chosen[-1]) == ("step0", "step143000")
    steps = [int(name[4:]) for name in chosen]
    ratios = [later / earlier for earlier, later in itertools.pairwise(steps[1:])]
    assert max(ratios) < 4 * min(ratios)


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=60, unique=True), st.integers(1, 20))
def test_log_spaced_takes_at_most_n_each_once_with_both_ends(tokens: list[int], n: int) -> None:
    chosen = select(made(*tokens), {"log_spaced": n})
    seen = [one.tokens_seen for one in chosen]
    assert 1 <= len(chosen) <= max(n, 1)
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)
    assert seen[-1] == max(tokens)
    assert n == 1 or len(tokens) == 1 or seen[0] == min(tokens)


def test_log_spaced_goes_by_steps_where_tokens_are_unknown() -> None:
    chosen = select(made(0, 1, 10, 100, 1000, 900, steps=True), {"log_spaced": 4})
    assert [one.step for one in chosen] == [0, 10, 100, 1000]


def test_main_of_unknown_place_counts_as_the_end() -> None:
    series = (*made(1, 10, 100, 1000), Checkpoint(family="f", model="m", revision="main"))
    assert [one.revision for one in select(series, {"log_spaced": 3})] == ["r0", "r2", "main"]


def test_log_spaced_without_steps_is_refused() -> None:
    series = tuple(Checkpoint(family="f", model="m", revision=name) for name in "abc")
    with pytest.raises(ConfigError, match="log_spaced needs the tokens or the step of every checkpoint, which 3 lack"):
        select(series, {"log_spaced": 2})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("step14300", "no checkpoint 'step14300' among 154; near it: 'step143000'"),
        (["step1", "stepp2"], "no checkpoint 'stepp2'"),
        ([], "no checkpoint '\\(an empty list\\)'"),
        ({"every": 0}, "cannot select checkpoints by {'every': 0}"),
        ({"evry": 3}, "use {'every': n} or {'log_spaced': n}"),
        ({"every": 3, "log_spaced": 2}, "cannot select"),
        ("xyz*", "no checkpoint 'xyz\\*' among 154; the first: 'step0'"),
    ],
)
def test_what_cannot_be_selected_is_answered_with_what_can(how: Selection, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        select(SERIES, how)
