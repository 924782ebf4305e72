"""Steering: vectors of pre-training checkpoints, chosen on the development half, judged on the test half, beside controls."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import MeasurementError
from trustrace.core.progress import Progress, silent
from trustrace.evaluation.outcomes import Outcome
from trustrace.interventions.applying import require_target
from trustrace.interventions.positions import Positions
from trustrace.interventions.prompting import Prompting
from trustrace.models.language_model import LanguageModel
from trustrace.runs.identity import Unit
from trustrace.runs.reading import read_document
from trustrace.steering import files
from trustrace.steering.separation import cosines, separation
from trustrace.steering.vectors import SteeringVector
from trustrace.studies.abilities import Half, TaskConfig
from trustrace.studies.evaluating import FAILURES, REFERENCE_TEXTS, SAMPLES, require_success
from trustrace.studies.judging import EndpointOptions
from trustrace.studies.settings import Settings
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.steering.plan import Contrast, SteerPlan, Target, plan_steer
from trustrace.studies.steering.relations import CHOSEN, Kept, relations
from trustrace.studies.steering.search import random_versions, run_in_parts, search, versions_of
from trustrace.studies.vectors import Recipe, capturing, residual_norms, vectors_in
from trustrace.studies.versions import PLAIN, Conventions, Version, measured, rows_of, samples_of
from trustrace.studies.working import Answer, Work, claimed

VECTORS = "vectors.safetensors"


@dataclass(kw_only=True)
class _Steer(Work):
    """A steering study at work, and what the target at hand does unsteered on the test half."""

    plan: SteerPlan
    unsteered: dict[TaskConfig, Outcome] = field(default_factory=dict)

    @property
    def conventions(self) -> Conventions:
        """What every row says of how it was asked."""
        study = self.plan.study
        return Conventions(protocol=study.protocol, seed=study.seed, positions=Positions.parse(study.positions))

    def vectors(self, source: Checkpoint, contrast: Contrast) -> tuple[SteeringVector, ...]:
        """The recorded vectors of one contrast in one checkpoint.

        Raises:
            MeasurementError: there are none, since they could not be built.
        """
        unit = self.plan.vectors_unit(source, contrast)
        if self.is_open(unit):
            raise MeasurementError(f"it needs the vectors of {contrast.name} in {source.key}, which could not be built")
        return files.load(self.ledger.file_of(unit, VECTORS))


def run_steer(
    study: SteerConfig,
    *,
    out: Path,
    settings: Settings,
    judging: EndpointOptions | None = None,
    progress: Progress = silent,
) -> Path:
    """Do what `study` asks for and `out` does not hold yet, then write the table and the manifest.

    `judging` says how endpoint judges are asked, and what they may cost.

    Returns:
        The path of the tidy table.

    Raises:
        RunError: `out` belongs to another study, or units failed; what is finished is in the table all the same.
    """
    plan = plan_steer(study, settings=settings)
    with claimed(out, plan, study=study.model_dump(mode="json")) as ledger:
        steer = _Steer(plan=plan, ledger=ledger, settings=settings, judging=judging, progress=progress)
        try:
            for source in plan.sources:
                _build(steer, source)
            for target in plan.targets:
                _steer_target(steer, target)
            _relate(steer)
        finally:
            _conclude(steer)
        require_success(ledger, (*plan.units, _relations_unit(steer)))
    return out / "measurements.parquet"


def _build(steer: _Steer, source: Checkpoint) -> None:
    """The vectors of every contrast in one checkpoint, which is loaded once."""
    units = {contrast.name: steer.plan.vectors_unit(source, contrast) for contrast in steer.plan.contrasts}
    pending = [contrast for contrast in steer.plan.contrasts if steer.is_open(units[contrast.name])]
    model = steer.loaded(partial(steer.plan.load_source, source), [units[contrast.name] for contrast in pending])
    if model is None:
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
    rows += [
        measured(model, estimate, Version(vector=vector.key, site=vector.site), contrast.name, steer.conventions)
        for vector, estimate in cosines(vectors)
    ]
    return rows, {**written, **steer.weights_of(model)}


def _steer_target(steer: _Steer, target: Target) -> None:
    """Everything that is done with one target, which is loaded once, if anything is left to do."""
    plan = steer.plan
    searches = [
        (origin, contrast, _units_of(plan, target, origin, contrast))
        for contrast in plan.contrasts
        for origin in plan.origins
    ]
    others = [plan.plain_unit(target, *asked) for asked in plan.asked_plainly]
    others += [plan.instruction_unit(target, *one) for one in plan.told]
    pending = [unit for unit in (*others, *chain.from_iterable(own for *_, own in searches)) if steer.is_open(unit)]
    if not pending:
        return
    try:
        model = plan.load_target(target)
        norms = {contrast.name: _norms(steer, model, contrast) for contrast in plan.contrasts}
    except FAILURES as error:
        for unit in pending:
            steer.ledger.fail(unit, error)
        return
    steer.unsteered.clear()
    for task, half in plan.asked_plainly:
        unit = plan.plain_unit(target, task, half)
        if steer.is_open(unit):
            steer.attempt(unit, partial(_plain, steer, model, task, half=half))
    for origin, contrast, own in searches:
        if any(map(steer.is_open, own)):
            _search_and_test(steer, target, model, origin, contrast, norms[contrast.name])
    for contrast, task in plan.told:
        unit = plan.instruction_unit(target, contrast, task)
        if steer.is_open(unit):
            steer.attempt(unit, partial(_told, steer, model, contrast, task))


def _units_of(plan: SteerPlan, target: Target, origin: Checkpoint | None, contrast: Contrast) -> list[Unit]:
    """The search, and what waits for it."""
    tests = [plan.test_unit(target, origin, contrast, task) for task in plan.tested]
    return [plan.search_unit(target, origin, contrast), *tests]


def _norms(steer: _Steer, model: LanguageModel, contrast: Contrast) -> Mapping[str, float]:
    """How long the target's own residual stream is on the statements that the vectors are made of."""
    study, statements = steer.plan.study, contrast.statements
    if study.unit != "target_norm":
        return dict.fromkeys(study.sites, math.nan)
    development = [row for row, split in enumerate(statements.splits) if split != "test"]
    return residual_norms(
        model,
        statements.take(development[:REFERENCE_TEXTS]).texts,
        sites=study.sites,
        settings=steer.settings,
        position=study.position,
        truncation="left",
    )


