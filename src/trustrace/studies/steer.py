"""Steering: vectors of pre-training checkpoints, chosen on the development half, judged on the test half, beside controls."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ModelError
from trustrace.core.measurements import Measurement
from trustrace.core.progress import Progress, silent
from trustrace.interventions.applying import require_target
from trustrace.interventions.positions import Positions
from trustrace.interventions.prompting import Prompting
from trustrace.models.language_model import LanguageModel
from trustrace.runs.identity import Unit
from trustrace.runs.ledger import Ledger
from trustrace.runs.manifest import environment
from trustrace.steering import files
from trustrace.steering.separation import separation
from trustrace.steering.vectors import SteeringVector
from trustrace.studies.abilities import TaskConfig, open_task
from trustrace.studies.evaluating import FAILURES, SAMPLES, reference_texts, require_success
from trustrace.studies.settings import Settings
from trustrace.studies.steer_config import SteerConfig
from trustrace.studies.steer_plan import Contrast, SteerPlan, Target, plan_steer
from trustrace.studies.steer_relations import CHOSEN, relations
from trustrace.studies.steer_search import random_versions, search, versions_of
from trustrace.studies.vectors import Recipe, capturing, residual_norms, vectors_in
from trustrace.studies.versions import PLAIN, Conventions, Version, measured, rows_of, run_versions, samples_of

VECTORS = "vectors.safetensors"

Answer = tuple[list[Measurement], Mapping[str, bytes]]


@dataclass(kw_only=True)
class _Steer:
    """A steering study at work: what to do, where the results go, who is told."""

    plan: SteerPlan
    ledger: Ledger
    settings: Settings
    progress: Progress
    conventions: Conventions = field(init=False)

    def __post_init__(self) -> None:
        study = self.plan.study
        self.conventions = Conventions(
            protocol=study.protocol, seed=study.seed, positions=Positions.parse(study.positions)
        )

    def attempt(self, unit: Unit, work: Callable[[], Answer]) -> None:
        """Record what `work` gives as the answer of `unit`, or why it failed."""
        started = time.perf_counter()
        try:
            rows, beside = work()
        except FAILURES as error:
            self.ledger.fail(unit, error)
        else:
            self.ledger.finish(unit, rows, seconds=time.perf_counter() - started, files=beside)
        done = sum(map(self.ledger.is_finished, self.plan.units))
        self.progress(done, len(self.plan.units), "units")

    def is_open(self, unit: Unit) -> bool:
        return not self.ledger.is_finished(unit)

    def vectors(self, source: Checkpoint, contrast: Contrast) -> tuple[SteeringVector, ...]:
        """The recorded vectors of one contrast in one checkpoint."""
        return files.load(self.ledger.file_of(self.plan.vectors_unit(source, contrast), VECTORS))


def run_steer(study: SteerConfig, *, out: Path, settings: Settings, progress: Progress = silent) -> Path:
    """Do what `study` asks for and `out` does not hold yet, then write the table and the manifest.

    Returns:
        The path of the tidy table.

    Raises:
        RunError: `out` belongs to another study, or units failed; what is finished is in the table all the same.
    """
    plan = plan_steer(study, settings=settings)
    with Ledger.open(out, study=study.model_dump(mode="json")) as ledger:
        steer = _Steer(plan=plan, ledger=ledger, settings=settings, progress=progress)
        ledger.forget_failures(plan.units)
        ledger.write("plan.json", [{"unit": unit.folder, "name": unit.name} for unit in plan.units])
        try:
            for source in plan.sources:
                _build(steer, source)
            for target in plan.targets:
                _steer_target(steer, target)
            _relate(steer)
        finally:
            _conclude(steer)
        require_success(ledger, plan.units)
    return out / "measurements.parquet"


def _build(steer: _Steer, source: Checkpoint) -> None:
    """The vectors of every contrast in one checkpoint, which is loaded once."""
    units = {contrast.name: steer.plan.vectors_unit(source, contrast) for contrast in steer.plan.contrasts}
    pending = [contrast for contrast in steer.plan.contrasts if steer.is_open(units[contrast.name])]
    if not pending:
        return
    try:
        model = steer.plan.load_source(source)
    except ModelError as error:
        for contrast in pending:
            steer.ledger.fail(units[contrast.name], error)
        return
    for contrast in pending:
        steer.attempt(units[contrast.name], partial(_vectors, steer, model, contrast))


def _vectors(steer: _Steer, model: LanguageModel, contrast: Contrast) -> Answer:
    study = steer.plan.study
    recipe = Recipe(sites=study.sites, kinds=study.kinds, position=study.position, seed=study.seed, draws=0)
    with (
        steer.ledger.scratch() as folder,
        capturing(
            model,
            contrast.statements.texts,
            sites=study.sites,
            position=study.position,
            truncation="left",
            settings=steer.settings,
            scratch=folder,
            fingerprint=contrast.statements.texts_fingerprint,
            progress=steer.progress,
        ) as activations,
    ):
        vectors = vectors_in(activations, contrast.statements, model=model, recipe=recipe)
        files.save(vectors, folder / VECTORS)
        written = {path.name: path.read_bytes() for path in folder.glob(f"{VECTORS}*")}
        rows = [
            measured(
                model,
                separation(vector, activations, contrast.statements, seed=study.seed),
                Version(vector=vector.key, site=vector.site),
                f"{contrast.name}/test",
                steer.conventions,
            )
            for vector in vectors
        ]
    return rows, written


def _steer_target(steer: _Steer, target: Target) -> None:
    """Everything that is done with one target, which is loaded once, if anything is left to do."""
    plan = steer.plan
    searches = [(origin, contrast) for contrast in plan.contrasts for origin in plan.origins]
    pending = [plan.search_unit(target, *place) for place in searches]
    pending += [plan.test_unit(target, *place, task) for place in searches for task in plan.tested]
    told = [one for one in plan.contrasts if one.config.instruction]
    pending += [plan.instruction_unit(target, contrast, task) for contrast in told for task in plan.tested]
    pending = [unit for unit in pending if steer.is_open(unit)]
    if not pending:
        return
    try:
        model = plan.load_target(target)
        texts = reference_texts(steer.settings)
        norms = residual_norms(model, texts, sites=plan.study.sites, settings=steer.settings, truncation="left")
    except FAILURES as error:
        for unit in pending:
            steer.ledger.fail(unit, error)
        return
    for origin, contrast in searches:
        _search_and_test(steer, target, model, origin, contrast, norms)
    for contrast in told:
        _tell(steer, target, model, contrast)


def _search_and_test(
    steer: _Steer,
    target: Target,
    model: LanguageModel,
    origin: Checkpoint | None,
    contrast: Contrast,
    norms: Mapping[str, float],
) -> None:
    plan = steer.plan
    searched = plan.search_unit(target, origin, contrast)
    versions: list[Version] = []
    with suppress(*FAILURES):
        versions = _versions(steer, model, origin, contrast, norms)
    if steer.is_open(searched):
        steer.attempt(searched, partial(_searched, steer, model, origin, contrast, norms))
    if steer.is_open(searched):
        return
    names = json.loads(steer.ledger.file_of(searched, CHOSEN).read_text("utf-8"))["chosen"]
    chosen = [version for version in versions if [version.vector, version.site, version.alpha] in names]
    for task in plan.tested:
        unit = plan.test_unit(target, origin, contrast, task)
        if steer.is_open(unit):
            steer.attempt(
                unit,
                partial(_tested, steer, model, [PLAIN, *chosen], task, with_plain=_is_first(steer, origin, contrast)),
            )


def _versions(
    steer: _Steer, model: LanguageModel, origin: Checkpoint | None, contrast: Contrast, norms: Mapping[str, float]
) -> list[Version]:
    study = steer.plan.study
    vectors = steer.vectors(origin or steer.plan.sources[-1], contrast)
    for vector in vectors:
        require_target(vector, model)
    if origin is None:
        return random_versions(vectors, study, norms, contrast=contrast.name)
    return versions_of(vectors, study, norms)


def _searched(
    steer: _Steer, model: LanguageModel, origin: Checkpoint | None, contrast: Contrast, norms: Mapping[str, float]
) -> Answer:
    study, settings = steer.plan.study, steer.settings
    found = search(
        model,
        _versions(steer, model, origin, contrast, norms),
        task=_task(steer, contrast.config.task, half="development"),
        perplexity=_task(steer, study.perplexity.task, half="development"),
        contrast=contrast.config,
        study=study,
        conventions=steer.conventions,
        settings=settings,
        with_plain=_is_first(steer, origin, contrast),
        progress=steer.progress,
    )
    names = [[version.vector, version.site, version.alpha] for version in found.chosen]
    return found.rows, {CHOSEN: json.dumps({"chosen": names, "better": found.better}).encode()}


def _is_first(steer: _Steer, origin: Checkpoint | None, contrast: Contrast) -> bool:
    """Whether the unsteered model's numbers are recorded here: it runs beside every search, and is one model."""
    return origin == steer.plan.origins[0] and contrast == steer.plan.contrasts[0]


