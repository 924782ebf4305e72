import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.runs.beating import NOBODY, beat
from trustrace.runs.beats import write_beat
from trustrace.runs.identity import Unit
from trustrace.runs.ledger import Ledger
from trustrace.studies.status import Following, read_status

UNITS = [Unit(step="trace", name=f"m@step{step}/{data}", inputs={}) for step in range(5) for data in ("a", "b")]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Ten units, of which four are finished, two failed and four were not begun."""
    with Ledger.open(tmp_path / "run", study={"name": "ten units"}) as ledger:
        ledger.write("plan.json", [{"unit": unit.folder, "name": unit.name} for unit in UNITS])
        for unit in UNITS[:4]:
            ledger.finish(unit, [], seconds=10.0 if unit.name.endswith("a") else 30.0)
        for unit in UNITS[4:6]:
            ledger.fail(unit, ValueError("no"))
    return tmp_path / "run"


def test_time_left_is_told_by_the_pace_of_all_who_are_at_work(run: Path) -> None:
    spent = {"floors": 1000.0, "loading": 20.0, "measuring": 80.0}
    write_beat(run, beat("1-of-2", here=10, spent=spent))
    write_beat(run, beat("2-of-2", here=5, spent=spent))
    # Fifteen units in a hundred seconds, and four that are open and have not failed.
    state = read_status(run)
    assert state.seconds_left == pytest.approx(4 / 0.15)
    assert state.left.basis == "4 units at the pace of the 15 that 2 workers finished"
    assert [one["worker"] for one in state.at_work] == ["1-of-2", "2-of-2"]


def fail_before_the_start(run: Path) -> None:
    """Make the failures those of an earlier start."""
    for path in (run / "failures").glob("*.json"):
        os.utime(path, (1, 1))


def test_where_nobody_has_finished_anything_yet_the_records_tell_the_time_left(run: Path) -> None:
    # Two of dataset a and two of b are open and have not failed now: the mean of an open unit is 20 s.
    write_beat(run, beat(here=0))
    state = read_status(run)
    assert state.seconds_left == pytest.approx(4 * 20.0)
    assert "without loading and downloads" in state.left.basis


def test_an_overseer_whose_workers_say_nothing_here_hides_no_time_left(run: Path) -> None:
    write_beat(run, beat("0-of-ray", stage="overseeing", here=0, units=10, finished=4, spent={"overseeing": 900.0}))
    assert read_status(run).seconds_left == pytest.approx(4 * 20.0)
    write_beat(run, beat("1-of-ray", here=10, units=0, finished=10, spent={"measuring": 100.0}))
    assert read_status(run).seconds_left == pytest.approx(4 / 0.1)


def test_time_left_is_unknown_where_nothing_was_ever_finished(run: Path) -> None:
    shutil.rmtree(run / "units")
    write_beat(run, beat(here=0))
    assert read_status(run).seconds_left is None


def test_what_failed_at_an_earlier_start_is_still_to_do(run: Path) -> None:
    fail_before_the_start(run)
    write_beat(run, beat(here=10, units=10, finished=4, spent={"measuring": 100.0}))
    assert read_status(run).seconds_left == pytest.approx(6 / 0.1)
    # One of them fails again.
    write_beat(run, beat(here=10, units=10, finished=4, failed=1, spent={"measuring": 100.0}))
    assert read_status(run).seconds_left == pytest.approx(5 / 0.1)


@pytest.mark.parametrize("others", [(), ("1-of-ray",)])
def test_units_that_are_left_alone_while_failed_ones_are_tried_again_take_no_time(
    run: Path, others: tuple[str, ...]
) -> None:
    fail_before_the_start(run)
    stage = "overseeing" if others else "measuring"
    write_beat(run, beat("first", stage=stage, here=10, units=2, finished=0, spent={"measuring": 100.0}))
    for other in others:
        write_beat(run, beat(other, stage="starting", here=0, units=0, finished=0, spent={}))
    assert read_status(run).seconds_left == pytest.approx(2 / 0.1)


def test_where_units_are_open_that_nobody_at_work_will_do_the_time_left_is_unknown_and_not_none(run: Path) -> None:
    write_beat(run, beat(here=10, units=2, finished=0))
    state = read_status(run)
    assert (state.seconds_left, state.left.basis) == (
        None,
        "6 units are open, and those at work are to do none of them",
    )


def test_the_dead_are_named_and_have_no_pace(run: Path) -> None:
    write_beat(run, beat(pid=NOBODY, written=1.0))
    state = read_status(run)
    assert [one["worker"] for one in state.workers] == ["alone"]
    assert state.at_work == ()
    assert state.seconds_left == 3 * 10.0 + 3 * 30.0
    assert "without loading and downloads" in state.left.basis


def test_a_run_that_is_asked_again_and_again_tells_what_is_new(run: Path) -> None:
    following = Following(run)
    first = following.status()
    assert (first.finished, first.total, len(first.failures)) == (4, 10, 2)
    with Ledger.open(run, study={"name": "ten units"}) as ledger:
        for unit in UNITS[4:]:
            ledger.finish(unit, [], seconds=1.0)
    last = following.status()
    assert (last.finished, last.failures, last.seconds_left) == (10, (), 0.0)


def test_what_has_not_changed_is_not_read_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    following = Following(run)
    following.status()
    read: list[Path] = []

    def reading(path: Path, *_: Any, **__: Any) -> Any:
        read.append(path)
        return json.loads(path.read_text())

    monkeypatch.setattr("trustrace.studies.status.read_document", reading)
    following.status()
    assert read == []
    os.utime(run / "plan.json", ns=(1, 1))
    following.status()
    assert read == [run / "plan.json"]


def test_a_beat_that_is_none_is_named_and_hides_nothing(run: Path) -> None:
    write_beat(run, beat("1-of-2"))
    (run / "live" / "2-of-2.json").write_text("{}")
    state = read_status(run)
    assert [one["worker"] for one in state.workers] == ["1-of-2"]
    (said,) = state.unreadable
    assert re.search(r"live/2-of-2\.json.*remove it", said)
    assert (state.finished, state.total) == (4, 10)
