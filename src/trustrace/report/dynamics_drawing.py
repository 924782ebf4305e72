"""The figures of a comparison of checkpoints: maps of transfer, times of emergence, and courses over training."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from trustrace.core.measurements import Measurement
from trustrace.report.axis import CheckpointAxis, checkpoint_axis, map_ticks
from trustrace.report.canvas import WIDTH, canvas, dress, legend, rise_by_ratio, share_range
from trustrace.report.dynamics_runs import (
    DIRECTIONS,
    PLACES,
    DatasetCourse,
    Drift,
    DynamicsRun,
    Matrix,
    SiteCourse,
    way,
)
from trustrace.report.glossary import method
from trustrace.report.palette import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_WRITTEN = 8
"""Maps of no more views than these have their numbers written into them."""

COSINES = {
    "direction cosine ceiling": ("noise ceiling", LIGHT.floor, (0, (3, 2))),
    "direction cosine": ("cosine", LIGHT.deep, "-"),
    "direction cosine corrected": ("corrected for noise", LIGHT.focus, "-"),
}
"""What is drawn of drift: its name, colour and dash."""

_MARKS = {"level": "o", "half": "s", "step": "D", "logistic": "^"}
_MARK_NAMES = {
    "level": "above the floor",
    "half": "half of the rise",
    "step": "sudden step",
    "logistic": "logistic rise",
}

Standing = Literal["at", "from the start", "never", "undefined"]


def standing(row: Measurement) -> Standing:
    """What the time of an emergence says: a place, that there was none to wait for, that it never came, or nothing."""
    if row.note.startswith("never"):
        return "never"
    if row.note.startswith("from the start"):
        return "from the start"
    return "at" if math.isfinite(row.value) else "undefined"


# ── who reads whom ──


def maps_figure(maps: Mapping[str, Matrix], labels: Callable[[str], str], *, axes: tuple[str, str]) -> "Figure | None":
    """AUROC of every pair of views, one panel a map; None where there is none. `axes` names sources and what was tested."""
    drawn = {title: matrix for title, matrix in maps.items() if len(matrix.names) > 1}
    if not drawn:
        return None
    columns = min(2, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    figure, panels = canvas(rows, columns, height=0.86 * rows * WIDTH / 2 + 0.3)
    for panel, (title, matrix) in zip(panels, drawn.items(), strict=False):
        image = _draw_map(panel, matrix, labels)
        panel.set_title(title)
        panel.set_ylabel(axes[0])
        panel.set_xlabel(axes[1])
    for panel in panels[len(drawn) :]:
        panel.set_axis_off()
    bar = figure.colorbar(image, ax=panels, pad=0.015, fraction=0.04, aspect=30, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.set_label("AUROC (the line: chance)")
    bar.ax.axhline(0.5, color=LIGHT.ink, lw=1)
    bar.outline.set_visible(False)
    return figure


def _draw_map(panel: "Axes", matrix: Matrix, labels: Callable[[str], str]) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    names = matrix.names
    rows = [[matrix.cells.get((source, target)) for target in names] for source in names]
    values = [[math.nan if row is None else row.value for row in line] for line in rows]
    # White is chance: what is below it is told from what is above it, and colours compare between all maps.
    colours = LinearSegmentedColormap.from_list("chance", [LIGHT.focus, LIGHT.page, LIGHT.deep])
    image = panel.imshow(values, origin="lower", cmap=colours.with_extremes(bad=LIGHT.missing), vmin=0, vmax=1)
    _veil(panel, matrix)
    placed = [(x, y, row) for y, line in enumerate(rows) for x, row in enumerate(line) if row is not None]
    veiled = {(x, y) for x, y, _ in placed if matrix.is_reached_by_chance((names[y], names[x]))}
    _mark(panel, placed, has_numbers=len(names) <= MOST_WRITTEN, veiled=veiled)
    _hatch(panel, matrix)
    shown = map_ticks(len(names), most=10)
    panel.set_xticks(shown, [labels(names[place]) for place in shown], rotation=90 if len(names) > 4 else 0)
    panel.set_yticks(shown, [labels(names[place]) for place in shown])
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_color(LIGHT.rule)
        spine.set_visible(True)
    return image


def _veil(panel: "Axes", matrix: Matrix) -> None:
    """Grey out what chance reaches: the eye is not to take its colour for a finding."""
    from matplotlib.patches import Rectangle

    places = {name: place for place, name in enumerate(matrix.names)}
    for source, target in filter(matrix.is_reached_by_chance, matrix.cells):
        corner = (places[target] - 0.5, places[source] - 0.5)
        panel.add_patch(Rectangle(corner, 1, 1, fc=LIGHT.missing, ec="none", alpha=0.8, lw=0))


def _hatch(panel: "Axes", matrix: Matrix) -> None:
    """Hatch the rows of probes that find nothing at home: what they reach elsewhere is a direction that chance chose."""
    from matplotlib.patches import Rectangle

    for y in (place for place, name in enumerate(matrix.names) if name in matrix.idle):
        row = Rectangle(
            (-0.5, y - 0.5), len(matrix.names), 1, fill=False, hatch="//////", ec=LIGHT.edge, alpha=0.55, lw=0
        )
        panel.add_patch(row)


def _mark(
    panel: "Axes",
    placed: Sequence[tuple[int, int, Measurement]],
    *,
    has_numbers: bool,
    veiled: Collection[tuple[int, int]],
) -> None:
    """A cross on what is undefined, a dot on what is not told from chance, the number where there is room for it."""
    known = [(x, y, row) for x, y, row in placed if math.isfinite(row.value)]
    undefined = [(x, y) for x, y, row in placed if not math.isfinite(row.value)]
    # A dot makes room for the number.
    chance = [(x, y - 0.3 if has_numbers else y) for x, y, row in known if way(row) == 0]
    panel.plot([x for x, _ in undefined], [y for _, y in undefined], "x", ms=3, mec=LIGHT.muted, mew=0.7)
    panel.plot([x for x, _ in chance], [y for _, y in chance], ".", ms=2, mec="none", mfc=LIGHT.muted)
    for x, y, row in known if has_numbers else ():
        ink = "white" if abs(row.value - 0.5) > 0.3 and (x, y) not in veiled else LIGHT.ink
        panel.text(x, y, f"{row.value:.2f}", ha="center", va="center", fontsize=6, color=ink)


# ── when a concept emerges ──


def emergence_figure(run: DynamicsRun, course: DatasetCourse) -> "Figure | None":
    """The four times of emergence of every site, with their intervals; ``never`` and ``from the start`` stand beside the axis."""
    sites = [site for site in course.sites if site.emergence]
    if not sites:
        return None
    axis = checkpoint_axis(list(run.checkpoints.values()))
    figure, (panel,) = canvas(1, 1, height=min(8.0, 1.3 + 0.42 * len(sites)))
    figure.set_figwidth(WIDTH)
    low, high = axis.limits
    gap = 0.08 * (high - low)
    aside = {"never": high + gap, "from the start": low - gap}
    for name, mark in _MARKS.items():
        panel.plot([], [], mark, ms=4, color=_time_colour(name), label=_MARK_NAMES[name])
    for y, site in enumerate(sites):
        for offset, name in enumerate(PLACES):
            if name in site.emergence:
                _draw_time(panel, site.emergence[name], name, axis, aside, y + 0.18 * (1.5 - offset))
    for x in (low, high):
        panel.axvline(x, color=LIGHT.ghost, lw=0.6)
    _dress_times(panel, axis, aside, [site.site for site in sites])
    legend(figure, [panel], order=tuple(_MARK_NAMES.values()))
    return figure


def _draw_time(
    panel: "Axes", row: Measurement, name: str, axis: CheckpointAxis, aside: Mapping[str, float], y: float
) -> None:
    said = standing(row)
    colour = _time_colour(name)
    x = aside.get(said, axis.place(row.value, axis.unit))
    if math.isnan(x):
        return
    if math.isfinite(row.lower):
        # An upper end that is not known runs to the edge of the axis, where an arrow says so.
        open_end = not math.isfinite(row.upper)
        end = axis.limits[1] if open_end else axis.place(row.upper, axis.unit)
        panel.plot([axis.place(row.lower, axis.unit), end], [y, y], color=colour, lw=0.9)
        if open_end:
            panel.plot([end], [y], ">", color=colour, ms=3)
    fill = colour if said == "at" else "none"
    panel.plot([x], [y], _MARKS[name], ms=4, mec=colour, mfc=fill, mew=0.8)


def _time_colour(name: str) -> str:
    return LIGHT.focus if name == "level" else LIGHT.deep


def _dress_times(panel: "Axes", axis: CheckpointAxis, aside: Mapping[str, float], sites: Sequence[str]) -> None:
    dress(panel, axis)
    ends = sorted(aside.values())
    margin = ends[1] - axis.limits[1]
    panel.set_xlim(ends[0] - margin, ends[1] + margin)
    ticks = [*axis.ticks, *((place, name.replace(" the ", "\nthe ")) for name, place in aside.items())]
    panel.set_xticks([place for place, _ in ticks], [name for _, name in ticks])
    panel.set_yticks(range(len(sites)), sites)
    panel.set_ylim(-0.6, len(sites) - 0.4)
    panel.set_xlabel(axis.title)


# ── courses ──


def drift_figure(run: DynamicsRun, course: DatasetCourse) -> "Figure | None":
    """The cosine of each checkpoint's direction with the last one's, beside what noise alone leaves of it."""
    draws = {
        f"{site.site}, {method(name).title.lower()}": partial(_draw_drift, drift=drift)
        for name in DIRECTIONS
        for site in course.drawn
        for drift in ([site.drift[name]] if name in site.drift else [])
    }
    return _courses(run, draws, title="cosine with the last", columns=len(course.drawn))


def _draw_drift(panel: "Axes", run: DynamicsRun, axis: CheckpointAxis, *, drift: Drift) -> None:
    for quantity, (name, colour, dash) in COSINES.items():
        _draw_course(panel, run, drift.get(quantity, {}), axis, name=name, colour=colour, dash=dash)
    panel.axhline(0, color=LIGHT.edge, lw=0.6)
    # Intervals of directions that are hardly reliable would squeeze all others: they are cut at the frame.
    panel.set_ylim(-0.4, 1.25)


def tolerance_figure(run: DynamicsRun, course: DatasetCourse) -> "Figure | None":
    """The noise that the readings of each checkpoint stand."""
    draws = {site.site: partial(_draw_tolerance, rows=site.tolerance) for site in course.drawn if site.tolerance}
    return _courses(run, draws, title="noise tolerance", columns=len(draws), is_ratio=True)


def _draw_tolerance(panel: "Axes", run: DynamicsRun, axis: CheckpointAxis, *, rows: Mapping[str, Measurement]) -> None:
    _draw_course(panel, run, rows, axis, name="noise tolerance", colour=LIGHT.deep, dash="-")
    unknown = [key for key, row in rows.items() if not math.isfinite(row.value)]
    places = [x for key, x in zip(run.checkpoints, axis.positions, strict=True) if key in unknown]
    if places:
        across = panel.get_xaxis_transform()
        panel.plot(
            places, [0.03] * len(places), "x", ms=3, color=LIGHT.muted, transform=across, label="undefined", mew=0.7
        )


def learned_figure(run: DynamicsRun, course: DatasetCourse) -> "Figure | None":
    """How many statements are first right for good at each checkpoint, and how many are wrong in the end."""
    sites = [site for site in course.drawn if site.statements is not None]
    if not sites:
        return None
    figure, panels = canvas(1, len(sites), height=2.5)
    for panel, site in zip(panels, sites, strict=True):
        _draw_learned(panel, run, site)
        panel.set_title(site.site)
    panels[0].set_ylabel("statements")
    share_range(panels)
    return figure


def _draw_learned(panel: "Axes", run: DynamicsRun, site: SiteCourse) -> None:
    if site.statements is None:
        return
    told = site.statements
    learned = Counter(one.learned_at for one in told.statements)
    kinds = Counter(one.kind for one in told.statements)
    n = len(told.checkpoints)
    panel.bar([0], [learned[0]], color=LIGHT.floor, width=0.8)
    panel.bar(range(1, n), [learned[place] for place in range(1, n)], color=LIGHT.deep, width=0.8)
    panel.bar([n + 0.7, n + 1.7], [kinds["lost"], kinds["never right"]], color=LIGHT.focus, width=0.8)
    axis = checkpoint_axis([run.checkpoints[key] for key in told.checkpoints if key in run.checkpoints])
    shown = [place for place in map_ticks(n, most=6) if 0 < place < len(axis.labels)]
    ticks = {0: "always", **{place: axis.labels[place].removesuffix(" tokens") for place in shown}}
    panel.set_xticks([*ticks, n + 0.7, n + 1.7], [*ticks.values(), "lost", "never"], rotation=90)
    panel.set_xlabel(f"right from then on ({axis.title.lower()})")
    panel.grid(axis="y", color=LIGHT.grid, lw=0.5)
    panel.set_axisbelow(True)


_Draw = Callable[["Axes", DynamicsRun, CheckpointAxis], None]


def _courses(
    run: DynamicsRun, draws: Mapping[str, _Draw], *, title: str, columns: int, is_ratio: bool = False
) -> "Figure | None":
    """One panel for each of `draws`, over training; None where there is none."""
    if not draws:
        return None
    axis = checkpoint_axis(list(run.checkpoints.values()))
    rows = math.ceil(len(draws) / columns)
    figure, panels = canvas(rows, columns, height=1.9 * rows + 0.5)
    for panel, (name, draw) in zip(panels, draws.items(), strict=False):
        draw(panel, run, axis)
        panel.set_title(name)
        dress(panel, axis)
        panel.set_xlabel(axis.title)
        if is_ratio:
            rise_by_ratio(panel)
    for panel in panels[len(draws) :]:
        panel.set_axis_off()
    for panel in panels[::columns]:
        panel.set_ylabel(title)
    share_range(panels[: len(draws)])
    legend(figure, panels, order=())
    return figure


def _draw_course(
    panel: "Axes",
    run: DynamicsRun,
    rows: Mapping[str, Measurement],
    axis: CheckpointAxis,
    *,
    name: str,
    colour: str,
    dash: Any,
) -> None:
    known = [(x, rows[key]) for key, x in zip(run.checkpoints, axis.positions, strict=True) if key in rows]
    known = [(x, row) for x, row in known if math.isfinite(row.value)]
    if not known:
        return
    xs = [x for x, _ in known]
    panel.plot(xs, [row.value for _, row in known], color=colour, lw=1.2, ls=dash, marker="o", ms=2, label=name)
    for x, row in known:
        if math.isfinite(row.lower) and math.isfinite(row.upper):
            panel.plot([x, x], [row.lower, row.upper], color=colour, lw=0.7, alpha=0.7)
