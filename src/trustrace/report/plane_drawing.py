"""Figures drawn with matplotlib of the information plane: dependence over checkpoints, one panel a site, and the plane itself.

Every line is a number of the tidy table. The null stands as a grey band, the ceiling as a dashed line; the plane's colour is training.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trustrace.report.axis import CheckpointAxis, checkpoint_axis
from trustrace.report.canvas import MOST_PANELS, canvas, dress, legend, share_range, spaced, trained
from trustrace.report.glossary import dataset_title
from trustrace.report.grids import Grid, Trace, View
from trustrace.report.information import CALIBRATED, MOVING_X_SITE, X_QUANTITIES, Y_QUANTITY, main_method, x_quantities
from trustrace.report.information_glossary import dependence, estimator
from trustrace.report.palette import FLOOR_DASHES, LIGHT, depth_colours
from trustrace.report.phases import judged, peak_place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LINES = 9
_LEGEND = [
    "I(T;X)",
    "I(T;Y)",
    "95 % interval",
    "null, central 95 %",
    "ceiling",
    "random initialisation",
    "peak of a rise and fall",
]


# ── dependence over checkpoints, a pair of panels a site ──


def information(trace: Trace, view: View) -> "Figure":
    """I(T;X) above I(T;Y) over checkpoints for each site, with intervals, nulls, the ceiling and the peaks of I(T;X)."""
    quantities, sites = _drawn_quantities(trace, view), drawn_sites(trace, view)
    columns = min(4, len(sites))
    figure, panels = _pairs(math.ceil(len(sites) / columns), columns, len(quantities))
    for quantity, row in zip(quantities, panels, strict=True):
        used = row[: len(sites)]
        for site, panel in zip(sites, used, strict=True):
            _draw_dependence(panel, trace, view, quantity, site)
        _share_with_ceiling(used, _ceiling(trace, view, quantity))
        for place, (site, panel) in enumerate(zip(sites, used, strict=True)):
            _draw_peak(panel, trace, view, quantity, site)
            panel.tick_params(labelleft=place % columns == 0, labelbottom=row is panels[-1])
            panel.set_ylabel("" if place % columns else f"{_line_name(quantity)} ({_scale(trace, view)})")
        for panel in row[len(sites) :]:
            panel.set_visible(False)
    _name_panels(trace, view, [row[: len(sites)] for row in panels], columns)
    legend(figure, [panel for row in panels for panel in row[: len(sites)]], order=_LEGEND)
    return figure


def drawn_sites(trace: Trace, view: View) -> list[int]:
    """The sites that :func:`information` shows; empty where there is nothing to draw."""
    return _shown_sites(trace, view, _drawn_quantities(trace, view))


def _drawn_quantities(trace: Trace, view: View) -> list[str]:
    return [name for name in (_x(trace, view), Y_QUANTITY) if name and _main(trace, view, name) is not None]


def _name_panels(trace: Trace, view: View, panels: "Sequence[Sequence[Axes]]", columns: int) -> None:
    """The site above each pair, what the checkpoint axis counts below the lowest row."""
    series, sites = trace.series[view.model], drawn_sites(trace, view)
    is_moving = _drawn_quantities(trace, view)[0] == X_QUANTITIES[0]
    for site, panel in zip(sites, panels[0], strict=True):
        name = series.sites[site]
        panel.set_title(f"{name} · X itself" if is_moving and name == MOVING_X_SITE else name, pad=7)
    for place, panel in enumerate(panels[-1]):
        if place // columns == (len(sites) - 1) // columns:
            panel.set_xlabel(checkpoint_axis(series.checkpoints).title)


def _scale(trace: Trace, view: View) -> str:
    """What the vertical axis counts, in a word."""
    title = estimator(main_method(trace, view)).title
    return "nHSIC" if title.startswith("nHSIC") else title


def _x(trace: Trace, view: View) -> str:
    """The X of the paper's figures where it was measured, else the first that was."""
    return next(iter(x_quantities(trace, view)), "")


