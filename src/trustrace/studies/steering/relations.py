"""What the numbers of a steering study say together: does readability foretell steering, and which settings are beaten by none."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from typing_extensions import TypedDict

from trustrace.core.measurements import Estimate, Measurement, Role
from trustrace.evaluation.estimates import estimates
from trustrace.evaluation.fronts import pareto_front
from trustrace.evaluation.outcomes import Better, Graded, Outcome
from trustrace.runs.ledger import Ledger
from trustrace.runs.reading import read_document
from trustrace.steering.vectors import CONTROLS
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.steering.plan import Contrast, SteerPlan, Target

CHOSEN = "chosen.json"
"""What a search chose, beside its rows."""


class Kept(TypedDict):
    """What a search wrote down: the vector, the site and the strength of each setting that it kept, and which way its number is better."""

    chosen: list[tuple[str, str, float]]
    better: Better


FEWEST = 5
"""Checkpoints below which a correlation says nothing."""

_Setting = tuple[str, str, float]


def relations(plan: SteerPlan, ledger: Ledger) -> list[Measurement]:
    """Correlations over checkpoints, and the front of each target and contrast."""
    finished = [unit for unit in plan.units if ledger.is_finished(unit)]
    rows = [row for unit in finished for row in ledger.measurements_of(unit)]
    found: list[Measurement] = []
    for target in plan.targets:
        own = [row for row in rows if row.checkpoint == target.checkpoint.key]
        for contrast in plan.contrasts:
            sign = _sign(plan, ledger, target, contrast)
            found += _correlations(plan, target, contrast, rows, own, sign=sign)
            found += _front(plan, target, contrast, own, sign=sign)
    return found


def _correlations(
    plan: SteerPlan,
    target: Target,
    contrast: Contrast,
    rows: Sequence[Measurement],
    own: Sequence[Measurement],
    *,
    sign: float,
) -> Iterator[Measurement]:
    """Between how well a direction separates held-out statements and how well its vector steers, checkpoint by checkpoint.

    Positive means: what reads better steers better, also where less of the number is better.
    """
    read = {row.vector: row.value for row in rows if row.quantity == "separation"}
    scored = _values(own, contrast.config.task, contrast.config.quantity, contrast.config.method)
    for kind in plan.study.kinds:
        role: Role = "control" if kind in CONTROLS else "measured"
        chosen = [
            (read[f"{vector}:{site}"], sign * value, alpha)
            for source in plan.sources
            for (vector, site, alpha), value in scored.items()
            if vector == f"{kind}:{contrast.name}@{source.key}" and f"{vector}:{site}" in read
        ]
        points = [(separated, better) for separated, better, _ in chosen]
        away = sum(alpha < 0 for *_, alpha in chosen)
        said = [f"{away} of {len(chosen)} chosen strengths point away from the direction"] if chosen else []
        said += [f"{contrast.config.quantity} with its sign turned, since less is better"] if sign < 0 else []
        estimate = replace(_correlation(points, contrast.config.quantity, kind, seed=plan.study.seed), role=role)
        estimate = replace(estimate, note="; ".join(filter(None, (estimate.note, *said))))
        yield _row(plan, target, contrast, estimate, (f"{kind}:{contrast.name}", "", 0.0))


def _correlation(points: Sequence[tuple[float, float]], quantity: str, kind: str, *, seed: int) -> Estimate:
    name = f"separation_with_{quantity}"
    if len(points) < FEWEST:
        note = f"undefined: {len(points)} checkpoints, of which {FEWEST} are needed"
        return Estimate(quantity=name, method=kind, value=math.nan, n=len(points), n_groups=len(points), note=note)
    graded = Graded(
        quantity=name,
        method=kind,
        values=np.array(points),
        groups=tuple(map(str, range(len(points)))),
        statistic="pearson",
        better="neither",
        note="over checkpoints of one run, which are no independent runs",
    )
    (found,) = estimates(Outcome(dataset="checkpoints", graded=(graded,)), seed=seed)
    if math.isnan(found.value):
        return replace(found, note=f"undefined: one of the two is the same at all {len(points)} checkpoints")
    return found


def _front(
    plan: SteerPlan, target: Target, contrast: Contrast, own: Sequence[Measurement], *, sign: float
) -> Iterator[Measurement]:
    """Whether each setting of this contrast is beaten by none in trust, perplexity and general ability at once.

    A task that gives no accuracy is no aim; a setting that lacks a number is neither on the front nor off it.
    """
    trust = contrast.config
    asked = [
        (trust.task, trust.quantity, trust.method, sign),
        (plan.study.perplexity.task, "perplexity", None, -1.0),
        *((task, "accuracy", None, 1.0) for task in plan.study.general),
    ]
    found = [
        (f"{task.title} {quantity}", _values(own, task, quantity, method), way) for task, quantity, method, way in asked
    ]
    aims = [found[0], *(aim for aim in found[1:] if aim[1])]
    settings = [one for one in aims[0][1] if not one[0] or _belongs(one[0], trust.name)]
    if not settings:
        return
    points = np.array([[way * values.get(one, math.nan) for _, values, way in aims] for one in settings])
    note = f"among {len(settings)} settings, by {', '.join(name for name, _, _ in aims)}"
    controls = {row.vector for row in own if row.role == "control"}
    for setting, point, is_on_front in zip(settings, points, pareto_front(points), strict=True):
        known = bool(np.isfinite(point).all())
        estimate = Estimate(
            quantity="on_front",
            method="pareto",
            value=float(is_on_front) if known else math.nan,
            n=len(settings),
            n_groups=len(settings),
            role="control" if setting[0] in controls else "measured",
            note=note if known else f"undefined: one of its numbers is missing; {note}",
        )
        yield _row(plan, target, contrast, estimate, setting)


def _values(
    rows: Sequence[Measurement], task: TaskConfig, quantity: str, method: str | None
) -> Mapping[_Setting, float]:
    """A task's number on the test half by setting, of the first method that gives it."""
    wanted = [
        row
        for row in rows
        if row.dataset == f"{task.title}/test" and row.quantity == quantity and method in (None, row.method)
    ]
    first = wanted[0].method if wanted else ""
    return {(row.vector, row.site, row.alpha): row.value for row in wanted if row.method == first}


def _sign(plan: SteerPlan, ledger: Ledger, target: Target, contrast: Contrast) -> float:
    """-1 where less is better, as the searches recorded it."""
    for origin in plan.origins:
        recorded = ledger.file_of(plan.search_unit(target, origin, contrast), CHOSEN)
        if recorded.is_file() and read_document(recorded, Kept)["better"] == "lower":
            return -1.0
    return 1.0


def _belongs(vector: str, contrast: str) -> bool:
    """Whether a vector, a random direction or an instruction was made for `contrast`."""
    made = vector.partition(":")[2]
    return made == contrast or made.startswith(f"{contrast}@")


def _row(plan: SteerPlan, target: Target, contrast: Contrast, estimate: Estimate, setting: _Setting) -> Measurement:
    vector, site, alpha = setting
    return Measurement.of(
        estimate,
        dataset=f"{contrast.name}/test",
        protocol=plan.study.protocol,
        seed=plan.study.seed,
        checkpoint=target.checkpoint,
        site=site,
        vector=vector,
        alpha=alpha,
    )
