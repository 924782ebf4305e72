"""Fine-tuning: the baseline that steering has to be compared with, judged on the same items in the same way."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trustrace.core.errors import DiskFullError, RunError
from trustrace.core.measurements import Estimate, Measurement
from trustrace.core.progress import Progress, silent
from trustrace.evaluation.outcomes import Outcome
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load
from trustrace.models.sources import open_source
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.evaluating import FAILURES, SAMPLES, require_success
from trustrace.studies.judging import EndpointOptions
from trustrace.studies.settings import Settings
from trustrace.studies.steering.compute import SearchCompute, search_compute
from trustrace.studies.tuning.config import FinetuneConfig
from trustrace.studies.tuning.plan import Base, FinetunePlan, Tuning, plan_finetune
from trustrace.studies.versions import PLAIN, Conventions, Version, rows_of, samples_of
from trustrace.studies.working import Answer, Work, claimed
from trustrace.training.tuning import RECORD, tune_checkpoint
from trustrace.training.tuning_config import Budget

TUNED = "tuned"
"""The folder of a run in which tuned models lie, each in a folder of its own."""


@dataclass(kw_only=True)
class _Finetune(Work):
    """A fine-tuning study at work."""

    plan: FinetunePlan
    # A tuning whose loss is not finite is over; the others are not.
    forgiven: tuple[type[Exception], ...] = (*FAILURES, RunError)
    fatal: tuple[type[Exception], ...] = (DiskFullError,)

    @property
    def conventions(self) -> Conventions:
        """What every row says of how it was asked."""
        return Conventions(protocol=self.plan.study.protocol, seed=self.plan.study.seed)

    def folder(self, base: Base, tuning: Tuning) -> Path:
        """Where a tuned model lies."""
        return self.ledger.folder / TUNED / self.plan.tune_unit(base, tuning).folder


@dataclass(kw_only=True)
class _Plain:
    """A model as it is, what it answered (changes are against these very answers), and what a search would take in it."""

    model: LanguageModel
    outcomes: dict[TaskConfig, Sequence[Outcome]] = field(default_factory=dict)
    searched: SearchCompute | None = None

    def aside(self) -> None:
        """Wait in the processor's memory, while another model needs the device's."""
        self.model.module.to("cpu")

    def on(self, device: str) -> LanguageModel:
        """The model where it is asked, and back there where it waited."""
        self.model.module.to(torch.device(device))
        return self.model


def run_finetune(
    study: FinetuneConfig,
    *,
    out: Path,
    settings: Settings,
    judging: EndpointOptions | None = None,
    progress: Progress = silent,
) -> Path:
    """Do what `study` asks for and `out` does not hold yet, then write the table and the manifest.

    Returns:
        The path of the tidy table. Tuned models lie in ``tuned/``, each a Hugging Face or a PEFT folder.

    Raises:
        RunError: `out` belongs to another study, or units failed; what is finished is in the table all the same.
        ConfigError, DataError, ModelError, MissingExtraError: as for planning the study.
    """
    plan = plan_finetune(study, settings=settings)
    with claimed(out, plan, study=study.model_dump(mode="json")) as ledger:
        work = _Finetune(plan=plan, ledger=ledger, settings=settings, judging=judging, progress=progress)
        try:
            for base in plan.bases:
                _do(work, base)
        finally:
            _conclude(work)
        require_success(ledger, plan.units)
    return out / "measurements.parquet"


def _do(work: _Finetune, base: Base) -> None:
    """Everything that is done with one base, if anything is left to do."""
    pending = [unit for unit in work.plan.units_of(base) if work.is_open(unit)]
    model = work.loaded(partial(_loaded, work, base), pending)
    if model is None:
        return
    plain = _Plain(model=model)
    for task in work.plan.study.asked:
        unit = work.plan.plain_unit(base, task)
        if work.is_open(unit):
            work.attempt(unit, partial(_as_it_is, work, plain, task))
    for tuning in work.plan.tunings:
        _tune_and_test(work, base, plain, tuning)


def _tune_and_test(work: _Finetune, base: Base, plain: _Plain, tuning: Tuning) -> None:
    """A tuning that fails leaves its tests open: they wait for it."""
    unit, folder = work.plan.tune_unit(base, tuning), work.folder(base, tuning)
    tests = {task: work.plan.test_unit(base, tuning, task) for task in work.plan.study.asked}
    is_tested = not any(map(work.is_open, tests.values()))
    if work.is_open(unit):
        work.attempt(unit, partial(_tuned, work, base, plain, tuning))
    if work.is_open(unit) or is_tested:
        return
    try:
        if not folder.is_dir():
            _tuned(work, base, plain, tuning)  # it has been removed since
        source = open_source(str(folder))
        model = _loaded(work, Base(source=source, checkpoint=source.checkpoints()[-1]))
    except FAILURES as error:
        work.ledger.fail(next(filter(work.is_open, tests.values())), error)
        return
    for task, test in tests.items():
        if work.is_open(test):
            work.attempt(test, partial(_tested, work, plain, model, tuning, task))


def _loaded(work: _Finetune, base: Base) -> LanguageModel:
    return load(
        base.source,
        base.checkpoint,
        device=work.settings.torch_device(),
        dtype=work.plan.study.dtype,
        trust_remote_code=work.plan.study.trust_remote_code,
    )


def _as_it_is(work: _Finetune, plain: _Plain, task: TaskConfig) -> Answer:
    outcomes, dataset = _outcomes(work, plain, task), f"{task.title}/test"
    rows = rows_of(plain.model, [PLAIN], outcomes, dataset, conventions=work.conventions)
    return rows, {SAMPLES: samples_of([PLAIN], outcomes, dataset), **work.weights_of(plain.model)}


def _tested(work: _Finetune, plain: _Plain, model: LanguageModel, tuning: Tuning, task: TaskConfig) -> Answer:
    """The rows are the base's, done to which something was: as for a model that is told or steered."""
    before, after = _outcomes(work, plain, task), work.ask(model, task)
    versions, dataset = (PLAIN, Version(vector=label_of(tuning))), f"{task.title}/test"
    outcomes = (*before, *after)
    rows = rows_of(plain.model, versions, outcomes, dataset, conventions=work.conventions, with_plain=False)
    return rows, {SAMPLES: samples_of(versions, outcomes, dataset)}


