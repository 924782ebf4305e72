"""Evaluating one model on some tasks, as it is and steered."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from trustrace.core.errors import ConfigError, EndpointError, MissingExtraError, RunError
from trustrace.core.measurements import Measurement, Protocol
from trustrace.core.progress import Progress, silent
from trustrace.core.sites import POSITIONS, Position
from trustrace.core.statements import Statements
from trustrace.evaluation.outcomes import Task
from trustrace.interventions.applying import Strength, applied, require_target
from trustrace.interventions.positions import Positions
from trustrace.models.language_model import LanguageModel
from trustrace.runs.identity import Unit, canonical_json, code_version
from trustrace.runs.ledger import Ledger
from trustrace.runs.manifest import environment
from trustrace.runs.reading import Planned, read_document
from trustrace.runs.table import read_table
from trustrace.steering import files
from trustrace.steering.fit import Mismatch
from trustrace.steering.vectors import CONTROLS, SteeringVector
from trustrace.studies.abilities import Half, TaskConfig, open_task
from trustrace.studies.apart import asked_by, crosses_halves, made_of, require_unasked
from trustrace.studies.judging import EndpointOptions
from trustrace.studies.settings import Settings
from trustrace.studies.task_facts import inputs_of, unsteered_by
from trustrace.studies.tracing import UNIT_ERRORS
from trustrace.studies.vectors import residual_norms
from trustrace.studies.versions import PLAIN, Conventions, Version, rows_of, run_versions, samples_of

ROOMS = ("core", "datasets", "models", "activations", "measures", "steering", "interventions", "evaluation", "studies")
"""Rooms whose code can change a score."""

FAILURES = (*UNIT_ERRORS, ConfigError, EndpointError, MissingExtraError)
"""What may go wrong with one task while the others go on."""

SAMPLES = "samples.jsonl"

REFERENCE_TEXTS = 200
"""Statements on which the target's residual norm is measured."""


@dataclass(frozen=True, kw_only=True)
class SteerOptions:
    """How a vector is applied.

    Attributes:
        vector: The vector's file.
        alphas: Strengths; each is a version of its own.
        unit: What a strength of 1 is.
        site: Where it acts; where it was found if not given.
        positions: Which tokens it acts on.
        allow: Differences between source and target that are known to be harmless.
        dataset: The labelled statements that the vector was made of, where its own name for them says too little: a file.
        pairs: The alignment pairs that it was made of.
    """

    vector: Path
    alphas: tuple[float, ...]
    unit: Strength = "projection_std"
    site: str | None = None
    positions: Positions = Positions()  # noqa: RUF009 - it is frozen
    allow: tuple[Mismatch, ...] = ()
    dataset: str | None = None
    pairs: Path | None = None


def evaluate_model(
    model: LanguageModel,
    tasks: Sequence[TaskConfig],
    *,
    out: Path,
    settings: Settings,
    steering: SteerOptions | None = None,
    half: Half = "test",
    protocol: Protocol = "rigorous",
    seed: int = 0,
    judging: EndpointOptions | None = None,
    progress: Progress = silent,
) -> Path:
    """Do each of `tasks` with `model`, as it is and with each strength of a vector, and record what `out` does not hold yet.

    Returns:
        The path of the tidy table: all that `out` holds, what was asked for on other days too. Samples lie in the folder of each unit.

    Raises:
        ConfigError: there is no task, a strength is not finite, the vector was made of what a task asks, or its positions do not
            show in one.
        ModelError: the vector does not fit the model.
        RunError: `out` belongs to something else, or a task failed; what is finished is in the table all the same.
    """
    titles = [task.title for task in tasks]
    if not tasks or len(set(titles)) < len(titles):
        raise ConfigError(
            f"tasks are called {', '.join(titles) or '(none)'}; give at least one, and no two of one name: their rows would look alike"
        )
    asked = [inputs_of(task, settings=settings) for task in tasks]
    conventions = Conventions(protocol=protocol, seed=seed, positions=steering.positions if steering else Positions())
    versions: tuple[Version, ...] = (PLAIN,)
    if steering:
        _require_steered(tasks, steering.positions)
        versions += _steered(model, steering, tasks, settings, half=half, seed=seed, protocol=protocol)
    study = _described(model, versions, half=half, conventions=conventions)
    units = [_unit(task, facts, study) for task, facts in zip(tasks, asked, strict=True)]
    with Ledger.open(out, study=study) as ledger:
        planned = _planned(ledger, units)
        ledger.write("plan.json", planned)
        for unit, task in zip(units, tasks, strict=True):
            if ledger.is_finished(unit):
                continue
            bring = partial(
                open_task, task, half=half, settings=settings, seed=seed, protocol=protocol, options=judging
            )
            work = partial(
                _run,
                model,
                versions,
                dataset=f"{task.title}/{half}",
                conventions=conventions,
                settings=settings,
                progress=progress,
            )
            attempt(ledger, unit, bring, work)
        ledger.collect([held for one in planned if (held := ledger.unit_in(one["unit"]))])
        ledger.write("manifest.json", {"study": study, "environment": environment()})
        require_success(ledger, units)
    return out / "measurements.parquet"


