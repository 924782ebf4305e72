from pathlib import Path

import pytest

from trustrace.core.errors import ConfigError
from trustrace.studies.config import DatasetConfig, EveryNth, TraceConfig
from trustrace.studies.files import read_study

STUDY = """
study: trace
name: toy
checkpoints: {source: here, select: {every: 2}}
datasets: [reliability/world, {name: mine, path: mine.csv}]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_study_file_becomes_a_checked_config(tmp_path: Path) -> None:
    study = read_study(written(tmp_path, STUDY), TraceConfig)
    assert study.checkpoints.select == EveryNth(every=2)
    assert study.datasets == (DatasetConfig(name="reliability/world"), DatasetConfig(name="mine", path="mine.csv"))


def test_environment_variables_are_filled_in_and_a_missing_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, STUDY.replace("here", '"${RUNS_FOLDER}/books"'))
    monkeypatch.setenv("RUNS_FOLDER", "elsewhere")
    assert read_study(path, TraceConfig).checkpoints.source == "elsewhere/books"
    monkeypatch.delenv("RUNS_FOLDER")
    with pytest.raises(ConfigError, match="RUNS_FOLDER"):
        read_study(path, TraceConfig)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("protocols", "protocol: rigorous"), "protocol: unknown key; did you mean 'protocols'"),
        (("probing", "probing: {foldz: 3}"), r"probing\.foldz: unknown key; did you mean 'folds'"),
        (("protocols", "protocols: [strict]"), r"protocols\.0: .*'rigorous' or 'published'"),
        (("seed", "seed: many"), "seed: .*integer"),
        (("datasets", "datasets: []"), "datasets: "),
        (("datasets", "datasets: [a, a]"), "two datasets have one name"),
    ],
)
def test_a_mistake_in_a_study_is_named_with_its_place(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    key, line = change
    kept = [old for old in STUDY.strip().splitlines() if not old.startswith(f"{key}:")]
    with pytest.raises(ConfigError, match=message):
        read_study(written(tmp_path, "\n".join([*kept, line])), TraceConfig)


@pytest.mark.parametrize("text", ["- a\n- b", "just words", "a: [1", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"study\.yaml"):
        read_study(written(tmp_path, text), TraceConfig)


def test_a_file_that_is_absent_a_folder_or_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    for path, message in [
        (tmp_path / "none.yaml", "no such"),
        (tmp_path, "folder"),
        (tmp_path / "latin.yaml", "not UTF-8"),
    ]:
        with pytest.raises(ConfigError, match=message):
            read_study(path, TraceConfig)
