"""A clock that is wrong or set back: nothing that decides what is done asks what time it is."""

import json
import os
from pathlib import Path
from typing import Any

from tests.faults.processes import done, ended, start, table, units, wait_for

HOUR = 3600.0


def test_a_clock_that_is_set_back_while_a_run_goes_on_changes_no_number_and_no_duration(
    study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    assert done(study, tmp_path / "run", clock=HOUR) == 0
    assert table(tmp_path / "run") == table(undisturbed)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["seconds"] >= 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "run" / "units").glob("*/record.json")]
    assert all(record["seconds"] > 0 for record in records)


def test_files_from_the_future_are_taken_as_they_are(study: dict[str, Any], undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(study, run)
    wait_for(lambda: (run / "units").is_dir() and len(units(run)) >= 4, process)
    process.kill()
    ended(process)
    for path in run.rglob("*"):
        os.utime(path, ns=(4 * 10**18, 4 * 10**18))
    kept = units(run)
    assert done(study, run) == 0
    assert kept.items() <= units(run).items()
    assert table(run) == table(undisturbed)
