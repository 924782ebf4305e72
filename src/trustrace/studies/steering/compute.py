"""What a steering study computes, so that a tuning can be given as much.

It is counted as planned: every setting of every real direction reads every item of the perplexity and of the contrast's task by itself, as
though none were dropped by the bound and nothing that versions share were read once. Random directions and permuted labels are controls and
not counted, nor is what any method is judged by on the test half. A token takes 2 operations for each weight of the model.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from trustrace.core.errors import ConfigError, RunError
from trustrace.core.progress import Progress
from trustrace.models.language_model import LanguageModel
from trustrace.models.reading import tokens_of
from trustrace.steering.vectors import CONTROLS
from trustrace.studies.abilities import TaskConfig, open_task
from trustrace.studies.files import read_yaml
from trustrace.studies.settings import Settings
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.steering.plan import SteerPlan, plan_steer
from trustrace.training.compute import FORWARD

COUNTED_AT_ONCE = 4096
"""Tokens in one pass while counting, so that the count does not hang on the machine."""


@dataclass(frozen=True, kw_only=True)
class SearchCompute:
    """What it takes to make and choose vectors for one model.

    Attributes:
        tokens: Tokens that are read.
        settings: Settings that are tried, over all sources and contrasts.
        parameters: Weights of the model.
    """

    tokens: int
    settings: int
    parameters: int

    @property
    def flops(self) -> float:
        """Operations."""
        return float(FORWARD * self.parameters * self.tokens)


def read_steer_study(run: Path) -> SteerConfig:
    """The study of a steering run.

    Raises:
        RunError: `run` holds no steering run.
    """
    file = run / "study.json"
    if not file.is_file() or read_yaml(file).get("study") != "steer":
        raise RunError(f"{run}: no steering run here; give the folder that `trustrace steer` wrote")
    return SteerConfig.read(read_yaml(file), where=str(file))


def search_compute(
    study: SteerConfig, model: LanguageModel, *, contrasts: Sequence[str], settings: Settings, progress: Progress
) -> SearchCompute:
    """What the `contrasts` of `study` take in `model`, counted by having it do each task once.

    Raises:
        ConfigError: the study has no such contrast.
        DataError, ModelError: its data or its sources are no longer there.
    """
    plan = plan_steer(study, settings=settings)
    known = [contrast.name for contrast in plan.contrasts]
    if absent := sorted(set(contrasts) - set(known)):
        raise ConfigError(f"the steering study has no contrast {', '.join(absent)}; it has {', '.join(known)}")
    kinds = [kind for kind in study.kinds if kind not in CONTROLS]
    tried = len(plan.sources) * len(kinds) * len(study.sites) * len(study.alphas)
    costs = _task_tokens(plan, model, study.perplexity.task, progress)
    tokens, settings_tried = 0, 0
    for contrast in plan.contrasts:
        if contrasts and contrast.name not in contrasts:
            continue
        task = contrast.config.task
        asked = 0 if task == study.perplexity.task else _task_tokens(plan, model, task, progress)
        rows = zip(contrast.statements.texts, contrast.statements.splits, strict=True)
        made_of = sum(len(tokens_of(model, text)) for text, split in rows if split != "test")
        tokens += tried * (costs + asked) + len(plan.sources) * made_of
        settings_tried += tried
    parameters = sum(weight.numel() for weight in model.module.parameters())
    return SearchCompute(tokens=tokens, settings=settings_tried, parameters=parameters)


def _task_tokens(plan: SteerPlan, model: LanguageModel, task: TaskConfig, progress: Progress) -> int:
    """Tokens that the model reads for the development items of one task."""
    study = plan.study
    opened = open_task(task, half="development", settings=plan.settings, seed=study.seed, protocol=study.protocol)
    with _counting(model) as counted:
        opened.run(model, batch_tokens=COUNTED_AT_ONCE, progress=progress)
    return sum(counted)


@contextmanager
def _counting(model: LanguageModel) -> Iterator[list[int]]:
    """Tokens that the decoder reads while the body runs, padding aside, pass by pass."""
    counted: list[int] = []

    def count(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        read = next(inputs[name] for name in ("input_ids", "inputs_embeds") if isinstance(inputs.get(name), Tensor))
        rows, columns = read.shape[:2]
        mask = inputs.get("attention_mask")
        is_plain = isinstance(mask, Tensor) and mask.ndim == 2
        counted.append(int(mask[:, -columns:].sum()) if is_plain and mask is not None else rows * columns)

    hook = model.anatomy.decoder.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counted
    finally:
        hook.remove()