def _tested(
    steer: _Steer, model: LanguageModel, versions: Sequence[Version], task: TaskConfig, *, with_plain: bool
) -> Answer:
    opened = _task(steer, task, half="test")
    outcomes = run_versions(
        model,
        versions,
        opened,
        conventions=steer.conventions,
        settings=steer.settings,
        progress=steer.progress,
    )
    dataset = f"{task.title}/test"
    rows = rows_of(model, versions, outcomes, dataset, conventions=steer.conventions, with_plain=with_plain)
    return rows, {SAMPLES: samples_of(versions, outcomes, dataset)}


def _tell(steer: _Steer, target: Target, model: LanguageModel, contrast: Contrast) -> None:
    for task in steer.plan.tested:
        unit = steer.plan.instruction_unit(target, contrast, task)
        if steer.is_open(unit):
            steer.attempt(unit, partial(_told, steer, model, contrast, task))


def _told(steer: _Steer, model: LanguageModel, contrast: Contrast, task: TaskConfig) -> Answer:
    opened = _task(steer, task, half="test")
    asked = partial(opened.run, batch_tokens=steer.settings.batch_tokens, progress=steer.progress)
    with Prompting(instruction=str(contrast.config.instruction)).on(model) as told:
        outcomes = (*asked(model), *asked(told))
    versions = (PLAIN, Version(vector=f"instruction:{contrast.name}"))
    dataset = f"{task.title}/test"
    rows = rows_of(model, versions, outcomes, dataset, conventions=steer.conventions, with_plain=False)
    return rows, {SAMPLES: samples_of(versions, outcomes, dataset)}


