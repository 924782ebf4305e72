"""What a fine-tuning study will do, known before any of it is done."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ConfigError
from trustrace.models.adapters import peft_of, place_of
from trustrace.models.sources import CheckpointSource, open_source
from trustrace.runs.identity import Unit, code_version
from trustrace.studies.abilities import TaskConfig, open_task
from trustrace.studies.evaluating import ROOMS
from trustrace.studies.planning import pinned
from trustrace.studies.settings import Settings
from trustrace.studies.steering.compute import read_steer_study
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.task_facts import inputs_of
from trustrace.studies.tuning.config import ComputeConfig, Data, FinetuneConfig, Method
from trustrace.studies.tuning.data import Lessons, all_asked_by, lessons_of

Tuning = tuple[Data, Method]


@dataclass(frozen=True, kw_only=True)
class Base:
    """A model that is tuned, and where it is loaded from."""

    source: CheckpointSource
    checkpoint: Checkpoint


@dataclass(frozen=True, kw_only=True)
class FinetunePlan:
    """The units of a fine-tuning study.

    Attributes:
        study: What is asked for.
        settings: Where it is done.
        bases: The models.
        lessons: What they learn, by name.
        asked: Every task with all that changes its answers.
        steering: The steering study whose compute is matched, where one is.
    """

    study: FinetuneConfig
    settings: Settings = field(compare=False)
    bases: tuple[Base, ...]
    lessons: Mapping[str, Lessons]
    asked: Mapping[TaskConfig, Mapping[str, Any]]
    steering: SteerConfig | None

    @cached_property
    def tunings(self) -> tuple[Tuning, ...]:
        """What is done with each base."""
        return tuple((data, method) for data in self.study.data for method in self.study.methods)

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units, in the order of the table."""
        return tuple(unit for base in self.bases for unit in self.units_of(base))

    def units_of(self, base: Base) -> tuple[Unit, ...]:
        """What is done with one base: it is asked as it is, tuned, and asked again."""
        plain = [self.plain_unit(base, task) for task in self.study.asked]
        tuned = [self.tune_unit(base, tuning) for tuning in self.tunings]
        tests = [self.test_unit(base, tuning, task) for tuning in self.tunings for task in self.study.asked]
        return (*plain, *tuned, *tests)

    def plain_unit(self, base: Base, task: TaskConfig) -> Unit:
        """The model as it is on one task of the test half."""
        name = f"{base.checkpoint.key}/{task.name}"
        return Unit(step="plain", name=name, inputs={**self._base(base), **self._asked(task)})

    def tune_unit(self, base: Base, tuning: Tuning) -> Unit:
        """One tuning."""
        data, method = tuning
        study = self.study
        inputs = {
            **self._base(base),
            "lessons": self.lessons[data.name].fingerprint,
            "adapter": method.adapter and method.adapter.model_dump(mode="json"),
            "recipe": study.recipe_of(method).model_dump(mode="json"),
            "compute": study.compute and self._compute(study.compute),
        }
        return Unit(step="tune", name=f"{base.checkpoint.key}/{data.name}/{method.name}", inputs=inputs)

    def test_unit(self, base: Base, tuning: Tuning, task: TaskConfig) -> Unit:
        """A tuned model on one task of the test half."""
        tuned = self.tune_unit(base, tuning)
        inputs = {"tune": tuned.identity, **self._asked(task), "dtype": self.study.dtype}
        return Unit(step="test", name=f"{tuned.name}/{task.name}", inputs=inputs)

    def _base(self, base: Base) -> Mapping[str, Any]:
        return {
            "code": code_version(*ROOMS, "training"),
            "base": [base.checkpoint.key, base.checkpoint.commit],
            "dtype": self.study.dtype,
        }

    def _asked(self, task: TaskConfig) -> Mapping[str, Any]:
        return {"task": self.asked[task], "protocol": self.study.protocol, "seed": self.study.seed}

    def _compute(self, compute: ComputeConfig) -> Mapping[str, Any]:
        """Where the steering run lies says nothing; what its study is does."""
        digest = self.steering and hashlib.sha256(self.steering.model_dump_json().encode()).hexdigest()
        return compute.model_dump(mode="json") | {"equal_to": digest}


def plan_finetune(study: FinetuneConfig, *, settings: Settings) -> FinetunePlan:
    """List the checkpoints and pin them, read the data, and see that nothing that is asked is among it.

    Raises:
        ConfigError: a model is named twice, a task cannot be asked, or the compared study has no such contrast.
        DataError: data cannot be used, or has no row that may be learned.
        ModelError: a source holds no such checkpoints, or is an adapter on which another is to be trained.
        MissingExtraError: an adapter is asked for and peft is not installed.
        RunError: no steering run lies where `compute` says.
    """
    settings.require_device(spreads=False)
    bases = tuple(base for config in study.models for base in _bases(config.source, config.chosen, settings))
    _require_different(bases)
    if any(method.adapter for method in study.methods):
        peft_of("tuning with a low-rank adapter")
        for base in bases:
            if base.checkpoint.commit:
                place_of(base.source, base.checkpoint)
    asked = {task: inputs_of(task, settings=settings) for task in study.asked}
    return FinetunePlan(
        study=study,
        settings=settings,
        bases=bases,
        lessons=_lessons(study, settings),
        asked=asked,
        steering=_steering(study.compute),
    )


def foresee_finetune(study: FinetuneConfig, *, settings: Settings, run: Path | None = None) -> list[dict[str, Any]]:
    """What a study consists of, and how much of it `run` holds already, as rows.

    Raises:
        DataError, ModelError, ConfigError: as for planning the study itself.
    """
    plan = plan_finetune(study, settings=settings)
    steps = Counter(unit.step for unit in plan.units)
    done = sum(run is not None and (run / "units" / unit.folder / "record.json").is_file() for unit in plan.units)
    return [
        {"what": "models", "value": len(plan.bases)},
        *(
            {"what": f"exchanges of {one.name}", "value": f"{len(one.exchanges)} in {one.n_groups} groups"}
            for one in plan.lessons.values()
        ),
        {"what": "tunings", "value": len(plan.bases) * len(plan.tunings)},
        {"what": "tasks on the test half", "value": len(study.asked)},
        *({"what": f"units: {step}", "value": count} for step, count in steps.items()),
        {"what": "units in all", "value": f"{len(plan.units)}, of which {len(plan.units) - done} are open"},
    ]


def _bases(source: str, chosen: Any, settings: Settings) -> list[Base]:
    opened = open_source(source, keep_downloads=settings.keep_downloads)
    return [Base(source=opened, checkpoint=pinned(opened, one)) for one in chosen(opened.checkpoints())]


def _require_different(bases: tuple[Base, ...]) -> None:
    keys = [base.checkpoint.key for base in bases]
    if repeated := [key for key in keys if keys.count(key) > 1]:
        raise ConfigError(
            f"{repeated[0]} is named twice among the models; name each once, and give folders of one name others"
        )


def _lessons(study: FinetuneConfig, settings: Settings) -> dict[str, Lessons]:
    tasks = [
        open_task(task, half="test", settings=settings, seed=study.seed, protocol=study.protocol)
        for task in study.asked
    ]
    asked = all_asked_by(tasks)
    return {
        data.name: lessons_of(data, asked=asked, settings=settings, seed=study.seed, protocol=study.protocol)
        for data in study.data
    }


def _steering(compute: ComputeConfig | None) -> SteerConfig | None:
    return read_steer_study(Path(compute.equal_to)) if compute and compute.equal_to else None