def _search_and_test(
    steer: _Steer,
    target: Target,
    model: LanguageModel,
    origin: Checkpoint | None,
    contrast: Contrast,
    norms: Mapping[str, float],
) -> None:
    """A search that fails leaves its tests open: they wait for it."""
    searched, *tests = _units_of(steer.plan, target, origin, contrast)
    try:
        vectors = _vectors_for(steer, target, model, origin, contrast)
        versions = _versions(steer, vectors, origin, contrast, norms)
    except FAILURES as error:
        steer.ledger.fail(next(filter(steer.is_open, (searched, *tests))), error)
        return
    if steer.is_open(searched):
        steer.attempt(searched, partial(_searched, steer, model, versions, contrast))
    if steer.is_open(searched):
        return
    names = read_document(steer.ledger.file_of(searched, CHOSEN), Kept)["chosen"]
    chosen = [version for version in versions if [version.vector, version.site, version.alpha] in names]
    for task, unit in zip(steer.plan.tested, tests, strict=True):
        if steer.is_open(unit):
            steer.attempt(unit, partial(_tested, steer, model, chosen, task))


def _vectors_for(
    steer: _Steer, target: Target, model: LanguageModel, origin: Checkpoint | None, contrast: Contrast
) -> tuple[SteeringVector, ...]:
    """The vectors of `origin`, or those that random directions are measured out like, if they may act in the target."""
    vectors = steer.vectors(origin or steer.plan.sources[-1], contrast)
    for vector in vectors:
        require_target(vector, model, allow=target.allow)
    return vectors