def _main(trace: Trace, view: View, quantity: str, role: str = "measured") -> Grid | None:
    return trace.dependence(view, main_method(trace, view), quantity, role=role)


def _shown_sites(trace: Trace, view: View, quantities: Sequence[str], most: int = MOST_PANELS) -> list[int]:
    """Sites where any of `quantities` was measured, or evenly spaced ones of them where there are too many."""
    series = trace.series.get(view.model)
    if series is None:
        return []
    grids = [grid for name in quantities if (grid := _main(trace, view, name)) is not None]
    found = [
        site
        for site in range(len(series.sites))
        if any(np.isfinite(grid.value[: len(series.checkpoints), site]).any() for grid in grids)
    ]
    return [found[place] for place in spaced(len(found), most)]


def _pairs(rows: int, columns: int, parts: int) -> "tuple[Figure, list[list[Axes]]]":
    """For each site `parts` panels, one above the other."""
    figure, panels = canvas(rows * parts, columns, height=(0.85 * parts + 0.45) * rows + 0.75)
    return figure, [
        [panels[(row * parts + part) * columns + column] for row in range(rows) for column in range(columns)]
        for part in range(parts)
    ]


def _draw_dependence(panel: "Axes", trace: Trace, view: View, quantity: str, site: int) -> None:
    grid = _main(trace, view, quantity)
    axis = checkpoint_axis(trace.series[view.model].checkpoints)
    if grid is None:
        return
    colour = LIGHT.focus if quantity == Y_QUANTITY else LIGHT.deep
    _draw_references(panel, trace, view, quantity, site, axis)
    lower, upper = (trained(end, axis)[:, site] for end in (grid.lower, grid.upper))
    panel.fill_between(axis.positions, lower, upper, color=colour, alpha=0.2, lw=0, label="95 % interval")
    style: dict[str, Any] = {"color": colour, "lw": 1.3, "marker": "o" if len(axis.positions) == 1 else None, "ms": 3}
    panel.plot(axis.positions, trained(grid.value, axis)[:, site], label=_line_name(quantity), **style)
    dress(panel, axis)


def _draw_references(panel: "Axes", trace: Trace, view: View, quantity: str, site: int, axis: CheckpointAxis) -> None:
    null = _main(trace, view, quantity, "null")
    if null is not None:
        lower, upper = (trained(end, axis)[:, site] for end in (null.lower, null.upper))
        panel.fill_between(axis.positions, lower, upper, color=LIGHT.ghost, lw=0, zorder=1, label="null, central 95 %")
        panel.plot(axis.positions, trained(null.value, axis)[:, site], color=LIGHT.floor, lw=0.6, zorder=1.5)
    grid, series = _main(trace, view, quantity), trace.series[view.model]
    for column in range(len(series.checkpoints), len(series.columns)):
        value = math.nan if grid is None else float(grid.value[column, site])
        if math.isfinite(value):
            style: dict[str, Any] = {"ls": FLOOR_DASHES["random_initialisation"], "label": "random initialisation"}
            panel.axhline(value, color=LIGHT.floor, lw=0.8, **style)


def _ceiling(trace: Trace, view: View, quantity: str) -> float:
    """The ceiling of a quantity, which is one for all sites; NaN where there is none."""
    grid = _main(trace, view, quantity, "ceiling")
    defined = grid.value[np.isfinite(grid.value)] if grid is not None else np.zeros(0)
    return float(defined.max()) if len(defined) else math.nan


def _share_with_ceiling(panels: Sequence["Axes"], ceiling: float) -> None:
    """One vertical range; a ceiling far above all numbers is told in words and does not squeeze them."""
    share_range(panels)
    low, high = panels[0].get_ylim()
    if not math.isfinite(ceiling):
        return
    near = ceiling <= low + 2.2 * (high - low)
    for panel in panels:
        if near:
            panel.axhline(ceiling, color=LIGHT.floor, lw=0.8, ls=FLOOR_DASHES["length_and_case"], label="ceiling")
            panel.set_ylim(low, max(high, ceiling + 0.04 * (ceiling - low)))
    if not near:
        panels[0].text(
            0.02, 0.97, f"ceiling {ceiling:.2f}", transform=panels[0].transAxes, va="top", fontsize=6, color=LIGHT.muted
        )


