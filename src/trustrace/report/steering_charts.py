"""What the figures of a steering run draw: lines and points, each of them rows of the table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Measurement
from trustrace.report.steering_findings import Finding
from trustrace.report.steering_runs import (
    DEVELOPMENT,
    ON_FRONT,
    PLAIN,
    SEPARATION,
    Ability,
    Family,
    Setting,
    SteeringRun,
)

FEWEST_AXES = 3
"""Abilities below which a radar has no area."""


@dataclass(frozen=True, kw_only=True)
class Dose:
    """One strength of a line: the aim's number and the perplexity on the development half; None where not measured."""

    setting: Setting
    aimed: Measurement | None
    cost: Measurement | None


@dataclass(frozen=True, kw_only=True)
class DoseLine:
    """One vector at one site over its strengths; `chosen` is the one that its search took."""

    family: Family
    site: str
    doses: tuple[Dose, ...]
    chosen: Setting | None


@dataclass(frozen=True, kw_only=True)
class DoseChart:
    """How the aim's number and the perplexity answer to strength, on the development half."""

    plain: Dose
    lines: tuple[DoseLine, ...]


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """One setting on the test half: a number for each ability, and whether no other setting beats it."""

    family: Family | None
    setting: Setting
    numbers: Mapping[Ability, Measurement]
    is_on_front: bool


@dataclass(frozen=True, kw_only=True)
class CoursePoint:
    """One source checkpoint: how well its direction separates, and what its vector reaches on the test half."""

    source: Checkpoint
    setting: Setting
    separation: Measurement | None
    steered: Measurement | None


@dataclass(frozen=True, kw_only=True)
class Course:
    """One kind of vector over the checkpoints, and the correlation of the two numbers where the table has it."""

    kind: str
    points: tuple[CoursePoint, ...]
    correlation: Measurement | None


@dataclass(frozen=True, kw_only=True)
class RadarAxis:
    """One ability and the rows at the worse and the better end of what any setting of the target reaches."""

    ability: Ability
    worst: Measurement
    best: Measurement

    def place(self, row: Measurement | None) -> float:
        """Where a number stands between the ends, 0 to 1 outwards; NaN where there is none."""
        if row is None or not math.isfinite(row.value):
            return math.nan
        span = self.best.value - self.worst.value
        return (row.value - self.worst.value) / span if span else 0.5


@dataclass(frozen=True, kw_only=True)
class RadarShape:
    """One model on every axis."""

    name: str
    setting: Setting
    numbers: tuple[Measurement | None, ...]


@dataclass(frozen=True, kw_only=True)
class Radar:
    """Abilities of the test half side by side; `controls` are the random directions."""

    axes: tuple[RadarAxis, ...]
    shapes: tuple[RadarShape, ...]
    controls: tuple[RadarShape, ...]


def dose_chart(run: SteeringRun, finding: Finding) -> DoseChart:
    """Every vector at every site over its strengths."""
    target, aim = finding.target, finding.aim

    def dose(setting: Setting) -> Dose:
        cost = run.at(target, run.perplexity, setting, half=DEVELOPMENT) if run.perplexity else None
        return Dose(setting=setting, aimed=run.at(target, aim.ability, setting, half=DEVELOPMENT), cost=cost)

    asked = dict.fromkeys(run.settings(target, aim.ability, half=DEVELOPMENT))
    if run.perplexity:
        asked |= dict.fromkeys(run.settings(target, run.perplexity, half=DEVELOPMENT))
    lines: dict[tuple[Family, str], list[Dose]] = {}
    for family, setting in run.made_for(aim, list(asked)):
        lines.setdefault((family, setting.site), []).append(dose(setting))
    chosen = {choice.setting for choice in (*finding.vectors, *finding.controls)}
    return DoseChart(
        plain=dose(PLAIN),
        lines=tuple(
            DoseLine(
                family=family,
                site=site,
                doses=tuple(sorted(doses, key=lambda one: one.setting.alpha)),
                chosen=next((one.setting for one in doses if one.setting in chosen), None),
            )
            for (family, site), doses in lines.items()
        ),
    )


def front(run: SteeringRun, finding: Finding) -> tuple[FrontPoint, ...]:
    """Every setting of the aim on the test half, the unsteered model first."""
    settings = run.settings(finding.target, finding.aim.ability)
    own: list[tuple[Family | None, Setting]] = [(None, PLAIN)] if PLAIN in settings else []
    own += run.made_for(finding.aim, settings)
    return tuple(_front_point(run, finding, family, setting) for family, setting in own)


