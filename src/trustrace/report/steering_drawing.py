"""Figures of a steering run, drawn with matplotlib: dose and response, fronts, checkpoints, radar, trade-offs.

Vectors are told apart by a ramp of one hue over their checkpoints, or over their sites; the best one is orange, controls are grey, and the
unsteered model is black, so that nothing rests on hue alone.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trustrace.core.measurements import Measurement
from trustrace.report.axis import checkpoint_axis, label
from trustrace.report.canvas import WIDTH, canvas, dress, legend, rise_by_ratio, spaced
from trustrace.report.palette import LIGHT, depth_colours
from trustrace.report.steering_charts import (
    Course,
    Dose,
    DoseChart,
    DoseLine,
    FrontPoint,
    RadarShape,
    control_range,
    courses,
    dose_chart,
    front,
    in_focus,
    radar,
)
from trustrace.report.steering_findings import Finding, effect
from trustrace.report.steering_runs import Ability, SteeringRun
from trustrace.report.steering_sentences import control_noun, interval, setting_text, shown, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = "95 % interval"
MOST_LINES = 8
_ORDER = ["best vector", BAND, "unsteered", "instruction", "other vectors"]
_MARKS: dict[str, dict[str, Any]] = {
    "unsteered": {"marker": "D", "color": LIGHT.ink, "ms": 5},
    "instruction": {"marker": "s", "mfc": "white", "mec": LIGHT.ink, "ms": 5},
    "control": {"marker": "x", "color": LIGHT.floor, "ms": 4},
    "vector": {"marker": "o", "ms": 4.5},
}

# ── dose and response ──


def dose_figure(run: SteeringRun, finding: Finding) -> "Figure | None":
    """The aim's number and the perplexity against strength: by site for the best checkpoint, by checkpoint at the best site."""
    chart = dose_chart(run, finding)
    focus = in_focus(chart, finding)
    if focus is None:
        return None
    figure, panels = canvas(2, 2, height=4.4)
    by_site = [line for line in chart.lines if line.family == focus.family]
    by_source = [
        line
        for line in chart.lines
        if not line.family.is_control and (line.family.kind, line.site) == (focus.family.kind, focus.site)
    ]
    for column, lines in enumerate((by_site, by_source)):
        for row, is_cost in enumerate((False, True)):
            _draw_doses(panels[2 * row + column], run, finding, chart, lines, focus, is_cost=is_cost)
    panels[0].set_title(f"by site, {_source_name(run, focus)}")
    panels[1].set_title(f"by checkpoint, {focus.site}")
    for panel in panels[2:]:
        panel.set_xlabel("strength (alpha)")
    legend(figure, panels, order=_ORDER)
    return figure


def _draw_doses(
    panel: "Axes",
    run: SteeringRun,
    finding: Finding,
    chart: DoseChart,
    lines: Sequence[DoseLine],
    focus: DoseLine,
    *,
    is_cost: bool,
) -> None:
    band = control_range(chart, focus.site, is_cost=is_cost)
    if band:
        alphas, lows, highs = zip(*band, strict=True)
        name = f"{control_noun(finding)}s, lowest to highest"
        panel.fill_between(alphas, lows, highs, color=LIGHT.ghost, alpha=0.7, lw=0, label=name, zorder=0)
    others = [line for line in lines if line != focus]
    kept = [others[place] for place in spaced(len(others), MOST_LINES)]
    for line, colour in zip(kept, depth_colours(len(kept), LIGHT), strict=True):
        xs, ys = _points(line.doses, chart.plain, is_cost=is_cost)
        panel.plot(xs, ys, color=colour, lw=0.9, marker=".", ms=3, label=_line_name(run, line, focus))
    _draw_focus(panel, chart, focus, is_cost=is_cost)
    plain = chart.plain.cost if is_cost else chart.plain.aimed
    if plain is not None:
        panel.axhline(plain.value, color=LIGHT.ink, lw=0.8, ls=(0, (4, 3)), label="unsteered")
    if is_cost:
        rise_by_ratio(panel)
    ability = run.perplexity if is_cost else finding.aim.ability
    panel.set_ylabel(ability.title if ability else "")
    panel.grid(axis="y", color=LIGHT.grid, lw=0.5, zorder=0)


def _draw_focus(panel: "Axes", chart: DoseChart, focus: DoseLine, *, is_cost: bool) -> None:
    xs, ys = _points(focus.doses, chart.plain, is_cost=is_cost)
    panel.plot(xs, ys, color=LIGHT.focus, lw=1.6, marker="o", ms=3, label="best vector")
    rows = [(dose.setting.alpha, dose.cost if is_cost else dose.aimed) for dose in focus.doses]
    known = [(alpha, row) for alpha, row in rows if row is not None and math.isfinite(row.lower)]
    if known:
        alphas = [alpha for alpha, _ in known]
        lowers, uppers = [row.lower for _, row in known], [row.upper for _, row in known]
        panel.fill_between(alphas, lowers, uppers, color=LIGHT.focus, alpha=0.18, lw=0, label=BAND)
    for alpha, row in rows:
        if focus.chosen is not None and alpha == focus.chosen.alpha and row is not None:
            panel.plot([alpha], [row.value], marker="o", ms=7, mfc="none", mec=LIGHT.focus, ls="none", label="chosen")


