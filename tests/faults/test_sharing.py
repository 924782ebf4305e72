"""Several processes in one run folder: they share the work as they were told to, or the second one is told."""

import os
import signal
from pathlib import Path
from typing import Any

from tests.faults.processes import KILLED, ended, leftovers, start, table, told, units, wait_for

IN_A_WRONG_STATE = 3


def test_shards_that_work_at_the_same_time_leave_the_table_of_an_undivided_run(
    study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shards = [start(study, run, shard=f"{number}/3") for number in (1, 2, 3)]
    assert [ended(one) for one in shards] == [0, 0, 0]
    assert units(run).keys() == units(undisturbed).keys()
    assert table(run) == table(undisturbed)
    assert leftovers(run) == []


def test_the_second_of_two_runs_is_told_and_the_first_does_not_notice(
    study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = start(study, run)
    # The plan comes after the claim: a process that is stopped while it claims the folder is waited for.
    wait_for(lambda: (run / "plan.json").is_file(), first)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGSTOP)
    assert ended(start(study, run)) == IN_A_WRONG_STATE
    assert "another process works in this run" in told(run)
    assert ended(start(study, run, shard="1/2")) == IN_A_WRONG_STATE
    os.kill(first.pid, signal.SIGCONT)
    assert ended(first) == 0
    assert table(run) == table(undisturbed)


def test_two_runs_that_start_in_the_same_instant_are_one_run_and_one_refusal(
    study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    codes = sorted(ended(one) for one in [start(study, run), start(study, run)])
    # The later one may also come when the earlier one has ended, and then has nothing to do.
    assert codes in ([0, IN_A_WRONG_STATE], [0, 0])
    assert table(run) == table(undisturbed)


def test_a_killed_run_locks_nobody_out(study: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = start(study, run)
    wait_for(lambda: (run / "study.json").is_file(), first)
    first.kill()
    assert ended(first) == KILLED
    assert ended(start(study, run)) == 0