def _front_point(run: SteeringRun, finding: Finding, family: Family | None, setting: Setting) -> FrontPoint:
    numbers = {ability: row for ability in run.abilities if (row := run.at(finding.target, ability, setting))}
    said = run.row(finding.target, f"{finding.aim.contrast}/test", ON_FRONT, "pareto", setting)
    return FrontPoint(family=family, setting=setting, numbers=numbers, is_on_front=said is not None and said.value == 1)


def courses(run: SteeringRun, finding: Finding) -> tuple[Course, ...]:
    """For each kind: what each source checkpoint's direction separates, and what its vector reaches."""
    kinds = dict.fromkeys(choice.family.kind for choice in finding.vectors if choice.family.source)
    return tuple(_course(run, finding, kind) for kind in kinds)


def _course(run: SteeringRun, finding: Finding, kind: str) -> Course:
    contrast = finding.aim.contrast
    points = []
    for choice in finding.vectors:
        source = run.source(choice.family.source)
        if choice.family.kind != kind or source is None:
            continue
        at = Setting(vector=f"{choice.family.vector}:{choice.setting.site}", site=choice.setting.site)
        points.append(
            CoursePoint(
                source=source,
                setting=choice.setting,
                separation=run.row(source.key, f"{contrast}/test", SEPARATION, kind, at),
                steered=choice.effect.steered,
            )
        )
    quantity = f"{SEPARATION}_with_{finding.aim.ability.quantity}"
    correlation = run.row(finding.target, f"{contrast}/test", quantity, kind, Setting(vector=f"{kind}:{contrast}"))
    return Course(kind=kind, points=tuple(points), correlation=correlation)


def radar(run: SteeringRun, finding: Finding) -> Radar:
    """The unsteered model, the instruction and the best vector on every ability of the test half, beside random directions."""
    axes = tuple(axis for ability in run.abilities if (axis := _axis(run, finding.target, ability)))
    told = [setting for family, setting in _told(run, finding) if family.is_instruction]
    named = [("unsteered", PLAIN), *(("instruction", setting) for setting in told[:1])]
    named += [("best vector", finding.best.setting)] if finding.best else []
    return Radar(
        axes=axes if len(axes) >= FEWEST_AXES else (),
        shapes=tuple(_shape(run, finding.target, axes, name, setting) for name, setting in named),
        controls=tuple(
            _shape(run, finding.target, axes, choice.family.kind.replace("_", " "), choice.setting)
            for choice in finding.controls
        ),
    )


def _told(run: SteeringRun, finding: Finding) -> list[tuple[Family, Setting]]:
    return list(run.made_for(finding.aim, run.settings(finding.target, finding.aim.ability)))


def _axis(run: SteeringRun, target: str, ability: Ability) -> RadarAxis | None:
    """None where no direction is better, or nothing is defined."""
    rows = [run.at(target, ability, setting) for setting in run.settings(target, ability)]
    known = sorted(
        (row for row in rows if row is not None and math.isfinite(row.value)),
        key=lambda row: ability.goodness(row.value),
    )
    if not known or ability.better == "neither":
        return None
    return RadarAxis(ability=ability, worst=known[0], best=known[-1])


def _shape(run: SteeringRun, target: str, axes: Sequence[RadarAxis], name: str, setting: Setting) -> RadarShape:
    return RadarShape(name=name, setting=setting, numbers=tuple(run.at(target, axis.ability, setting) for axis in axes))


def in_focus(chart: DoseChart, finding: Finding) -> DoseLine | None:
    """The line that is shown unasked: the best vector's, or else the first that was tried."""
    vectors = [line for line in chart.lines if not line.family.is_control]
    best = finding.best
    own = [line for line in vectors if best and (line.family, line.site) == (best.family, best.setting.site)]
    return next(iter((*own, *vectors)), None)


def control_range(chart: DoseChart, site: str, *, is_cost: bool) -> tuple[tuple[float, float, float], ...]:
    """Strength, lowest and highest number of the controls at `site`."""
    values: dict[float, list[float]] = {}
    for line in chart.lines:
        if line.family.is_control and line.site == site:
            for dose in line.doses:
                row = dose.cost if is_cost else dose.aimed
                if row is not None and math.isfinite(row.value):
                    values.setdefault(dose.setting.alpha, []).append(row.value)
    return tuple((alpha, min(values[alpha]), max(values[alpha])) for alpha in sorted(values))