def steer_options(
    *,
    vector: Path | None,
    alphas: tuple[float, ...],
    unit: Strength,
    layer: int | None,
    positions: str,
    allow: tuple[Mismatch, ...],
    dataset: str | None = None,
    pairs: Path | None = None,
) -> SteerOptions | None:
    """The options of a command line; None where it names no vector.

    Raises:
        ConfigError: a vector without a strength, a strength without a vector, two sources of one vector, or positions of no meaning.
    """
    if dataset and pairs:
        raise ConfigError("a vector was made of --dataset or of --pairs, not of both; name one")
    if vector is None and not alphas:
        return None
    if vector is None or not alphas:
        raise ConfigError("--vector and --alpha go together; give both, or neither for the model as it is")
    if not all(math.isfinite(alpha) and alpha for alpha in alphas) or len(set(alphas)) < len(alphas):
        raise ConfigError(
            f"--alpha {', '.join(f'{alpha:g}' for alpha in alphas)}: strengths must be finite and differ from 0 and from each other; "
            "the model as it is is always there"
        )
    return SteerOptions(
        vector=vector,
        alphas=alphas,
        unit=unit,
        site=None if layer is None else f"block_{layer}",
        positions=Positions.parse(positions),
        allow=allow,
        dataset=dataset,
        pairs=pairs,
    )


def overview(table: Path) -> list[dict[str, Any]]:
    """The numbers of an evaluation, for a table."""
    rows = [Measurement(**row) for row in read_table(table).to_pylist()]
    p_values = {_where(row, "_change_p"): row.value for row in rows if row.quantity.endswith("_change_p")}
    return [
        {
            "task": row.dataset,
            "quantity": row.quantity,
            "by": row.method,
            "alpha": f"{row.alpha:g}" if row.vector else "",
            "value": f"{row.value:.4g}",
            "95 %": f"{row.lower:.4g} to {row.upper:.4g}",
            "p": f"{p_values[_where(row, '_change')]:.2g}" if _where(row, "_change") in p_values else "",
            "n": row.n,
        }
        for row in rows
        if not row.quantity.endswith("_change_p")
    ]


def remarks(table: Path) -> list[str]:
    """What a reader must know of these numbers, each once."""
    places: dict[str, dict[str, dict[str, None]]] = {}
    for row in read_table(table).to_pylist():
        if row["note"]:
            quantity = row["quantity"].removesuffix("_p").removesuffix("_change")
            places.setdefault(row["note"], {}).setdefault(row["dataset"], {})[quantity] = None
    return [
        f"{'; '.join(f'{dataset}, {quantity}' for dataset, found in datasets.items() for quantity in found)}: {note}"
        for note, datasets in places.items()
    ]


def _where(row: Measurement, ending: str) -> tuple[str, str, str, float] | None:
    """What a change and its p-value share."""
    if not row.quantity.endswith(ending):
        return None
    return row.dataset, row.quantity.removesuffix(ending), row.method, row.alpha


def attempt(
    ledger: Ledger, unit: Unit, bring: Callable[[], Task], work: Callable[[Task], tuple[list[Measurement], bytes]]
) -> None:
    """Record what `work` makes of the task as the answer of `unit`, samples beside it; or why it failed."""
    started = time.perf_counter()
    try:
        rows, samples = work(bring())
    except FAILURES as error:
        ledger.fail(unit, error)
        return
    ledger.finish(unit, rows, seconds=time.perf_counter() - started, files={SAMPLES: samples} if samples else {})


def require_success(ledger: Ledger, units: Sequence[Unit]) -> None:
    """Do nothing where all units are finished.

    Raises:
        RunError: some failed; every reason is said.
    """
    failures = ledger.failures(units)
    if failures:
        waiting = sum(not ledger.is_finished(unit) for unit in units) - len(failures)
        wait = f" and {waiting} wait for them" if waiting else ""
        units_by_reason: dict[str, list[str]] = {}
        for failure in failures:
            units_by_reason.setdefault(failure["message"], []).append(failure["unit"])
        lines = "\n".join(
            f"  {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {reason}"
            for reason, names in list(units_by_reason.items())[:20]
        )
        raise RunError(
            f"{ledger.folder}: {len(failures)} of {len(units)} parts failed{wait}; the others are in the table, "
            f"and the same command tries these again:\n{lines}"
        )


def _run(
    model: LanguageModel,
    versions: Sequence[Version],
    task: Task,
    *,
    dataset: str,
    conventions: Conventions,
    settings: Settings,
    progress: Progress,
) -> tuple[list[Measurement], bytes]:
    outcomes = run_versions(model, versions, task, conventions=conventions, settings=settings, progress=progress)
    rows = rows_of(model, versions, outcomes, dataset, conventions=conventions)
    return rows, samples_of(versions, outcomes, dataset)


def _require_steered(tasks: Sequence[TaskConfig], positions: Positions) -> None:
    for task in tasks:
        if why := unsteered_by(str(positions), task):
            raise ConfigError(f"{why}; leave {task.title} out, or give --positions prompt_last+generated")


