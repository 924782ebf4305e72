"""What the program says when it ends early or warns: text, whatever the files say that it repeats."""

from pathlib import Path

import pytest

from trustrace.cli import entry
from trustrace.cli.entry import main
from trustrace.core.config import Config
from trustrace.core.errors import ConfigError

HOSTILE = "\x1b[2J\x1b[31mboo\x07"
CONTROLS = {"\x1b", "\x07", "\x9b"}


def test_an_error_that_repeats_a_key_of_a_study_moves_no_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Study(Config):
        name: str

    monkeypatch.setattr("trustrace.cli.app.app", lambda: Study.read({"name": "x", HOSTILE: 1}, where="study.yaml"))
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == ConfigError.exit_code
    assert "[31mboo" in said
    assert not CONTROLS & set(said)


def test_neither_does_a_file_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["trustrace", "status", str(tmp_path / HOSTILE)])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert "no run here" in said
    assert not CONTROLS & set(said)


def test_nor_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    ours = type("OurWarning", (UserWarning,), {"__module__": "trustrace.models.loading"})
    entry._show_warning(ours(f"{HOSTILE} has no tokenizer"), ours)
    said = capsys.readouterr().err
    assert said.startswith("warning: ")
    assert "[31mboo" in said
    assert not CONTROLS & set(said)