def _points(doses: Sequence[Dose], plain: Dose, *, is_cost: bool) -> tuple[list[float], list[float]]:
    """Strengths and numbers in order, the unsteered model at 0 among them."""
    rows = [(dose.setting.alpha, dose.cost if is_cost else dose.aimed) for dose in (*doses, plain)]
    known = sorted(((alpha, row.value) for alpha, row in rows if row is not None), key=lambda at: at[0])
    return [alpha for alpha, _ in known], [value for _, value in known]


def _source_name(run: SteeringRun, line: DoseLine) -> str:
    checkpoint = run.source(line.family.source)
    return label(checkpoint) if checkpoint else line.family.kind


def _line_name(run: SteeringRun, line: DoseLine, focus: DoseLine) -> str:
    return line.site if line.family == focus.family else _source_name(run, line)


# ── fronts ──


def front_figure(run: SteeringRun, finding: Finding) -> "Figure | None":
    """What the aim's number costs in perplexity and in every general ability."""
    points = front(run, finding)
    aims = {aim.ability for aim in run.aims}
    costs = [one for one in run.abilities if one not in aims and any(one in point.numbers for point in points)][:3]
    if not points or not costs:
        return None
    figure, panels = canvas(1, len(costs), height=2.9)
    for panel, cost in zip(panels, costs, strict=True):
        for point in points:
            _draw_front_point(panel, run, finding, point, cost)
        panel.set_xlabel(cost.title)
        panel.grid(color=LIGHT.grid, lw=0.5, zorder=0)
    panels[0].set_ylabel(finding.aim.ability.title)
    legend(figure, panels, order=_ORDER)
    return figure


def _draw_front_point(panel: "Axes", run: SteeringRun, finding: Finding, point: FrontPoint, cost: Ability) -> None:
    across, up = point.numbers.get(cost), point.numbers.get(finding.aim.ability)
    if across is None or up is None:
        return
    name, style = _mark(run, finding, point)
    colour = style.get("color", LIGHT.ink)
    spread = [_spread(row) for row in (across, up)]
    panel.errorbar(
        [across.value], [up.value], xerr=spread[0], yerr=spread[1], ecolor=colour, elinewidth=0.5, alpha=0.45, ls="none"
    )
    panel.plot([across.value], [up.value], ls="none", label=name, zorder=3, **style)
    if point.is_on_front:
        ring: dict[str, Any] = {"marker": "o", "ms": 9, "mfc": "none", "mec": LIGHT.ink, "mew": 0.7, "ls": "none"}
        panel.plot([across.value], [up.value], label="beaten by none", **ring)


def _mark(run: SteeringRun, finding: Finding, point: FrontPoint) -> tuple[str, dict[str, Any]]:
    if point.family is None:
        return "unsteered", _MARKS["unsteered"]
    if point.family.is_instruction:
        return "instruction", _MARKS["instruction"]
    if point.family.is_control:
        return f"{control_noun(finding)}s", _MARKS["control"]
    if finding.best and point.setting == finding.best.setting:
        return "best vector", {**_MARKS["vector"], "color": LIGHT.focus}
    return "other vectors", {**_MARKS["vector"], "color": _source_colour(run, point.family.source)}


def _source_colour(run: SteeringRun, key: str) -> str:
    keys = [source.key for source in run.sources]
    return depth_colours(len(keys), LIGHT)[keys.index(key)] if key in keys else LIGHT.deep


def _spread(row: Measurement) -> list[list[float]] | None:
    if not (math.isfinite(row.lower) and math.isfinite(row.upper)):
        return None
    return [[max(0.0, row.value - row.lower)], [max(0.0, row.upper - row.value)]]


# ── checkpoints ──


def checkpoints_figure(run: SteeringRun, finding: Finding) -> "Figure | None":
    """Readability against steering, and both over pre-training."""
    found = courses(run, finding)
    if not found:
        return None
    course = found[0]
    figure, panels = canvas(1, 3, height=2.7)
    _draw_scatter(panels[0], run, finding, course)
    axis = checkpoint_axis(run.sources)
    places = {source.key: place for source, place in zip(run.sources, axis.positions, strict=True)}
    for panel, name in ((panels[1], "separation"), (panels[2], "steered")):
        rows = [(places[point.source.key], getattr(point, name)) for point in course.points]
        _draw_course(panel, [(place, row) for place, row in rows if row is not None])
        dress(panel, axis)
        panel.set_xlabel(axis.title.lower())
    panels[1].set_ylabel("separation of held-out statements")
    panels[2].set_ylabel(finding.aim.ability.title)
    if finding.plain is not None:
        panels[2].axhline(finding.plain.value, color=LIGHT.ink, lw=0.8, ls=(0, (4, 3)), label="unsteered")
    values = [choice.effect.steered.value for choice in finding.controls if choice.effect.steered]
    if values:
        name = f"{control_noun(finding)}s, lowest to highest"
        panels[2].axhspan(min(values), max(values), color=LIGHT.ghost, alpha=0.6, lw=0, zorder=0, label=name)
    legend(figure, panels, order=["by checkpoint", *_ORDER])
    return figure


