import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.runs.beating import NOBODY, beat
from trustrace.core.errors import RunError
from trustrace.runs.beats import (
    LIVE,
    MISSED,
    SILENT,
    Listener,
    on_checkpoints,
    pulse,
    read_beat,
    read_beats,
    remove_beat,
    remove_dead,
    write_beat,
)

LATER = 3600.0


def test_what_processes_say_is_read_by_another_in_the_order_of_their_shares(tmp_path: Path) -> None:
    for worker in ("10-of-10", "2-of-10", "alone"):
        assert write_beat(tmp_path, beat(worker))
    assert [one["worker"] for one in read_beats(tmp_path)] == ["alone", "2-of-10", "10-of-10"]
    assert read_beats(tmp_path)[1] == beat("2-of-10", written=read_beats(tmp_path)[1]["written"])
    assert {path.name for path in (tmp_path / LIVE).iterdir()} == {"alone.json", "2-of-10.json", "10-of-10.json"}


def test_where_nothing_can_be_written_the_beat_is_skipped(tmp_path: Path) -> None:
    (tmp_path / LIVE).write_text("a file where the folder would be")
    assert not write_beat(tmp_path, beat())
    remove_beat(tmp_path, "alone")


def test_the_last_to_end_leaves_no_folder(tmp_path: Path) -> None:
    write_beat(tmp_path, beat("1-of-2"))
    write_beat(tmp_path, beat("2-of-2"))
    remove_beat(tmp_path, "1-of-2")
    assert [one["worker"] for one in read_beats(tmp_path)] == ["2-of-2"]
    remove_beat(tmp_path, "2-of-2")
    assert list(tmp_path.iterdir()) == []
    assert read_beats(tmp_path) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"worker": "../alone"},
        {"pid": 0},
        {"pid": -1},
        {"pid": 2**40},
        {"pid": True},
        {"written": -1.0},
        {"written": 1e300},
        {"stage": "mining"},
        {"checkpoint": "x" * 5000},
        {"rate": "fast"},
        {"total": 10**30},
        {"spent": {"mining": 1.0}},
        {"download": {"checkpoint": "x"}},
    ],
    ids=str,
)
def test_what_is_no_beat_is_refused_by_name_with_the_way_out(changes: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / LIVE).mkdir()
    (tmp_path / LIVE / "alone.json").write_text(json.dumps(beat() | changes))
    with pytest.raises(RunError, match=r"live/alone\.json.*remove it"):
        read_beat(tmp_path / LIVE / "alone.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"worker": NaN}', b"[" * 2000])
def test_bytes_that_are_no_beat_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / LIVE).mkdir()
    (tmp_path / LIVE / "alone.json").write_bytes(content)
    with pytest.raises(RunError, match="remove it"):
        read_beat(tmp_path / LIVE / "alone.json")


def test_a_number_that_is_none_is_no_rate(tmp_path: Path) -> None:
    (tmp_path / LIVE).mkdir()
    (tmp_path / LIVE / "alone.json").write_text(json.dumps(beat(rate=float("nan"))))
    with pytest.raises(RunError, match="rate"):
        read_beat(tmp_path / LIVE / "alone.json")


def test_one_file_that_is_no_beat_hides_no_other_and_is_named(tmp_path: Path) -> None:
    write_beat(tmp_path, beat("1-of-2"))
    (tmp_path / LIVE / "2-of-2.json").write_text("half a be")
    heard = Listener(tmp_path).listen()
    assert [one["worker"] for one in heard.beats] == ["1-of-2"] == [one["worker"] for one in read_beats(tmp_path)]
    (said,) = heard.unreadable
    assert "live/2-of-2.json" in said
    assert "remove it" in said


@pytest.mark.parametrize("wrong_by", [-LATER, -SILENT - 1, 0.0, LATER], ids=str)
def test_who_listens_goes_by_its_own_clock_however_wrong_that_of_another_machine_is(
    wrong_by: float, tmp_path: Path
) -> None:
    now = [0.0]
    listener = Listener(tmp_path, clock=lambda: now[0])

    def state(*, says: bool) -> str:
        if says:
            write_beat(tmp_path, beat("far", host="elsewhere", written=time.time() + now[0] + wrong_by))
        return pulse(listener.listen().beats[0])

    state(says=True)
    for now[0] in (1.0, 2.0, 30.0):
        assert state(says=True) == "at work"
    now[0] = 30.0 + SILENT - 1
    assert state(says=False) == "at work"
    now[0] = 30.0 + SILENT + 1
    assert state(says=False) == "silent"


def test_what_was_there_at_the_first_look_is_at_least_as_old_as_that(tmp_path: Path) -> None:
    now = [0.0]
    write_beat(tmp_path, beat("dead", host="elsewhere", written=time.time() + LATER))
    write_beat(tmp_path, beat("long-dead", host="elsewhere", written=time.time() - LATER))
    listener = Listener(tmp_path, clock=lambda: now[0])
    assert [pulse(one) for one in listener.listen().beats] == ["at work", "silent"]
    now[0] = SILENT + 1
    assert [pulse(one) for one in listener.listen().beats] == ["silent", "silent"]


def test_only_a_process_that_is_not_there_is_gone_and_only_after_a_while() -> None:
    now = time.time()
    assert pulse(beat(written=now), now=now) == "at work"
    assert pulse(beat(written=now, pid=NOBODY), now=now) == "at work"
    assert pulse(beat(written=now, pid=NOBODY), now=now + MISSED + 1) == "gone"
    assert pulse(beat(written=now), now=now + MISSED + 1) == "at work"
    assert pulse(beat(written=now), now=now + SILENT + 1) == "silent"


def test_a_clock_that_was_set_back_hides_no_death() -> None:
    now = time.time()
    assert pulse(beat(written=now + LATER, pid=NOBODY), now=now) == "gone"
    assert pulse(beat(written=now + LATER), now=now) == "silent"


def test_of_another_machine_only_the_age_is_known_and_its_clock_may_go_before() -> None:
    now = time.time()
    assert pulse(beat(host="elsewhere", pid=NOBODY, written=now), now=now + MISSED + 1) == "at work"
    assert pulse(beat(host="elsewhere", pid=os.getpid(), written=now), now=now + SILENT + 1) == "silent"
    assert pulse(beat(host="elsewhere", written=now + LATER), now=now) == "at work"


def test_who_begins_removes_what_the_dead_said_and_what_cannot_be_read(tmp_path: Path) -> None:
    write_beat(tmp_path, beat("1-of-3"))
    write_beat(tmp_path, beat("2-of-3", pid=NOBODY, written=time.time() - LATER))
    (tmp_path / LIVE / "3-of-3.json").write_text("no beat")
    (tmp_path / LIVE / ".2-of-3.json").write_text("half a be")
    remove_dead(tmp_path)
    assert [path.name for path in (tmp_path / LIVE).iterdir()] == ["1-of-3.json"]


def test_what_comes_once_is_no_time_of_the_checkpoints() -> None:
    assert on_checkpoints(beat()) == 100.0
