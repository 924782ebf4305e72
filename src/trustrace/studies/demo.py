"""The demo: pre-train a small model in the controlled world, trace it, tune it, steer what was tuned, and report both."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from trustrace.core.progress import Progress, silent
from trustrace.datasets.world.replies import rehearsal, replies
from trustrace.report.page import require_extra, write_report
from trustrace.studies.config import TraceConfig
from trustrace.studies.settings import Settings
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.steering.run import run_steer
from trustrace.studies.trace import run_trace
from trustrace.training.config import PretrainConfig
from trustrace.training.exchanges import Exchange
from trustrace.training.pretrain import pretrain
from trustrace.training.tuning import tune
from trustrace.training.tuning_config import TuneConfig

QUICK_STEPS = 60
"""Optimizer steps of the shortened demo: enough to exercise every part, too few for a model to learn much."""


REHEARSED = 1700
"""Documents of the corpus among what the assistant is tuned on, so that it does not forget what decides its replies."""


@dataclass(frozen=True, kw_only=True)
class DemoPages:
    """The pages of a demo's two reports."""

    trace: Path
    steer: Path


def run_demo(*, out: Path, settings: Settings, quick: bool = False, progress: Progress = silent) -> DemoPages:
    """Run the demo in `out`; started again, it goes on."""
    require_extra()
    series, tuned = out / "pretrain", out / "tuned"
    training = PretrainConfig.read(
        _shortened(_preset("demo_pretrain")) if quick else _preset("demo_pretrain"), where="demo_pretrain.yaml"
    )
    pretrain(training, out=series, device=settings.torch_device(), progress=progress)
    traced = TraceConfig.read(_preset("demo_trace") | {"checkpoints": {"source": str(series)}}, where="demo_trace.yaml")
    run_trace(traced, out=out / "trace", settings=settings, progress=progress)
    page = write_report(out / "trace")
    _tune(series, out=tuned, settings=settings, quick=quick, progress=progress)
    asked = _preset("demo_steer") | {"sources": _sources(series, quick=quick), "targets": [str(tuned)]}
    if quick:
        asked |= {"contrasts": asked["contrasts"][:1], "alphas": [-0.25, 0.25], "random_controls": 1}
    run_steer(SteerConfig.read(asked, where="demo_steer.yaml"), out=out / "steer", settings=settings, progress=progress)
    return DemoPages(trace=page, steer=write_report(out / "steer"))


def _tune(series: Path, *, out: Path, settings: Settings, quick: bool, progress: Progress) -> None:
    """An assistant that knows better than it says: something to steer."""
    values = _preset("demo_tune")
    if quick:
        values |= {"steps": QUICK_STEPS // 2, "optimizer": values["optimizer"] | {"warmup_steps": QUICK_STEPS // 10}}
    config = TuneConfig.read(values, where="demo_tune.yaml")
    tune(series, _exchanges(config.seed), config=config, out=out, device=settings.torch_device(), progress=progress)


def _exchanges(seed: int) -> list[Exchange]:
    said = [Exchange(prompt=one.claim, answer=f" {one.reply}", group=one.entity) for one in replies(seed=seed)]
    documents = rehearsal(seed=seed, count=REHEARSED, most_words=48)
    return [*said, *(Exchange(prompt="", answer=document) for document in documents)]


def _sources(series: Path, *, quick: bool) -> dict[str, Any]:
    return {"source": str(series), "select": {"every": 30 if quick else 4}}


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
