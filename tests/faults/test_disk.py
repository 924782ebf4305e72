"""A disk that is full: one clear error, nothing half-written, and the same command goes on when there is room."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.faults.processes import PATIENCE, done, leftovers, table, told, units

DISK_FULL = 5
IN_A_SMALL_PLACE = """
mount -t tmpfs -o size=96k small "$RUN" || exit 77
"$PYTHON" -m trustrace trace "$STUDY" --out "$RUN" --device cpu 2> "$KEPT/told"
echo $? > "$KEPT/code"
ls -A "$RUN/units" > "$KEPT/units"
ls -d "$RUN"/.scratch-* > "$KEPT/scratch" 2> "$KEPT/none"
mount -o remount,size=64m "$RUN"
"$PYTHON" -m trustrace trace "$STUDY" --out "$RUN" --device cpu || exit 1
cp -r "$RUN/." "$KEPT/run"
"""


@pytest.mark.parametrize("largest", [2_000, 6_000, 9_500])
def test_a_file_that_cannot_be_written_whole_is_one_error_and_leaves_nothing_half_written(
    study: dict[str, Any], undisturbed: Path, tmp_path: Path, largest: int
) -> None:
    run = tmp_path / "run"
    assert done(study, run, largest=largest) == DISK_FULL
    assert "could not be written" in told(run)
    assert "free space" in told(run)
    assert leftovers(run) == []
    assert all(pq.read_table(run / "units" / unit / "measurements.parquet").num_rows for unit in units(run))
    kept = units(run)
    assert done(study, run) == 0
    assert kept.items() <= units(run).items()
    assert table(run) == table(undisturbed)


def test_a_run_on_a_full_disk_says_so_once_and_goes_on_when_there_is_room(
    study: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    for name in ("run", "kept"):
        (tmp_path / name).mkdir()
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    kept = tmp_path / "kept"
    places = {"RUN": tmp_path / "run", "KEPT": kept, "STUDY": tmp_path / "study.yaml", "PYTHON": sys.executable}
    settings = [f"{name}={value}" for name, value in places.items()]
    try:
        ended = subprocess.run(
            ["env", *settings, "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", IN_A_SMALL_PLACE],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("a small disk needs unshare of util-linux")
    if ended.returncode and not (kept / "code").exists():
        pytest.skip(f"a small disk needs user namespaces in which tmpfs may be mounted: {ended.stderr.strip()}")
    assert ended.returncode == 0, ended.stderr
    assert int((kept / "code").read_text()) == DISK_FULL
    said = (kept / "told").read_text()
    assert said.count("error:") == 1
    assert "No space left on device" in said
    assert "Traceback" not in said
    before = (kept / "units").read_text().split()
    assert 0 < len(before) < len(units(undisturbed))
    assert not [name for name in before if name.startswith(".")]
    assert (kept / "scratch").read_text() == ""
    assert units(kept / "run").keys() == units(undisturbed).keys()
    assert table(kept / "run") == table(undisturbed)