def _tested(
    tasks: Sequence[TaskConfig], settings: Settings, *, seed: int, protocol: Protocol
) -> dict[str, tuple[str, ...]]:
    """What each task asks of its test half; nothing for tasks of no labelled set."""
    # A judge says nothing of what is asked, and may take long to load.
    plain = [task.model_copy(update={"truth": (), "info": ()}) for task in tasks]
    opened = (open_task(task, half="test", settings=settings, seed=seed, protocol=protocol) for task in plain)
    texts = {task.title: asked_by(one) for task, one in zip(tasks, opened, strict=True)}
    return {title: found for title, found in texts.items() if found}


def _steered(
    model: LanguageModel,
    steering: SteerOptions,
    tasks: Sequence[TaskConfig],
    settings: Settings,
    *,
    half: Half,
    seed: int,
    protocol: Protocol,
) -> tuple[Version, ...]:
    """One version for each strength."""
    vector = _one_vector(steering.vector)
    site = steering.site or vector.site
    require_target(replace(vector, site=site), model, allow=steering.allow)
    if half == "test" and vector.seed != seed:
        raise ConfigError(
            f"{vector.key} was made of the development half by seed {vector.seed}, and the test half by seed {seed} is another: it holds "
            f"statements that the vector was made of; evaluate with --seed {vector.seed}"
        )
    norm = float("nan")
    crosses = half == "test" and crosses_halves(vector.dataset, protocol)
    asked = _tested(tasks, settings, seed=seed, protocol=protocol) if crosses else {}
    if asked or steering.unit == "target_norm":
        texts = [text for one in asked.values() for text in one]
        statements = made_of(vector, dataset=steering.dataset, pairs=steering.pairs, settings=settings, asked=texts)
        require_unasked(vector, statements, asked)
        if steering.unit == "target_norm":
            norm = _target_norm(model, vector, statements, site, settings)
    return tuple(
        Version(
            vector=vector.key,
            site=site,
            alpha=alpha,
            edits=(applied(vector, alpha=alpha, unit=steering.unit, target_norm=norm, site=site),),
            role="control" if vector.kind in CONTROLS else "measured",
        )
        for alpha in steering.alphas
    )


def _target_norm(
    model: LanguageModel, vector: SteeringVector, statements: Statements, site: str, settings: Settings
) -> float:
    """The median norm of the model's residual stream where the vector was read, as a steering study measures it."""
    if vector.position not in (*POSITIONS, ""):
        raise ConfigError(
            f"{vector.key} was read at {vector.position!r}, where the unit target_norm is not measured; use another --unit"
        )
    norms = residual_norms(
        model,
        reference_texts(statements),
        sites=[site],
        position=cast("Position", vector.position or "last"),
        settings=settings,
        truncation="left",
    )
    return norms[site]


def reference_texts(statements: Statements) -> tuple[str, ...]:
    """The development statements on which a target's norm is measured."""
    development = [row for row, split in enumerate(statements.splits) if split != "test"]
    return statements.take(development[:REFERENCE_TEXTS]).texts


def _one_vector(path: Path) -> SteeringVector:
    vectors = files.load(path)
    if len(vectors) != 1:
        names = ", ".join(vector.key for vector in vectors[:3])
        raise ConfigError(f"{path} holds {len(vectors)} vectors ({names} ...); name the file of one")
    return vectors[0]


def _described(
    model: LanguageModel, versions: Sequence[Version], *, half: Half, conventions: Conventions
) -> dict[str, Any]:
    """What all numbers of this evaluation hang on, whichever task they are of."""
    steered = [
        [
            version.vector,
            version.site,
            version.alpha,
            [[*edit.direction.tolist(), edit.amount] for edit in version.edits],
        ]
        for version in versions
    ]
    digest = hashlib.sha256(canonical_json(steered).encode()).hexdigest()
    return {
        "study": "evaluate",
        "model": [model.checkpoint.key, model.checkpoint.commit],
        "versions": [[version.vector, version.site, version.alpha] for version in versions],
        "edits": digest,
        "dtype": str(model.dtype).removeprefix("torch."),
        "positions": str(conventions.positions),
        "half": half,
        "protocol": conventions.protocol,
        "seed": conventions.seed,
    }


def _unit(task: TaskConfig, facts: Mapping[str, Any], study: Mapping[str, Any]) -> Unit:
    inputs = {**study, "task": facts, "code": code_version(*ROOMS)}
    return Unit(step="evaluate", name=f"{study['model'][0]}/{task.title}", inputs=inputs)


def _planned(ledger: Ledger, units: Sequence[Unit]) -> list[dict[str, str]]:
    """Every task that the folder was ever asked for, in that order; one that is asked in another way takes its own place."""
    path = ledger.folder / "plan.json"
    before = read_document(path, list[Planned]) if path.is_file() else []
    asked = [*before, *({"unit": unit.folder, "name": unit.name} for unit in units)]
    return list({one["name"]: one for one in asked}.values())
