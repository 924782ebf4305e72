"""What a study of proxy-tuning will do, known before any of it is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ConfigError, TokenizerError
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load
from trustrace.models.selection import select
from trustrace.models.sources import CheckpointSource, open_source
from trustrace.models.vocabularies import extends
from trustrace.runs.identity import Unit, code_version
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.config import ModelConfig
from trustrace.studies.evaluating import ROOMS
from trustrace.studies.planning import pinned
from trustrace.studies.proxying.config import ProxyConfig
from trustrace.studies.settings import Settings
from trustrace.studies.task_facts import inputs_of
from trustrace.studies.vocabularies import special_tokens_of, vocabulary_of


@dataclass(frozen=True, kw_only=True)
class Member:
    """A model, and where it is loaded from."""

    source: CheckpointSource
    checkpoint: Checkpoint

    @property
    def pinned(self) -> list[Any]:
        """What tells its weights from any other's."""
        return [self.checkpoint.key, self.checkpoint.commit]


@dataclass(frozen=True, kw_only=True)
class ProxyPlan:
    """The units of a study of proxy-tuning.

    Attributes:
        study: What is asked for.
        settings: Where it is done.
        bases: The checkpoints that are tuned by proxy, in the order of training.
        expert: The tuned model.
        anti_expert: The model that was tuned.
        references: Other tuned models.
        asked: Every task with all that changes its answers.
    """

    study: ProxyConfig
    settings: Settings = field(compare=False)
    bases: tuple[Member, ...]
    expert: Member
    anti_expert: Member
    references: tuple[Member, ...]
    asked: Mapping[TaskConfig, Mapping[str, Any]]

    @cached_property
    def alone(self) -> tuple[Member, ...]:
        """What is asked as it is, besides the bases: the expert, the anti-expert where it is no base, and the references."""
        known = [base.pinned for base in self.bases]
        others = (self.expert, self.anti_expert, *self.references)
        return tuple(one for one in others if one.pinned not in known)

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units, in the order of the table."""
        plain = [self.plain_unit(member, task) for member in self.alone for task in self.study.tasks]
        return (*plain, *(self.proxied_unit(base, task) for base in self.bases for task in self.study.tasks))

    def plain_unit(self, member: Member, task: TaskConfig) -> Unit:
        """A model as it is on one task."""
        inputs = {**self._shared(task), "model": member.pinned}
        return Unit(step="plain", name=f"{member.checkpoint.key}/{task.name}", inputs=inputs)

    def proxied_unit(self, base: Member, task: TaskConfig) -> Unit:
        """A base as it is and tuned by proxy on one task."""
        inputs = {
            **self._shared(task),
            "base": base.pinned,
            "expert": self.expert.pinned,
            "anti_expert": self.anti_expert.pinned,
            "alphas": self.study.alphas,
        }
        return Unit(step="proxied", name=f"{base.checkpoint.key}/{task.name}", inputs=inputs)

    def load(self, member: Member) -> LanguageModel:
        """The model of `member`."""
        return load(
            member.source,
            member.checkpoint,
            device=self.settings.torch_device(),
            dtype=self.study.dtype,
            trust_remote_code=self.study.trust_remote_code,
        )

    def _shared(self, task: TaskConfig) -> dict[str, Any]:
        study = self.study
        return {
            "code": code_version(*ROOMS),
            "task": self.asked[task],
            "protocol": study.protocol,
            "dtype": study.dtype,
            "seed": study.seed,
        }


def plan_proxy(study: ProxyConfig, *, settings: Settings) -> ProxyPlan:
    """List the checkpoints, pin them to their commits, and compare vocabularies as far as files tell.

    Raises:
        ConfigError: a task cannot be asked, or two models have one name.
        ModelError: a source holds no such checkpoints.
        TokenizerError: the vocabulary of expert or anti-expert differs from a base's by more than special tokens after it.
    """
    settings.require_device(spreads=False)
    series = open_source(study.bases.source, keep_downloads=settings.keep_downloads)
    chosen = select(series.checkpoints(), study.bases.how())
    plan = ProxyPlan(
        study=study,
        settings=settings,
        bases=tuple(Member(source=series, checkpoint=pinned(series, one)) for one in chosen),
        expert=_member(study.expert, settings),
        anti_expert=_member(study.anti_expert, settings),
        references=tuple(_member(one, settings) for one in study.references),
        asked={task: inputs_of(task, settings=settings) for task in study.tasks},
    )
    _require_names((*plan.bases, *plan.alone))
    _require_one_vocabulary(plan.bases[-1], (plan.expert, plan.anti_expert))
    return plan


def foresee_proxy(study: ProxyConfig, *, settings: Settings, run: Path | None = None) -> list[dict[str, Any]]:
    """What a study consists of, and how much of it `run` holds already, as rows.

    Raises:
        ConfigError, ModelError, TokenizerError: as for planning the study itself.
    """
    plan = plan_proxy(study, settings=settings)
    done = sum(run is not None and (run / "units" / unit.folder / "record.json").is_file() for unit in plan.units)
    return [
        {"what": "bases", "value": len(plan.bases)},
        {"what": "models asked as they are besides", "value": len(plan.alone)},
        {"what": "strengths", "value": len(study.alphas)},
        {"what": "tasks", "value": len(study.tasks)},
        {"what": "models in memory at once", "value": 3},
        {"what": "units in all", "value": f"{len(plan.units)}, of which {len(plan.units) - done} are open"},
    ]


def _member(config: ModelConfig, settings: Settings) -> Member:
    source = open_source(config.source, keep_downloads=settings.keep_downloads)
    known = source.checkpoints()
    (checkpoint,) = select(known, [config.revision or known[-1].revision])
    return Member(source=source, checkpoint=source.pin(checkpoint))


def _require_names(members: Sequence[Member]) -> None:
    keys = [member.checkpoint.key for member in members]
    if repeated := [key for key in keys if keys.count(key) > 1]:
        raise ConfigError(
            f"two models are called {repeated[0]}; their rows would have one name, so name each model once and each folder apart"
        )


def _require_one_vocabulary(base: Member, others: Sequence[Member]) -> None:
    """Do nothing where each has the base's vocabulary, or it and special tokens after it, or its own is not known before it is loaded."""
    known = vocabulary_of(base.source, base.checkpoint)
    for member in others:
        words = vocabulary_of(member.source, member.checkpoint)
        if words is None or known is None:
            continue
        if not extends(words, known, special=special_tokens_of(member.source, member.checkpoint)):
            different = len(words.items() ^ known.items())
            raise TokenizerError(
                f"{member.checkpoint.key} has another vocabulary than {base.checkpoint.key} ({different} tokens or ids differ, by more "
                "than special tokens after the base's); logits can be added where token numbers mean the same, so take models of one "
                "tokenizer"
            )
