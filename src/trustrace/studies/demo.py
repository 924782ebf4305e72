"""The demo: pre-train a small model in the controlled world, trace it, report it."""

from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from trustrace.core.progress import Progress, silent
from trustrace.report.page import require_extra, write_report
from trustrace.studies.config import TraceConfig
from trustrace.studies.settings import Settings
from trustrace.studies.trace import run_trace
from trustrace.training.config import PretrainConfig
from trustrace.training.pretrain import pretrain

QUICK_STEPS = 60
"""Optimizer steps of the shortened demo: enough to exercise every part, too few for a model to learn much."""


def run_demo(*, out: Path, settings: Settings, quick: bool = False, progress: Progress = silent) -> Path:
    """Run the demo in `out`; started again, it goes on.

    Returns:
        The report's page.
    """
    require_extra()
    training = PretrainConfig.read(
        _shortened(_preset("demo_pretrain")) if quick else _preset("demo_pretrain"), where="demo_pretrain.yaml"
    )
    pretrain(training, out=out / "pretrain", device=settings.torch_device(), progress=progress)
    asked = _preset("demo_trace") | {"checkpoints": {"source": str(out / "pretrain")}}
    run_trace(TraceConfig.read(asked, where="demo_trace.yaml"), out=out / "trace", settings=settings, progress=progress)
    return write_report(out / "trace")


def _preset(name: str) -> dict[str, Any]:
    text = (resources.files("trustrace.studies") / "presets" / f"{name}.yaml").read_text("utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def _shortened(training: dict[str, Any]) -> dict[str, Any]:
    tokens = QUICK_STEPS * training["batch"] * training["sequence_length"]
    optimizer = training["optimizer"] | {"warmup_steps": QUICK_STEPS // 10}
    return training | {
        "tokens": tokens,
        "optimizer": optimizer,
        "saves": {"dense": 2, "dense_until": QUICK_STEPS, "every": QUICK_STEPS},
    }
