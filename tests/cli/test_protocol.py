"""`--protocol`, for a file that holds a study in both protocols, on a real file of the studies."""

from pathlib import Path

from typer.testing import CliRunner, Result

from trustrace.cli.app import app
from trustrace.core.errors import ConfigError

STUDIES = Path(__file__).parents[2] / "studies"


def planned(file: str, *options: str) -> Result:
    return CliRunner().invoke(app, ["plan", str(STUDIES / file), "--on", "h200", *options])


def arithmetic(*options: str) -> str:
    """What the plan of figure 4 for OLMo says that its models compute in."""
    answer = planned("olmo/figure4.yaml", *options)
    assert answer.exit_code == 0, answer.output
    return next(line for line in answer.output.splitlines() if "arithmetic of the models" in line)


def test_a_plan_is_of_the_protocol_that_is_asked_for_and_rigorous_by_default() -> None:
    assert "float32" in arithmetic("--protocol", "published")
    assert "bfloat16" in arithmetic("--protocol", "rigorous")
    assert "bfloat16" in arithmetic()


def test_a_file_of_one_protocol_refuses_the_other() -> None:
    refused = planned("paper/figure4_rigorous.yaml", "--protocol", "published")
    assert isinstance(refused.exception, ConfigError)
    assert "under rigorous, not under published" in str(refused.exception)
