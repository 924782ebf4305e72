import threading
import time
from pathlib import Path
from typing import Any

import pytest

from trustrace.core.progress import Watch, count_unit, enter, silent
from trustrace.models.fetching import Fetching
from trustrace.models.shelf import HubFile, Shelf
from trustrace.runs.beats import LIVE, read_beats
from trustrace.studies.watched import CLOSEST, Watched, watching


class Hands:
    """A clock that stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def test_a_worker_tells_what_it_does_how_far_it_is_and_how_fast() -> None:
    clock = Hands()
    watched = Watched("3-of-8", clock=clock)
    enter(watched, "loading", checkpoint="m@step1")
    clock.pass_(4)
    enter(watched, "capturing", dataset="reliability/defined")
    clock.pass_(2)
    watched(300, 1200, "tokens")
    said = watched.beat()
    assert (said["worker"], said["stage"], said["checkpoint"], said["dataset"]) == (
        "3-of-8",
        "capturing",
        "m@step1",
        "reliability/defined",
    )
    assert (said["done"], said["total"], said["counted"], said["rate"], said["lasted"]) == (300, 1200, "tokens", 150, 2)
    assert said["spent"] == {"loading": 4, "capturing": 2}


def test_a_stage_begins_with_nothing_done_and_waiting_is_for_no_checkpoint() -> None:
    watched = Watched("alone", clock=Hands())
    watched.stage("capturing", checkpoint="m@step1", dataset="d")
    watched(300, 1200, "tokens")
    watched.stage("measuring", dataset="d")
    assert (watched.beat()["checkpoint"], watched.beat()["total"], watched.beat()["rate"]) == ("m@step1", 0, None)
    watched.stage("waiting", checkpoint="")
    assert (watched.beat()["checkpoint"], watched.beat()["dataset"]) == ("", "")


def test_a_stage_that_begins_while_a_beat_is_made_is_never_of_the_future_and_no_time_counts_twice() -> None:
    class Racing(Hands):
        """Between two things that a beat asks for, the worker enters a stage."""

        watched: Watched | None = None

        def __call__(self) -> float:
            now, watched = self.now, self.watched
            if watched is not None:
                self.watched = None
                self.pass_(2)
                watched.stage("measuring")
                self.pass_(1)
            return now

    clock = Racing()
    watched = Watched("alone", clock=clock)
    watched.stage("capturing", checkpoint="m@step1")
    clock.pass_(3)
    clock.watched = watched
    said = watched.beat()
    assert (said["stage"], said["lasted"], said["spent"]) == ("capturing", 3, {"capturing": 3})
    assert watched.beat()["spent"] == {"capturing": 5, "measuring": 1}


def tried(watched: Watched) -> Watched:
    """Seven units were finished before, one is finished that is no checkpoint's, and of three others one fails."""
    watched(7, 20, "units")
    watched.stage("floors", dataset="d")
    count_unit(watched, is_finished=True)
    watched.stage("measuring", checkpoint="m@step1")
    for is_finished in (True, False, True):
        count_unit(watched, is_finished=is_finished)
    watched(10, 20, "units")
    return watched


def test_units_that_no_checkpoint_was_needed_for_say_nothing_of_the_pace() -> None:
    said = tried(Watched("alone")).beat()
    assert (said["finished"], said["units"], said["here"], said["failed"]) == (10, 20, 2, 1)


def test_a_worker_that_takes_any_units_says_what_it_did_itself() -> None:
    said = tried(Watched("2-of-ray", takes_any=True)).beat()
    assert (said["finished"], said["units"], said["here"], said["failed"]) == (2, 0, 2, 1)


def test_what_is_counted_is_told_to_others_as_well_and_those_who_want_no_stages_are_spared() -> None:
    told: list[tuple[int, int, str]] = []
    watched = Watched("alone", progress=lambda done, total, what: told.append((done, total, what)))
    watched(1, 2, "units")
    watched(0, 9, "tokens")
    assert told == [(1, 2, "units"), (0, 9, "tokens")]
    assert isinstance(watched, Watch)
    enter(silent, "loading")
    count_unit(silent, is_finished=True)


class Streaming:
    """A stream as far as a watch looks at it."""

    held_bytes = 2000

    def __init__(self, fetching: Fetching) -> None:
        self.fetching: Fetching | None = fetching


def test_a_download_has_its_bytes_and_its_speed_of_the_last_moments(tmp_path: Path) -> None:
    clock, shelf = Hands(), Shelf(cache=tmp_path, repository="o/m")
    blob = shelf.blob("a" * 64)
    blob.parent.mkdir(parents=True)
    files = (HubFile(name="model.safetensors", size=1000, content=blob.name),)
    stream = Streaming(Fetching(checkpoint="o--m@step2", files=files, shelf=shelf))
    watched = Watched("alone", clock=clock)
    watched.follow(stream, budget=5000)
    blob.write_bytes(b"x" * 100)
    assert watched.beat()["download"] == {"checkpoint": "o--m@step2", "fetched": 100, "size": 1000, "rate": None}
    clock.pass_(2)
    blob.write_bytes(b"x" * 400)
    said = watched.beat()
    assert said["download"] == {"checkpoint": "o--m@step2", "fetched": 400, "size": 1000, "rate": 150}
    assert (said["held"], said["budget"]) == (2000, 5000)
    stream.fetching = None
    assert watched.beat()["download"] is None


def test_names_are_told_without_secrets_and_not_endlessly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdef")
    watched = Watched("alone")
    watched.stage("loading", checkpoint="https://me:pw@host/m@hf_0123456789abcdef", dataset="d" * 9000 + "\ud800")
    said = watched.beat()
    assert said["checkpoint"] == "https://[user]@host/m@[HF_TOKEN]"
    assert len(said["dataset"]) == 400


def test_a_beat_is_there_while_a_worker_works_and_goes_with_it_even_if_it_fails(tmp_path: Path) -> None:
    def seen() -> list[str]:
        return [f"{one['worker']} {one['stage']}" for one in read_beats(tmp_path)]

    def work() -> None:
        with watching(tmp_path, worker="1-of-2", every=0.01) as watched:
            watched.stage("measuring", checkpoint="m@step1")
            deadline = time.monotonic() + 20
            while seen() != ["1-of-2 measuring"]:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert list(tmp_path.iterdir()) == []
    assert not [one for one in threading.enumerate() if one.name == "trustrace-beats"]


def test_telling_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    monkeypatch.setattr("trustrace.studies.watched.write_beat", lambda run, beat: written.append(beat))
    began = time.monotonic()
    with watching(tmp_path) as watched:
        for done in range(5000):
            watched(done, 5000, "tokens")
            watched.stage("capturing", checkpoint="m@step1")
    assert len(written) <= 2 + (time.monotonic() - began) / CLOSEST


def test_a_run_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / LIVE).write_text("a file where the folder would be")
    with watching(tmp_path, every=0.01) as watched:
        watched.stage("loading")
        time.sleep(0.05)
    assert (tmp_path / LIVE).is_file()
