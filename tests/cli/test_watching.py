"""What a person sees of a run at work: at several widths, of hostile names, in a terminal and in a log."""

import io
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.runs.beating import NOBODY, beat
from trustrace.cli import watching
from trustrace.cli.app import app
from trustrace.cli.run_table import duration
from trustrace.cli.view import plain
from trustrace.cli.watching import drawn, log_line, show_status, showing_run
from trustrace.core.errors import ConfigError, RunError
from trustrace.runs.beats import Beat, remove_beat, write_beat
from trustrace.runs.identity import Unit
from trustrace.runs.ledger import Ledger
from trustrace.studies.status import Following, Status, TimeLeft, read_status

FAILURE = {"unit": "m@step1/toxicity", "error": "ModelError", "message": "layer 3 holds non-finite numbers " * 9}
LEFT = TimeLeft(seconds=7400.0, basis="127 units at the pace of the 40 that 3 workers finished")
HOSTILE = "[red]x[/red]\x1b]0;owned\x07\x1b[2J\n\u202egnp.exe"


def status(*workers: Any, failures: int = 0) -> Status:
    return Status(
        name="Pythia, five datasets",
        finished=48,
        total=180,
        failures=(FAILURE,) * failures,
        workers=workers,
        left=LEFT,
    )


def text(shown: Status, *, width: int, height: int | None = None) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(drawn(shown, width=width, height=height))
    return captured.get()


def four() -> tuple[Beat, ...]:
    """Workers whose beats were written now; a suite takes longer than a beat is believed."""
    return (
        beat("1-of-4"),
        beat("2-of-4", stage="measuring", dataset="toxicity/defined", done=0, total=0, rate=None, failed=2),
        beat("3-of-4", stage="waiting", checkpoint="", dataset="", done=0, total=0, rate=None, lasted=340.0),
        beat("4-of-4", pid=NOBODY, written=time.time() - 600),
    )


@pytest.mark.parametrize("width", [80, 100, 110, 200])
def test_the_table_has_all_columns_and_fits_its_terminal(width: int) -> None:
    shown = text(status(*four(), failures=5), width=width)
    assert max(map(len, shown.splitlines())) <= width
    for said in ("worker", "checkpoint", "stage", "download", "disk", "units"):
        assert said in shown
    for said in ("step1000", "28 %, 1.36k tokens/s", "step512", "1.2/27 GB, 85 MB/s", "54 GB", "of 80 GB", "48/180"):
        assert said in shown
    for said in ("2 failed", "5 failed", "gone", "for 6 min", "3 at work", "about 2.1 h", "measuring 46 %"):
        assert said in shown
    assert "... and 2 more" in shown


def test_a_wide_terminal_cuts_nothing() -> None:
    shown = text(status(*four()), width=200)
    assert "…" not in shown
    assert "heard 10 min ago" in shown
    assert "EleutherAI--pythia-6.9b" in shown.splitlines()[0]


def test_many_workers_are_drawn_as_far_as_the_terminal_reaches_and_counted_beyond() -> None:
    shown = text(status(*(beat(f"{place}-of-64") for place in range(1, 65))), width=110, height=24)
    assert len(shown.splitlines()) <= 24
    assert "+ 47" in shown
    assert "64 at work" in text(status(*(beat(f"{place}-of-64") for place in range(1, 65))), width=110)


def test_hostile_names_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = beat(checkpoint=HOSTILE, dataset=HOSTILE, counted=HOSTILE)
    bad = Status(
        name=HOSTILE,
        finished=1,
        total=2,
        failures=({"unit": HOSTILE, "error": HOSTILE, "message": HOSTILE},),
        workers=(hostile,),
        left=LEFT,
    )
    show_status(bad)
    for said in (text(bad, width=200), log_line(bad), capsys.readouterr().out):
        assert "[red]x[/red]" in said
        assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert (
        plain("a\nb\t\x9b", is_line=True)
        == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    )
    assert plain("a\nb") == "a\nb"


def test_a_line_of_a_log_says_what_its_own_process_does_or_else_what_all_do() -> None:
    assert log_line(status(four()[0])) == (
        "48 of 180 units finished, 0 failed; capturing reliability/defined at EleutherAI--pythia-6.9b@step1000, "
        "28 %, 1.36k tokens/s; fetching step512, 1.2/27 GB, 85 MB/s; disk 54 GB of 80 GB; time left: about 2.1 h"
    )
    others = [beat(f"{place}-of-3", pid=1, stage="measuring" if place < 3 else "loading") for place in (1, 2, 3)]
    assert "; 3 at work: 2 measuring, 1 loading; time left" in log_line(status(*others))
    assert log_line(status()) == "48 of 180 units finished, 0 failed"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (89.4, "89 s"), (90, "2 min"), (5000, "83 min"), (7400, "2.1 h"), (10**6, "11.6 days")],
)
def test_durations_are_said_in_units_of_their_size(seconds: int | float, said: str) -> None:
    assert duration(seconds) == said