def label_of(tuning: Tuning) -> str:
    """What the rows of a tuned model say was done: ``lora:world``."""
    data, method = tuning
    return f"{method.name}:{data.name}"


def _outcomes(work: _Finetune, plain: _Plain, task: TaskConfig) -> Sequence[Outcome]:
    """What the model as it is answers, asked once."""
    if task not in plain.outcomes:
        plain.outcomes[task] = work.ask(plain.on(work.settings.torch_device()), task)
    return plain.outcomes[task]


def _tuned(work: _Finetune, base: Base, plain: _Plain, tuning: Tuning) -> Answer:
    data, method = tuning
    study, lessons = work.plan.study, work.plan.lessons[data.name]
    searched = _searched(work, plain)
    # Not put back when the tuning ends: one that failed for want of memory may hold it a while longer.
    plain.aside()
    folder = tune_checkpoint(
        base.source,
        base.checkpoint,
        lessons.exchanges,
        config=study.recipe_of(method),
        adapter=method.adapter,
        budget=_budget(work, searched),
        out=work.folder(base, tuning),
        device=work.settings.torch_device(),
        trust_remote_code=study.trust_remote_code,
        progress=work.progress,
    )
    record = (folder / RECORD).read_bytes()
    return _facts(work, plain, tuning, json.loads(record), searched), {RECORD: record}


def _searched(work: _Finetune, plain: _Plain) -> SearchCompute | None:
    compute, steering = work.plan.study.compute, work.plan.steering
    if compute is None or steering is None:
        return None
    if plain.searched is None:
        plain.searched = search_compute(
            steering,
            plain.on(work.settings.torch_device()),
            contrasts=compute.contrasts,
            settings=work.settings,
            progress=work.progress,
        )
    return plain.searched


def _budget(work: _Finetune, searched: SearchCompute | None) -> Budget | None:
    compute = work.plan.study.compute
    if searched:
        return Budget(flops=searched.flops)
    return Budget(tokens=compute.tokens, flops=compute.flops) if compute else None


def _facts(
    work: _Finetune, plain: _Plain, tuning: Tuning, record: dict[str, Any], searched: SearchCompute | None
) -> list[Measurement]:
    """What a tuning learned and took, and what a search would have taken, as rows."""
    data, _ = tuning
    lessons, spent = work.plan.lessons[data.name], record["compute"]
    losses, kept = record["held_out_loss"], str(record["kept_step"])
    learned = f"on held-out groups, in nats a token, after update {kept} of {spent['updates']}"
    if lessons.left_out:
        learned += f"; {lessons.left_out} exchanges left out, whose groups hold what is asked on the test half"
    share = f"{spent['trained']} of {spent['parameters']} weights"
    facts: list[tuple[str, float | int, str]] = [
        ("held_out_loss", losses[kept], learned),
        ("held_out_loss_change", losses[kept] - losses["0"], learned),
        ("training_tokens", spent["training_tokens"], f"those of held-out looks aside; {share} are trained"),
        (
            "training_flops",
            spent["flops"],
            f"6 N a token, less what frozen weights save, and 2 N a held-out token; {share} are trained",
        ),
    ]
    if documents := record.get("held_out_loss_documents"):
        note = f"documents that are rehearsed, on held-out groups, in nats a token, after update {kept}; they do not choose it"
        facts += [("held_out_loss_documents", documents[kept], note)]
        facts += [("held_out_loss_documents_change", documents[kept] - documents["0"], note)]
    if searched:
        note = (
            f"2 N a token, as though each of {searched.settings} settings read every item by itself; "
            "controls and the test half are not counted"
        )
        facts += [("search_tokens", searched.tokens, note), ("search_flops", searched.flops, note)]
    return [_fact(work, plain, tuning, one) for one in facts]


def _fact(work: _Finetune, plain: _Plain, tuning: Tuning, fact: tuple[str, float | int, str]) -> Measurement:
    data, method = tuning
    lessons = work.plan.lessons[data.name]
    quantity, value, note = fact
    estimate = Estimate(
        quantity=quantity,
        method=method.method,
        value=float(value),
        n=len(lessons.exchanges),
        n_groups=lessons.n_groups,
        note=note,
    )
    return Measurement.of(
        estimate,
        dataset=f"tuning/{data.name}",
        protocol=work.conventions.protocol,
        seed=work.conventions.seed,
        checkpoint=plain.model.checkpoint,
        vector=label_of(tuning),
    )


def _conclude(work: _Finetune) -> None:
    plan = work.plan
    work.conclude(
        plan.units,
        {
            "models": {one.checkpoint.key: one.checkpoint.commit for one in plan.bases},
            "equal_weights": work.equal_weights(
                {one.checkpoint.key: [plan.plain_unit(one, task) for task in plan.study.asked] for one in plan.bases}
            ),
            "lessons": {one.name: [len(one.exchanges), one.fingerprint] for one in plan.lessons.values()},
        },
    )