def _task(steer: _Steer, config: TaskConfig, *, half: Any) -> Any:
    study = steer.plan.study
    return open_task(config, half=half, settings=steer.settings, seed=study.seed, protocol=study.protocol)


def _relate(steer: _Steer) -> None:
    finished = [unit for unit in steer.plan.units if not steer.is_open(unit)]
    unit = steer.plan.relations_unit(finished)
    if steer.is_open(unit):
        steer.attempt(unit, lambda: (relations(steer.plan, steer.ledger), {}))


def _conclude(steer: _Steer) -> None:
    """Write what can be said of the study as it stands, finished or not."""
    plan, ledger = steer.plan, steer.ledger
    finished = [unit for unit in plan.units if not steer.is_open(unit)]
    table = ledger.collect([*plan.units, plan.relations_unit(finished)])
    ledger.write(
        "manifest.json",
        {
            "study": plan.study.name,
            "environment": environment() | {"device": steer.settings.torch_device()},
            "seed": plan.study.seed,
            "rows": table.num_rows,
            "units": {unit.folder: ledger.is_finished(unit) for unit in plan.units},
            "sources": {one.key: [one.commit, one.step, one.tokens_seen] for one in plan.sources},
            "targets": {one.checkpoint.key: one.checkpoint.commit for one in plan.targets},
            "failures": ledger.failures(plan.units),
        },
    )
