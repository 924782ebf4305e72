"""Proxy-tuning over a series: each checkpoint as it is and with what tuning did to a later one, beside the tuned models themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from trustrace.core.measurements import Measurement
from trustrace.core.progress import Progress, silent
from trustrace.evaluation.estimates import changes
from trustrace.evaluation.outcomes import Outcome
from trustrace.interventions.proxy import ProxyTuning
from trustrace.models.language_model import LanguageModel
from trustrace.runs.identity import Unit
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.evaluating import SAMPLES, require_success
from trustrace.studies.judging import EndpointOptions
from trustrace.studies.proxying.config import ProxyConfig
from trustrace.studies.proxying.plan import Member, ProxyPlan, plan_proxy
from trustrace.studies.settings import Settings
from trustrace.studies.versions import PLAIN, Conventions, Version, measured, rows_of, samples_of
from trustrace.studies.working import Answer, Work, claimed

OVER_EXPERT = "over_expert"
"""Ends the name of a difference to the expert itself."""


@dataclass(kw_only=True)
class _Proxy(Work):
    """A study at work, and what the expert answered."""

    plan: ProxyPlan
    by_expert: dict[TaskConfig, Outcome] = field(default_factory=dict)

    @property
    def conventions(self) -> Conventions:
        """What every row says of how it was asked."""
        return Conventions(protocol=self.plan.study.protocol, seed=self.plan.study.seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tuned:
    """The expert and the anti-expert, in memory."""

    expert: LanguageModel
    anti_expert: LanguageModel


def run_proxy(
    study: ProxyConfig,
    *,
    out: Path,
    settings: Settings,
    judging: EndpointOptions | None = None,
    progress: Progress = silent,
) -> Path:
    """Do what `study` asks for and `out` does not hold yet, then write the table and the manifest.

    Returns:
        The path of the tidy table. Of a base, rows without a `vector` are as it is; those with ``proxy:EXPERT-ANTI`` are tuned by proxy:
        their ``_change`` is against the base, their ``_over_expert`` against the expert, on the same items.

    Raises:
        RunError: `out` belongs to another study, or units failed; what is finished is in the table all the same.
        ConfigError, ModelError, TokenizerError: as for planning the study.
    """
    plan = plan_proxy(study, settings=settings)
    with claimed(out, plan, study=study.model_dump(mode="json")) as ledger:
        work = _Proxy(plan=plan, ledger=ledger, settings=settings, judging=judging, progress=progress)
        try:
            lent = [plan.expert.pinned, plan.anti_expert.pinned]
            for member in plan.alone:
                if member.pinned not in lent:
                    _ask_alone(work, member)
            _tune_all(work)
        finally:
            _conclude(work)
        require_success(ledger, plan.units)
    return out / "measurements.parquet"


def _ask_alone(work: _Proxy, member: Member, *, kept_for: Sequence[Unit] = ()) -> LanguageModel | None:
    """A model as it is on every task, unless it is a base; it is loaded for the units in `kept_for` too, and returned."""
    tasks = work.plan.study.tasks if member in work.plan.alone else ()
    units = {task: work.plan.plain_unit(member, task) for task in tasks}
    pending = {task: unit for task, unit in units.items() if work.is_open(unit)}
    model = work.loaded(partial(work.plan.load, member), [*pending.values(), *kept_for])
    if model is not None:
        for task, unit in pending.items():
            work.attempt(unit, partial(_plain, work, member, model, task))
    return model


def _plain(work: _Proxy, member: Member, model: LanguageModel, task: TaskConfig) -> Answer:
    outcomes, dataset = work.ask(model, task), f"{task.title}/test"
    if member == work.plan.expert:
        (work.by_expert[task],) = outcomes
    rows = rows_of(model, [PLAIN], outcomes, dataset, conventions=work.conventions)
    return rows, {SAMPLES: samples_of([PLAIN], outcomes, dataset)}


def _tune_all(work: _Proxy) -> None:
    """Expert and anti-expert as they are, then every base by proxy; the two are loaded once, if anything is left to do."""
    plan = work.plan
    pending = [plan.proxied_unit(base, task) for base in plan.bases for task in plan.study.tasks]
    pending = [unit for unit in pending if work.is_open(unit)]
    expert = _ask_alone(work, plan.expert, kept_for=pending)
    anti_expert = _ask_alone(work, plan.anti_expert, kept_for=pending if expert else ())
    if not pending or expert is None or anti_expert is None:
        return
    tuned = _Tuned(expert=expert, anti_expert=anti_expert)
    for base in plan.bases:
        _tune(work, tuned, base)


def _tune(work: _Proxy, tuned: _Tuned, base: Member) -> None:
    units = {task: work.plan.proxied_unit(base, task) for task in work.plan.study.tasks}
    pending = {task: unit for task, unit in units.items() if work.is_open(unit)}
    # The base may be the anti-expert itself, whose network then serves in both places.
    is_same = base.pinned == work.plan.anti_expert.pinned
    model = tuned.anti_expert if is_same else work.loaded(partial(work.plan.load, base), list(pending.values()))
    if model is None:
        return
    for task, unit in pending.items():
        work.attempt(unit, partial(_proxied, work, tuned, model, task))


def _proxied(work: _Proxy, tuned: _Tuned, model: LanguageModel, task: TaskConfig) -> Answer:
    """The base and all strengths answer side by side."""
    alphas, dataset = work.plan.study.alphas, f"{task.title}/test"
    name = label_of(work.plan)
    versions = (PLAIN, *(Version(vector=name, alpha=alpha) for alpha in alphas))
    with ProxyTuning(expert=tuned.expert, anti_expert=tuned.anti_expert, alphas=(0.0, *alphas)).on(model) as proxied:
        outcomes = work.ask(proxied, task)
    rows = rows_of(model, versions, outcomes, dataset, conventions=work.conventions)
    expert = _of_expert(work, tuned, task)
    for version, outcome in zip(versions[1:], outcomes[1:], strict=True):
        rows += _over_expert(work, model, version, outcome, expert, dataset)
    return rows, {SAMPLES: samples_of(versions, outcomes, dataset), **work.weights_of(model)}


def label_of(plan: ProxyPlan) -> str:
    """What rows of proxy-tuned models say was done."""
    return f"proxy:{plan.expert.checkpoint.key}-{plan.anti_expert.checkpoint.key}"


def _of_expert(work: _Proxy, tuned: _Tuned, task: TaskConfig) -> Outcome:
    """What the expert answers, asked once a start: as it is, or here where that was finished before."""
    if task not in work.by_expert:
        (work.by_expert[task],) = work.ask(tuned.expert, task)
    return work.by_expert[task]


def _over_expert(
    work: _Proxy, model: LanguageModel, version: Version, outcome: Outcome, expert: Outcome, dataset: str
) -> list[Measurement]:
    """By how much a base that is tuned by proxy differs from the expert on the same items."""
    found = changes(outcome, expert, seed=work.conventions.seed)
    named = [replace(one, quantity=one.quantity.replace("_change", f"_{OVER_EXPERT}")) for one in found]
    return [measured(model, one, version, dataset, work.conventions) for one in named]


def _conclude(work: _Proxy) -> None:
    plan = work.plan
    work.conclude(
        plan.units,
        {
            "checkpoints": {one.checkpoint.key: one.checkpoint.commit for one in (*plan.alone, *plan.bases)},
            "bases": [base.checkpoint.key for base in plan.bases],
            "expert": plan.expert.checkpoint.key,
            "anti_expert": plan.anti_expert.checkpoint.key,
            "equal_weights": work.equal_weights(
                {
                    base.checkpoint.key: [plan.proxied_unit(base, task) for task in plan.study.tasks]
                    for base in plan.bases
                }
            ),
        },
    )
