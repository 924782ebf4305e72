import contextlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.runs.test_ledger import STUDY
from trustrace.core.errors import RunError
from trustrace.runs.claiming import claimed
from trustrace.runs.files import publishing, replacing, scratch_of


def refused(folder: Path, why: str, *, share: str = "", study: Mapping[str, Any] = STUDY) -> None:
    with pytest.raises(RunError, match=why), claimed(folder, study, share=share):
        pass


def test_shares_of_one_division_work_beside_each_other_and_none_of_them_twice(tmp_path: Path) -> None:
    with claimed(tmp_path, STUDY, share="1-of-2"), claimed(tmp_path, STUDY, share="2-of-2"):
        refused(tmp_path, "works in this run as shard 2/2", share="2-of-2")
    with claimed(tmp_path, STUDY, share="2-of-2"):
        pass


def test_a_whole_run_beside_shards_is_refused_and_so_are_shards_beside_a_whole_run(tmp_path: Path) -> None:
    with claimed(tmp_path, STUDY, share="3-of-8"), claimed(tmp_path, STUDY, share="5-of-8"):
        refused(tmp_path, r"shards \(3/8, 5/8\) work in this run")
    with claimed(tmp_path, STUDY):
        refused(tmp_path, "another process works", share="3-of-8")
    with claimed(tmp_path, STUDY):
        pass


def test_two_divisions_at_once_would_share_units_and_are_refused(tmp_path: Path) -> None:
    with claimed(tmp_path, STUDY, share="1-of-2"):
        refused(tmp_path, "among 2 shards", share="2-of-3")
    with claimed(tmp_path, STUDY, share="2-of-3"):
        pass


def test_a_refused_claim_holds_nothing(tmp_path: Path) -> None:
    with claimed(tmp_path, STUDY):
        refused(tmp_path, "another process")
    refused(tmp_path, "another study", study=STUDY | {"seed": 1})
    with claimed(tmp_path, STUDY):
        pass


def test_of_many_that_start_at_once_with_two_studies_one_study_has_the_folder(tmp_path: Path) -> None:
    def attempt(number: int) -> int | None:
        with (
            contextlib.suppress(RunError),
            claimed(tmp_path / "run", STUDY | {"seed": number % 2}, share=f"{number + 1}-of-12"),
        ):
            return number % 2
        return None

    with ThreadPoolExecutor(12) as pool:
        winners = [seed for seed in pool.map(attempt, range(12)) if seed is not None]
    assert len(set(winners)) == 1
    assert len(winners) == 6
    assert json.loads((tmp_path / "run" / "study.json").read_text())["seed"] == winners[0]


def left_by(owner: str, folder: Path) -> Path:
    """What a process that was killed while it wrote leaves behind."""
    left = folder / "units" / f"{scratch_of(owner)}abc_1234"
    left.mkdir(parents=True)
    (left / "half").write_text("a")
    return left


def test_a_starting_shard_removes_what_the_dead_left_and_touches_nothing_of_the_living(tmp_path: Path) -> None:
    with claimed(tmp_path, STUDY, share="1-of-3"):
        living = left_by("1-of-3", tmp_path)
        dead, own, whole = left_by("3-of-3", tmp_path), left_by("2-of-3", tmp_path), left_by("", tmp_path)
        longer = left_by("11-of-3", tmp_path)
        with claimed(tmp_path, STUDY, share="2-of-3"):
            assert (living / "half").read_text() == "a"
            assert not [one for one in (dead, own, whole, longer) if one.exists()]
    with claimed(tmp_path, STUDY):
        assert not living.exists()


def test_a_finished_unit_is_never_swept(tmp_path: Path) -> None:
    with claimed(tmp_path, STUDY), publishing(tmp_path / "units" / "unit") as scratch:
        (scratch / "record.json").write_text("{}")
    with claimed(tmp_path, STUDY):
        assert (tmp_path / "units" / "unit" / "record.json").is_file()


def test_scratch_bears_the_name_of_its_owner(tmp_path: Path) -> None:
    with replacing(tmp_path / "file", owner="1-of-3") as scratch:
        assert scratch.parent.name.startswith(".scratch-1-of-3-")
        scratch.write_text("all")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