def _draw_peak(panel: "Axes", trace: Trace, view: View, quantity: str, site: int) -> None:
    """A triangle at the top edge where the peak stands, and a bar over its interval."""
    series = trace.series[view.model]
    phase = judged(trace, view).get((series.sites[site], quantity, False))
    place = peak_place(phase, checkpoint_axis(series.checkpoints)) if phase else None
    if place is None:
        return
    edge: dict[str, Any] = {"transform": panel.get_xaxis_transform(), "clip_on": False, "zorder": 6, "color": LIGHT.ink}
    value, lower, upper = place
    panel.plot([lower, upper], [1.0, 1.0], lw=1.6, solid_capstyle="butt", **edge)
    panel.plot([value], [1.0], "v", ms=4.5, ls="none", label="peak of a rise and fall", **edge)


def _line_name(quantity: str) -> str:
    return "I(T;Y)" if quantity == Y_QUANTITY else "I(T;X)"


# ── the plane ──


def plane(trace: Trace, view: View) -> "Figure":
    """I(T;Y) against I(T;X), a line per site and a point per checkpoint: as measured, calibrated, and calibrated with X held fixed."""
    ways = plane_ways(trace, view)
    figure, panels = canvas(1, len(ways), height=2.75)
    points = [_draw_plane(panel, trace, view, *way) for panel, way in zip(panels, ways, strict=True)]
    _share_calibrated([panel for panel, (_, suffix) in zip(panels, ways, strict=True) if suffix])
    for panel, (name, suffix) in zip(panels, ways, strict=True):
        panel.set_title(_way_title(name, suffix))
        panel.set_xlabel("I(T;X), calibrated" if suffix else f"I(T;X) ({_scale(trace, view)})")
        panel.set_ylabel("I(T;Y), calibrated" if suffix else f"I(T;Y) ({_scale(trace, view)})")
        _name_lines(panel, trace, view, name + suffix, Y_QUANTITY + suffix)
    _colour_bar(figure, panels, points[0], checkpoint_axis(trace.series[view.model].checkpoints))
    return figure


def plane_ways(trace: Trace, view: View) -> list[tuple[str, str]]:
    """At most three planes that exist: each X with what is added to the names of its measures."""
    names = x_quantities(trace, view)
    wanted = [(name, "") for name in names[:1]] + [(name, CALIBRATED) for name in names[:2]]
    return [
        (name, suffix)
        for name, suffix in wanted
        if _main(trace, view, name + suffix) is not None and _main(trace, view, Y_QUANTITY + suffix) is not None
    ]


def _way_title(name: str, suffix: str) -> str:
    title = dependence(name).title.removeprefix("I(T;X), ")
    return f"{title[:1].upper()}{title[1:]}{', calibrated' if suffix else ''}"


def _draw_plane(panel: "Axes", trace: Trace, view: View, name: str, suffix: str) -> Any:
    x, y = _main(trace, view, name + suffix), _main(trace, view, Y_QUANTITY + suffix)
    axis = checkpoint_axis(trace.series[view.model].checkpoints)
    points: Any = panel.scatter([], [], c=[], cmap="cividis", vmin=axis.limits[0], vmax=axis.limits[1])
    colours = depth_colours(len(trace.series[view.model].sites), LIGHT)
    for site in _shown_sites(trace, view, [name + suffix], _MOST_LINES):
        if x is not None and y is not None:
            across, up = trained(x.value, axis)[:, site], trained(y.value, axis)[:, site]
            panel.plot(across, up, color=colours[site], lw=0.8, zorder=2)
            style: dict[str, Any] = {"cmap": "cividis", "vmin": axis.limits[0], "vmax": axis.limits[1]}
            panel.scatter(across, up, c=axis.positions, s=7, lw=0.25, edgecolors=LIGHT.ink, zorder=3, **style)
    panel.grid(color=LIGHT.grid, lw=0.5, zorder=0)
    panel.set_axisbelow(True)
    return points


