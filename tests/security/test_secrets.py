"""Planted tokens and keys: in no file of a run, no message, no traceback with its variables."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pytest_httpserver import HTTPServer
from rich.console import Console
from rich.traceback import Traceback

from tests.studies import small_studies
from trustrace.core.config import Config
from trustrace.core.errors import CheckpointError, ConfigError, EndpointError
from trustrace.core.secrets import without_secrets
from trustrace.evaluation.endpoint import Endpoint
from trustrace.models.hub import open_hub
from trustrace.report.page import write_report
from trustrace.runs.identity import Unit
from trustrace.runs.ledger import Ledger
from trustrace.studies.files import read_values

PLANTED = {
    "HF_TOKEN": "hf_plantedplantedplanted",
    "OPENAI_API_KEY": "sk-plantedplantedplanted",
    "JUDGE_KEY": "judge-planted-0123456789",
    "AWS_SECRET_ACCESS_KEY": "aws/planted+secret0123",
}


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)


class _Question:
    prompt, temperature, max_tokens = "?", 0.0, 1


def as_text(path: Path) -> str:
    """What a file holds, uncompressed."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return f"{table.to_pylist()} {table.schema.metadata}"
    if path.suffix == ".npz":
        return str({name: array.tolist() for name, array in np.load(path).items()})
    return path.read_bytes().decode("latin-1")


def assert_clean(text: str) -> None:
    assert not [name for name, value in PLANTED.items() if value in text]


def test_no_file_of_a_run_and_nothing_that_is_said_holds_a_secret(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    small_studies.series(tmp_path)
    small_studies.steered(tmp_path / "run", small_studies.study(tmp_path))
    write_report(tmp_path / "run")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        assert_clean(as_text(path))
    said = capfd.readouterr()
    assert_clean(said.out + said.err + caplog.text)


def test_a_failure_is_recorded_without_what_a_server_repeated(tmp_path: Path) -> None:
    unit = Unit(step="evaluate", name="x", inputs={})
    with Ledger.open(tmp_path / "run", study={"study": "x"}) as ledger:
        ledger.fail(
            unit, EndpointError(f"the server said: bad key {PLANTED['JUDGE_KEY']} at https://me:pw-planted@host/")
        )
        (failure,) = ledger.failures([unit])
    assert_clean(json.dumps(failure))
    assert "[JUDGE_KEY] at https://[user]@host/" in failure["message"]


def test_a_servers_answer_that_repeats_the_key_is_shown_without_it_even_with_all_variables(
    httpserver: HTTPServer,
) -> None:
    said = {"error": {"message": f"no {PLANTED['OPENAI_API_KEY']}"}}
    httpserver.expect_request("/v1/chat/completions").respond_with_json(said, status=400)
    endpoint = Endpoint(base_url=httpserver.url_for("/v1"), model="m", max_retries=0, timeout=5.0)
    with pytest.raises(EndpointError) as refused:
        endpoint.answer(_Question())
    console = Console(file=io.StringIO(), width=200)
    shown = Traceback.from_exception(
        refused.type, refused.value, refused.tb.tb_next, show_locals=True, locals_max_string=None
    )
    console.print(shown)
    assert_clean(console.file.getvalue() + str(refused.value) + repr(endpoint))  # type: ignore[attr-defined]


def test_a_hub_behind_a_password_is_named_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://me:planted-password@127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(CheckpointError) as refused:
        open_hub("owner/name", revision="main")
    assert "planted-password" not in str(refused.value)


@pytest.mark.parametrize("name", PLANTED)
def test_a_study_fills_in_no_secret(tmp_path: Path, name: str) -> None:
    (tmp_path / "study.yaml").write_text(f'name: "${{{name}}}"\n')
    with pytest.raises(ConfigError, match="whose name is that of a secret"):
        read_values(tmp_path / "study.yaml")


def test_a_wrong_value_is_shown_without_the_secret_in_it() -> None:
    class Small(Config):
        n: int

    with pytest.raises(ConfigError) as refused:
        Small.read({"n": PLANTED["HF_TOKEN"]}, where="x")
    assert_clean(str(refused.value))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@host/x", "https://[user]@host/x"),
        ("http://token@host", "http://[user]@host"),
        ("s3?X-Amz-Signature=abc&x=1", "s3?X-Amz-Signature=[signature]&x=1"),
        ("u?access_token=abc", "u?access_token=[signature]"),
        ("mail me@host", "mail me@host"),
        ("LLM360--Amber@ckpt_179", "LLM360--Amber@ckpt_179"),
    ],
)
def test_addresses_lose_users_and_signatures(text: str, shown: str) -> None:
    assert without_secrets(text, environment={}) == shown


def test_the_folder_that_a_shell_is_in_is_no_password() -> None:
    assert without_secrets("in /home/me/work", environment={"PWD": "/home/me/work"}) == "in /home/me/work"
    assert without_secrets("with hunter22", environment={"DB_PWD": "hunter22"}) == "with [DB_PWD]"
