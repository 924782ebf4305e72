from pathlib import Path

import pytest

from trustrace.core.errors import ConfigError
from trustrace.studies.config import DatasetConfig, EveryNth, TraceConfig
from trustrace.studies.files import is_steering, read_study, read_yaml

STUDY = """
study: trace
name: toy
checkpoints: {source: here, select: {every: 2}}
datasets: [reliability/world, {name: mine, path: mine.csv}]
"""


BOTH = """
published: {based_on: scripts/study.yaml, seed: 7}
rigorous: {based_on: ../study.yaml}
name: a twin
datasets: [fairness/defined]
"""


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
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


def twin(folder: Path) -> Path:
    """A file of both protocols, beside one file that says what it leaves out and above another."""
    written(folder, STUDY)
    written(folder / "twins" / "scripts", STUDY + "protocols: [published]")
    return written(folder / "twins", BOTH)


def test_a_study_based_on_another_takes_from_it_what_it_does_not_say(tmp_path: Path) -> None:
    written(tmp_path, STUDY)
    path = written(tmp_path / "mine", "based_on: ../study.yaml\nname: mine\ncheckpoints: {source: there}")
    study, base = read_study(path, TraceConfig), read_study(tmp_path / "study.yaml", TraceConfig)
    assert study.name == "mine"
    assert study.checkpoints.source == "there"
    assert study.checkpoints.select == "all", "a key is replaced whole"
    assert study.datasets == base.datasets


def test_a_file_of_both_protocols_is_read_under_the_one_that_is_asked_for(tmp_path: Path) -> None:
    path = twin(tmp_path)
    published, rigorous = (read_study(path, TraceConfig, protocol=one) for one in ("published", "rigorous"))
    assert (published.protocols, published.seed) == (("published",), 7)
    assert (rigorous.protocols, rigorous.seed) == (("rigorous",), 0)
    assert {published.name, rigorous.name} == {"a twin"}
    assert read_study(path, TraceConfig) == rigorous


def test_a_protocol_that_a_file_does_not_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a study under rigorous, not under published"):
        read_study(written(tmp_path, STUDY), TraceConfig, protocol="published")
    lone = written(tmp_path / "lone", "published: {protocols: [published]}" + STUDY)
    with pytest.raises(ConfigError, match=r"nothing stands under rigorous.* pass --protocol published"):
        read_yaml(lone)
    assert read_study(lone, TraceConfig, protocol="published").protocols == ("published",)
    assert not is_steering(lone, protocol="published")
    empty = written(tmp_path / "empty", "rigorous: yes" + STUDY)
    with pytest.raises(ConfigError, match="expected keys and values under 'rigorous', found bool"):
        read_yaml(empty)


@pytest.mark.parametrize("named", ["[study.yaml]", "{file: study.yaml}", "3", "null"])
def test_a_base_that_is_no_name_is_said_to_be_none(tmp_path: Path, named: str) -> None:
    path = written(tmp_path, f"based_on: {named}")
    with pytest.raises(ConfigError, match="based_on: expected one file's name, found") as refused:
        read_yaml(path)
    assert "not there" not in str(refused.value)


def test_what_stands_under_a_protocol_must_be_of_that_protocol(tmp_path: Path) -> None:
    path = written(tmp_path, "published: {protocols: [rigorous]}" + STUDY)
    with pytest.raises(ConfigError, match=r"under \['rigorous'\], not under published"):
        read_yaml(path, protocol="published")


def test_a_base_that_is_absent_or_leads_back_is_named(tmp_path: Path) -> None:
    absent = written(tmp_path / "absent", "based_on: nothing.yaml")
    with pytest.raises(ConfigError, match=r"study\.yaml is based on .*nothing\.yaml, which is not there"):
        read_yaml(absent)
    first = written(tmp_path / "first", "based_on: ../second/study.yaml")
    written(tmp_path / "second", "based_on: ../first/study.yaml")
    with pytest.raises(ConfigError, match="is based on itself"):
        read_yaml(first)


def test_a_mistake_in_a_base_is_told_with_the_file_that_was_asked_for(tmp_path: Path) -> None:
    written(tmp_path, STUDY + "sed: 1")
    with pytest.raises(ConfigError, match=r"mine/study\.yaml(.|\n)*sed: unknown key; did you mean 'seed'"):
        read_study(written(tmp_path / "mine", "based_on: ../study.yaml"), TraceConfig)