def _versions(
    steer: _Steer,
    vectors: Sequence[SteeringVector],
    origin: Checkpoint | None,
    contrast: Contrast,
    norms: Mapping[str, float],
) -> list[Version]:
    study = steer.plan.study
    if origin is None:
        return random_versions(vectors, study, norms, contrast=contrast.name)
    return versions_of(vectors, study, norms)


def _plain(steer: _Steer, model: LanguageModel, task: TaskConfig, *, half: Half) -> Answer:
    """The unsteered model's own numbers are recorded here, once."""
    if half == "test":
        outcomes: Sequence[Outcome] = [_unsteered(steer, model, task)]
    else:
        outcomes = steer.ask(model, task, half=half)
    dataset = f"{task.title}/{half}"
    rows = rows_of(model, [PLAIN], outcomes, dataset, conventions=steer.conventions)
    return rows, {SAMPLES: samples_of([PLAIN], outcomes, dataset)}


def _searched(steer: _Steer, model: LanguageModel, versions: Sequence[Version], contrast: Contrast) -> Answer:
    study = steer.plan.study
    found = search(
        model,
        versions,
        task=steer.opened(contrast.config.task, half="development"),
        perplexity=steer.opened(study.perplexity.task, half="development"),
        contrast=contrast.config,
        study=study,
        conventions=steer.conventions,
        settings=steer.settings,
        progress=steer.progress,
    )
    names = [[version.vector, version.site, version.alpha] for version in found.chosen]
    return found.rows, {CHOSEN: json.dumps({"chosen": names, "better": found.better}).encode()}


def _tested(steer: _Steer, model: LanguageModel, chosen: Sequence[Version], task: TaskConfig) -> Answer:
    if not chosen:
        return [], {}
    versions, opened = (PLAIN, *chosen), steer.opened(task)
    asked = partial(
        run_in_parts,
        model,
        task=opened,
        conventions=steer.conventions,
        settings=steer.settings,
        progress=steer.progress,
    )
    # How far a version is from the plain model is seen side by side alone; else the plain model is asked once for all.
    is_apart = task.name == "divergence"
    outcomes = asked(versions) if is_apart else [_unsteered(steer, model, task), *asked(chosen)]
    dataset = f"{task.title}/test"
    rows = rows_of(model, versions, outcomes, dataset, conventions=steer.conventions, with_plain=False)
    return rows, {SAMPLES: samples_of(versions, outcomes, dataset)}


def _told(steer: _Steer, model: LanguageModel, contrast: Contrast, task: TaskConfig) -> Answer:
    with Prompting(instruction=str(contrast.config.instruction)).on(model) as told:
        outcomes = (_unsteered(steer, model, task), *steer.ask(told, task))
    versions = (PLAIN, Version(vector=f"instruction:{contrast.name}"))
    dataset = f"{task.title}/test"
    rows = rows_of(model, versions, outcomes, dataset, conventions=steer.conventions, with_plain=False)
    return rows, {SAMPLES: samples_of(versions, outcomes, dataset)}


def _unsteered(steer: _Steer, model: LanguageModel, task: TaskConfig) -> Outcome:
    """What the target does as it is on the test half, asked once: whatever is done to it is compared with that."""
    if task not in steer.unsteered:
        (steer.unsteered[task],) = steer.ask(model, task)
    return steer.unsteered[task]


def _relate(steer: _Steer) -> None:
    unit = _relations_unit(steer)
    if steer.is_open(unit):
        steer.attempt(unit, lambda: (relations(steer.plan, steer.ledger), {}))


def _relations_unit(steer: _Steer) -> Unit:
    return steer.plan.relations_unit([unit for unit in steer.plan.units if not steer.is_open(unit)])


def _conclude(steer: _Steer) -> None:
    plan = steer.plan
    steer.conclude(
        [*plan.units, _relations_unit(steer)],
        {
            "sources": {one.key: [one.commit, one.step, one.tokens_seen] for one in plan.sources},
            "targets": {one.checkpoint.key: one.checkpoint.commit for one in plan.targets},
            "equal_weights": steer.equal_weights(
                {one.key: [plan.vectors_unit(one, contrast) for contrast in plan.contrasts] for one in plan.sources}
            ),
        },
    )