def _share_calibrated(panels: Sequence["Axes"]) -> None:
    """One range for all calibrated planes, 0 within: what is small must look small."""
    if not panels:
        return
    for ends, setter in (("get_xlim", "set_xlim"), ("get_ylim", "set_ylim")):
        lows, highs = zip(*(getattr(panel, ends)() for panel in panels), strict=True)
        for panel in panels:
            getattr(panel, setter)(min(0.0, *lows), max(highs))


def _name_lines(panel: "Axes", trace: Trace, view: View, x_name: str, y_name: str) -> None:
    """The site of each line at the right edge, moved apart where names would overlap, and a hairline to where the line ends."""
    x, y = _main(trace, view, x_name), _main(trace, view, y_name)
    series = trace.series[view.model]
    if x is None or y is None:
        return
    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    ends = []
    for site in _shown_sites(trace, view, [x_name], _MOST_LINES):
        across, up = x.value[: len(series.checkpoints), site], y.value[: len(series.checkpoints), site]
        known = np.flatnonzero(np.isfinite(across) & np.isfinite(up))
        if len(known):
            end = known[-1]
            ends.append(((up[end] - low) / (high - low), (across[end] - left) / (right - left), series.sites[site]))
    heights = _apart([end[0] for end in sorted(ends)], gap=0.05)
    for height, (up, across, name) in zip(heights, sorted(ends), strict=True):
        line: dict[str, Any] = {"transform": panel.transAxes, "clip_on": False, "zorder": 1.5, "lw": 0.4}
        panel.plot([across, 1.01], [up, height], color=LIGHT.edge, **line)
        panel.text(1.02, height, name, transform=panel.transAxes, va="center", fontsize=5.5, color=LIGHT.ink)


def _apart(places: Sequence[float], *, gap: float) -> list[float]:
    """Sorted `places` between 0 and 1, moved up and then down until each stands `gap` from the next and none at the upper edge."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    below = 0.98
    for at in reversed(range(len(moved))):
        moved[at] = min(moved[at], below)
        below = moved[at] - gap
    return moved


def _colour_bar(figure: "Figure", panels: Sequence["Axes"], colours: Any, axis: CheckpointAxis) -> None:
    bar = figure.colorbar(colours, ax=list(panels), pad=0.015, fraction=0.03, aspect=30)
    bar.set_ticks([place for place, _ in axis.ticks], labels=[name for _, name in axis.ticks])
    bar.set_label(axis.title)
    bar.outline.set_visible(False)


# ── what the figures say ──


def information_caption(trace: Trace, view: View) -> str:
    """What :func:`information` shows."""
    return (
        f"{dataset_title(view.dataset)}: dependence of the activations T on the input X (blue) and on the label Y (orange) over the "
        f"checkpoints of {view.model}, one pair of panels per site, with 95 % intervals; {estimator(main_method(trace, view)).title}, "
        f"{view.protocol} protocol, position {view.position!r}. X is {_x_said(_x(trace, view))}. Grey bands hold the central 95 % of what "
        "shuffled pairs give; a triangle marks the peak of a rise and fall with its interval. These are not nats."
    )


def plane_caption(trace: Trace, view: View) -> str:
    """What :func:`plane` shows."""
    return (
        f"{dataset_title(view.dataset)}: the information plane of {view.model}, a line per site from shallow (light) to deep (dark), a "
        f"point per checkpoint, coloured by training; {estimator(main_method(trace, view)).title}, {view.protocol} protocol, position "
        f"{view.position!r}. Calibrated values are 0 for unrelated data and 1 at most; where X is held fixed only T can move."
    )


def _x_said(name: str) -> str:
    if name == X_QUANTITIES[0]:
        return "the output of the first block of the same checkpoint"
    return dependence(name).title.removeprefix("I(T;X), X ") or "not measured"