@pytest.fixture
def run(tmp_path: Path) -> Path:
    units = [Unit(step="trace", name=f"m@step{step}/a", inputs={}) for step in range(3)]
    with Ledger.open(tmp_path / "run", study={"name": "three units"}) as ledger:
        ledger.write("plan.json", [{"unit": unit.folder, "name": unit.name} for unit in units])
        ledger.finish(units[0], [], seconds=1.0)
        ledger.fail(units[1], ValueError("no weights"))
    return tmp_path / "run"


def test_where_there_is_no_terminal_lines_are_written_and_a_last_one(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LINES", (0.05, 60.0))
    write_beat(run, beat())
    with showing_run(run):
        time.sleep(0.4)
        remove_beat(run, "alone")
    first, last = capsys.readouterr().err.splitlines()
    assert "1 of 3 units finished, 1 failed; capturing reliability/defined at" in first
    assert last.endswith(" 1 of 3 units finished, 1 failed")


def test_a_run_that_is_not_there_yet_disturbs_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with showing_run(tmp_path / "run"):
        pass
    assert capsys.readouterr().err == ""


def test_in_a_terminal_the_run_is_drawn_until_nobody_is_at_work_and_the_code_says_what_failed(run: Path) -> None:
    write_beat(run, beat())
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "trustrace", "status", str(run), "--watch"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True)
    os.close(theirs)
    screen = io.BytesIO()
    reading = threading.Thread(target=_read, args=(ours, screen))
    reading.start()
    deadline = time.monotonic() + 60
    while b"capturing" not in screen.getvalue() and process.poll() is None and time.monotonic() < deadline:
        write_beat(run, beat())
        time.sleep(0.1)
    remove_beat(run, "alone")
    said, _ = process.communicate(timeout=60)
    reading.join(60)
    os.close(ours)
    assert b"capturing reliability/defined" in screen.getvalue()
    assert "1 of 3 units finished, 1 failed" in said
    assert "no weights" in said
    assert process.returncode == 3


def test_a_beat_that_cannot_be_read_for_a_moment_ends_no_watching(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(["no beat", "no run", "at work", "ended"])

    def next_moment(_: float) -> None:
        match next(looks):
            case "no beat":
                (run / "live" / "alone.json").write_text("half a be")
            case "no run":
                (run / "plan.json").rename(run / "plan")
            case "at work":
                (run / "plan").rename(run / "plan.json")
                write_beat(run, beat())
            case _:
                remove_beat(run, "alone")

    write_beat(run, beat())
    monkeypatch.setattr("trustrace.cli.watching.time.sleep", next_moment)
    watching._wait_for_the_end(Following(run))
    assert next(looks, None) is None


def test_a_run_that_stays_unreadable_ends_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 0.05)
    monkeypatch.setattr(watching, "REDRAWN", 0.01)
    (run / "live").mkdir()
    (run / "live" / "alone.json").write_text("half a be")
    watching._wait_for_the_end(Following(run))
    (run / "plan.json").unlink()
    with pytest.raises(RunError, match="no run here"):
        watching._wait_for_the_end(Following(run))


def test_a_file_that_is_no_beat_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "live").mkdir()
    (run / "live" / "2-of-2.json").write_text("half a be")
    show_status(read_status(run))
    alone = capsys.readouterr().out
    write_beat(run, beat("1-of-2"))
    show_status(read_status(run))
    for said in (alone, capsys.readouterr().out):
        assert "not shown: " in said
        assert said.count("2-of-2.json") == 1


def _read(descriptor: int, into: io.BytesIO) -> None:
    try:
        while part := os.read(descriptor, 4096):
            into.write(part)
    except OSError:
        # The other end is closed.
        return


def test_the_status_of_a_run_that_ended_is_said_without_a_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_status(read_status(run))
    said = capsys.readouterr().out
    assert "three units: 1 of 3 units finished, 1 failed; time left: about 2 s" in said
    assert "no weights" in said
    assert "worker" not in said


def test_a_url_is_not_watched_since_nobody_says_there_what_they_do(tmp_path: Path) -> None:
    asked = CliRunner().invoke(app, ["status", tmp_path.as_uri(), "--watch"])
    assert isinstance(asked.exception, ConfigError)
    assert "leave --watch out" in str(asked.exception)
