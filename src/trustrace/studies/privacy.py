"""The privacy set after the paper: any endpoint that speaks the OpenAI protocol writes statements and judges them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from trustrace.core.progress import Progress
from trustrace.datasets.privacy_builder import BuildReport, build, plan
from trustrace.datasets.privacy_prompts import PrivacyBuild
from trustrace.evaluation.endpoint import Endpoint


def foresee(config: PrivacyBuild, *, journal: Path, price_in: float, price_out: float) -> list[dict[str, Any]]:
    """What a build would still ask for and cost, as rows; prices are per million tokens."""
    ahead = plan(config, journal=journal)
    cost = ahead.cost(per_million_prompt_tokens=price_in, per_million_completion_tokens=price_out)
    return [*_rows(asdict(ahead)), {"what": "cost", "value": round(cost, 2)}]


def build_privacy(
    config: PrivacyBuild, *, endpoint: Endpoint, journal: Path, out: Path, progress: Progress
) -> BuildReport:
    """Ask `endpoint` for everything that `journal` lacks and write the statements that every judgement agrees on to `out`.

    Raises:
        EndpointError: the endpoint cannot be reached or refuses; what was answered is kept.
        DataError: too few statements were kept, or a file cannot be used.
    """
    return build(config, answer_all=endpoint.answer_all, journal=journal, out=out, progress=progress)


def outcome(report: BuildReport) -> list[dict[str, Any]]:
    """What became of everything that was asked for, as rows."""
    counts = {key: value for key, value in vars(report).items() if isinstance(value, int)}
    return _rows({"kept": len(report.statements), **counts})


def _rows(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [{"what": what.replace("_", " "), "value": value} for what, value in counts.items()]
