"""Processes that are killed without a word: what they finished stays, and is not done again."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.processes import KILLED, done, ended, leftovers, start, table, units, wait_for

KILLS = 5


@pytest.mark.parametrize("seed", range(2))
def test_a_trace_that_is_killed_again_and_again_ends_with_the_same_table_and_each_unit_once(
    study: dict[str, Any], undisturbed: Path, tmp_path: Path, seed: int
) -> None:
    run, moments = tmp_path / "run", random.Random(seed)
    kept: dict[str, int] = {}
    for _ in range(KILLS):
        process = start(study, run)
        # The killing falls into the making of a unit, or between two, wherever that is.
        target = len(kept) + moments.randrange(3)
        wait_for(lambda wanted=target: run.is_dir() and len(units(run)) >= wanted, process)  # type: ignore[misc]
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        assert ended(process) in (KILLED, 0)
        assert kept.items() <= units(run).items()
        kept = units(run)
    assert done(study, run) == 0
    assert kept.items() <= units(run).items()
    assert units(run).keys() == units(undisturbed).keys()
    assert table(run) == table(undisturbed)
    assert leftovers(run) == []


def test_a_shard_that_is_killed_stops_no_other_and_goes_on_where_it_was(
    study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    victim, survivor = start(study, run, shard="1/2"), start(study, run, shard="2/2")
    wait_for(lambda: any(name.startswith("trace") for name in units(run)), victim)
    victim.kill()
    assert ended(victim) == KILLED
    assert ended(survivor) == 0
    before = units(run)
    assert len(before) < len(units(undisturbed))
    assert done(study, run, shard="1/2") == 0
    assert before.items() <= units(run).items()
    assert units(run).keys() == units(undisturbed).keys()
    assert table(run) == table(undisturbed)
    assert leftovers(run) == []