def _draw_scatter(panel: "Axes", run: SteeringRun, finding: Finding, course: Course) -> None:
    for point in course.points:
        if point.separation is not None and point.steered is not None:
            colour = _source_colour(run, point.source.key)
            panel.plot([point.separation.value], [point.steered.value], marker="o", ms=4.5, color=colour, ls="none")
    panel.set_xlabel("separation of held-out statements")
    panel.set_ylabel(finding.aim.ability.title)
    panel.grid(color=LIGHT.grid, lw=0.5, zorder=0)
    if course.correlation is not None:
        row = course.correlation
        panel.set_title(f"r = {shown(row.value)} {interval(row)}, n = {row.n}")


def _draw_course(panel: "Axes", rows: Sequence[tuple[float, Measurement]]) -> None:
    for place, row in rows:
        panel.plot([place, place], [row.lower, row.upper], color=LIGHT.deep, lw=0.7, alpha=0.6)
    xs, ys = [place for place, _ in rows], [row.value for _, row in rows]
    panel.plot(xs, ys, color=LIGHT.deep, lw=1.2, marker="o", ms=3, label="by checkpoint")


# ── radar ──


def radar_figure(run: SteeringRun, finding: Finding) -> "Figure | None":
    """Every ability of the test half, better outwards, each axis over its own range."""
    from matplotlib.figure import Figure

    chart = radar(run, finding)
    if not chart.axes:
        return None
    figure = Figure(figsize=(WIDTH * 0.72, WIDTH * 0.62), layout="constrained")
    panel = figure.subplots(subplot_kw={"projection": "polar"})
    angles = np.linspace(0, 2 * math.pi, len(chart.axes), endpoint=False)

    def outline(shape: RadarShape) -> tuple[list[float], list[float]]:
        places = [0.12 + 0.88 * axis.place(row) for axis, row in zip(chart.axes, shape.numbers, strict=True)]
        return [*angles, angles[0]], [*places, places[0]]

    for place, shape in enumerate(chart.controls):
        panel.plot(*outline(shape), color=LIGHT.floor, lw=0.7, label="" if place else f"{control_noun(finding)}s")
    styles = {"unsteered": (LIGHT.ink, 1.2, (0, (4, 3))), "instruction": (LIGHT.deep, 1.2, (0, (1, 1.5)))}
    for shape in chart.shapes:
        colour, width, dash = styles.get(shape.name, (LIGHT.focus, 1.8, "solid"))
        panel.plot(*outline(shape), color=colour, lw=width, ls=dash, marker="o", ms=3, label=shape.name)
    named = [one.ability.title.replace(": ", ":\n") for one in chart.axes]
    titles = [
        f"{name}\n{shown(one.worst.value)} to {shown(one.best.value)}"
        for name, one in zip(named, chart.axes, strict=True)
    ]
    panel.set_xticks(angles, titles)
    for angle, words in zip(angles, panel.get_xticklabels(), strict=True):
        across = math.cos(angle)
        words.set_horizontalalignment("center" if abs(across) < 0.1 else "left" if across > 0 else "right")
    panel.set_ylim(0, 1.05)
    panel.set_yticks([0.12, 1.0], ["", ""])
    panel.grid(color=LIGHT.grid, lw=0.6)
    panel.spines["polar"].set_visible(False)
    legend(figure, [panel], order=_ORDER)
    return figure


# ── trade-offs ──


def trade_off_figure(run: SteeringRun, found: Sequence[Finding]) -> "Figure | None":
    """Best vector of each contrast against every ability: the change, shaded where its interval leaves 0."""
    from matplotlib.figure import Figure

    rows = [(finding, finding.best) for finding in found if finding.best]
    if not rows:
        return None
    figure = Figure(figsize=(WIDTH, 0.75 + 0.5 * len(rows)), layout="constrained")
    panel = figure.subplots()
    shades = {1: LIGHT.shallow, -1: "#f2c9a8", 0: "#ffffff"}
    for down, (finding, best) in enumerate(rows):
        for across, ability in enumerate(run.abilities):
            one = effect(run, finding.target, ability, best.setting)
            panel.fill_between([across - 0.5, across + 0.5], down - 0.5, down + 0.5, color=shades[one.way], lw=0)
            text = "\n".join(signed(one.change).split(" ", 1)) if one.change else "\u2013"
            panel.text(across, down, text, ha="center", va="center", fontsize=5.5)
    panel.set_xticks(range(len(run.abilities)), [one.title.replace(": ", ":\n") for one in run.abilities])
    panel.set_yticks(range(len(rows)), [f"{finding.aim.title}\n{setting_text(best.setting)}" for finding, best in rows])
    panel.set_xlim(-0.5, len(run.abilities) - 0.5)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.tick_params(length=0)
    panel.xaxis.tick_top()
    return figure
