"""Figures drawn with matplotlib: accuracy over checkpoints, the same by site, and site x checkpoint maps.

Every line and cell is a number of the tidy table. Sites are told apart by a ramp of one hue from shallow to deep; the site in focus is the
one chosen by the loss inside training rows; floors differ by dash, so that nothing rests on colour alone.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trustrace.report.axis import CheckpointAxis, checkpoint_axis, map_ticks
from trustrace.report.canvas import MOST_PANELS, WIDTH, canvas, dress, legend, share_range, spaced, trained
from trustrace.report.findings import DEFAULT_METHOD, UNCHOSEN, finding, focus_site
from trustrace.report.glossary import FLOORS, dataset_title, quantity
from trustrace.report.glossary import floor as floor_term
from trustrace.report.grids import UNMEASURED, Address, Grid, Trace, View
from trustrace.report.palette import FLOOR_DASHES, LIGHT, depth_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEGEND = ["chosen site", "95 % interval", "first above every floor", *(term.title for term in FLOORS.values())]

# ── accuracy over checkpoints, one panel a dataset ──


def overview(trace: Trace, views: Sequence[View]) -> "Figure":
    """Accuracy over checkpoints, one panel a view: the chosen site with its interval, the other sites, the floors."""
    columns = min(3, len(views))
    rows = math.ceil(len(views) / columns)
    figure, panels = canvas(rows, columns, height=1.75 * rows + 0.75)
    for view, panel in zip(views, panels, strict=False):
        _draw_overview(panel, trace, view)
    share_range(panels[: len(views)])
    _finish(figure, panels, len(views), columns, trace, views)
    return figure


def _draw_overview(panel: "Axes", trace: Trace, view: View) -> None:
    grid = _accuracy(trace, view)
    series = trace.series[view.model]
    axis = checkpoint_axis(series.checkpoints)
    colours = depth_colours(len(series.sites), LIGHT)
    focus = focus_site(trace, view)
    for site, (name, colour) in enumerate(zip(series.sites, colours, strict=True)):
        if site != focus and name != "embed":  # The input embedding is drawn among the floors.
            panel.plot(axis.positions, trained(grid.value, axis)[:, site], color=colour, lw=0.8, label="other sites")
    if focus != UNCHOSEN:
        _draw_focus(panel, trace, grid, axis, focus)
    _draw_floors(panel, trace, grid, axis, focus)
    dress(panel, axis)
    panel.set_title(dataset_title(view.dataset) + (f" · {series.sites[focus]}" if focus != UNCHOSEN else ""))


def _draw_focus(panel: "Axes", trace: Trace, grid: Grid, axis: CheckpointAxis, focus: int) -> None:
    lower, upper = (trained(end, axis)[:, focus] for end in (grid.lower, grid.upper))
    panel.fill_between(axis.positions, lower, upper, color=LIGHT.focus, alpha=0.18, lw=0, label="95 % interval")
    marker = "o" if len(axis.positions) == 1 else None
    panel.plot(
        axis.positions,
        trained(grid.value, axis)[:, focus],
        color=LIGHT.focus,
        lw=1.6,
        marker=marker,
        ms=3,
        label="chosen site",
    )
    found = finding(trace, grid.address.view)
    if found and found.first:
        place = axis.positions[found.first.column]
        style: dict[str, Any] = {"marker": "o", "ms": 4.5, "mfc": "white", "mec": LIGHT.focus, "mew": 1.2, "ls": "none"}
        panel.plot([place], [found.first.value], label="first above every floor", zorder=5, **style)


def _draw_floors(panel: "Axes", trace: Trace, grid: Grid, axis: CheckpointAxis, site: int) -> None:
    for floor in trace.floors_of(grid.address.view, grid.address.quantity):
        panel.axhline(floor.value, **_floor_style(floor.method))
    series = trace.series[grid.address.view.model]
    if "embed" in series.sites:
        embed = trained(grid.value, axis)[:, series.sites.index("embed")]
        panel.plot(axis.positions, embed, **_floor_style("input_embedding"))
    if site != UNCHOSEN:
        for column in range(len(series.checkpoints), len(series.columns)):
            panel.axhline(grid.value[column, site], **_floor_style("random_initialisation"))


def _floor_style(name: str) -> dict[str, Any]:
    return {
        "color": LIGHT.floor,
        "lw": 0.8,
        "ls": FLOOR_DASHES.get(name, (0, (1, 1))),
        "label": floor_term(name).title,
    }


# ── accuracy over checkpoints, one panel a site ──


def layers(trace: Trace, view: View) -> "Figure":
    """Accuracy over checkpoints, one panel a site, each with its interval, its floors and its control labels."""
    sites = _shown_sites(trace, view)
    columns = min(4, len(sites))
    rows = math.ceil(len(sites) / columns)
    figure, panels = canvas(rows, columns, height=1.4 * rows + 0.75)
    for site, panel in zip(sites, panels, strict=False):
        _draw_site(panel, trace, view, site)
    share_range(panels[: len(sites)])
    _finish(figure, panels, len(sites), columns, trace, [view])
    return figure


def _shown_sites(trace: Trace, view: View) -> list[int]:
    """All sites, or evenly spaced ones where there are too many; the ends and the chosen site are always among them."""
    focus = focus_site(trace, view)
    return spaced(len(trace.series[view.model].sites), MOST_PANELS, always=None if focus == UNCHOSEN else focus)


def _draw_site(panel: "Axes", trace: Trace, view: View, site: int) -> None:
    grid = _accuracy(trace, view)
    series = trace.series[view.model]
    axis = checkpoint_axis(series.checkpoints)
    for other in range(len(series.sites)):
        if other != site:
            panel.plot(
                axis.positions,
                trained(grid.value, axis)[:, other],
                color=LIGHT.ghost,
                lw=0.5,
                zorder=1,
                label="other sites",
            )
    chosen = site == focus_site(trace, view)
    colour = LIGHT.focus if chosen else LIGHT.deep
    lower, upper = (trained(end, axis)[:, site] for end in (grid.lower, grid.upper))
    panel.fill_between(axis.positions, lower, upper, color=colour, alpha=0.18, lw=0)
    style: dict[str, Any] = {"color": colour, "lw": 1.3, "marker": "o" if len(axis.positions) == 1 else None, "ms": 3}
    name = "chosen site" if chosen else "this site"
    panel.plot(axis.positions, trained(grid.value, axis)[:, site], label=name, **style)
    _draw_floors(panel, trace, grid, axis, site)
    _draw_control(panel, trace, view, axis, site)
    dress(panel, axis)
    panel.set_title(series.sites[site] + (" · chosen" if chosen else ""), color=LIGHT.ink)


def _draw_control(panel: "Axes", trace: Trace, view: View, axis: CheckpointAxis, site: int) -> None:
    control = trace.grid(view, DEFAULT_METHOD, "accuracy", role="control")
    if control is not None:
        values = trained(control.value, axis)[:, site]
        panel.plot(axis.positions, values, color=LIGHT.deep, lw=0.7, ls=(0, (0.8, 1.4)), label="control labels")


# ── layer x checkpoint ──


def value_range(trace: Trace, views: Sequence[View]) -> tuple[float, float]:
    """One colour range for all maps of a report: colours must compare."""
    values = np.concatenate([_accuracy(trace, view).value.ravel() for view in views])
    defined = values[np.isfinite(values)]
    return (float(defined.min()), float(defined.max())) if len(defined) else (0.0, 1.0)


def site_map(trace: Trace, view: View, limits: tuple[float, float]) -> "Figure":
    """Accuracy by site and checkpoint in colours that run over `limits`, with the chosen site of each checkpoint."""
    from matplotlib.figure import Figure

    grid = _accuracy(trace, view)
    series = trace.series[view.model]
    axis = checkpoint_axis(series.checkpoints)
    figure = Figure(figsize=(WIDTH, min(5.2, 0.95 + 0.19 * len(series.sites))), layout="constrained")
    panel = figure.subplots()
    style = {"cmap": _map_colours(), "vmin": limits[0], "vmax": limits[1]}
    image = panel.imshow(trained(grid.value, axis).T, origin="lower", aspect="auto", interpolation="nearest", **style)
    _mark_chosen(panel, trace, view)
    _mark_undefined(panel, grid, axis)
    _label_map(panel, series.sites, axis)
    panel.set_title(f"{dataset_title(view.dataset)} · {view.protocol} protocol")
    bar = figure.colorbar(image, ax=panel, pad=0.015, fraction=0.03)
    bar.set_label("Accuracy")
    bar.outline.set_visible(False)
    return figure


def _map_colours() -> Any:
    from matplotlib import colormaps

    return colormaps["cividis"].with_extremes(bad=LIGHT.missing)


def _mark_chosen(panel: "Axes", trace: Trace, view: View) -> None:
    """A dot on the chosen site of each checkpoint: filled where its interval lies above every floor."""
    found = finding(trace, view)
    if found is None:
        return
    size = 3.2 if found.n_checkpoints <= 60 else 1.6
    for reading, above in zip(found.best, found.above, strict=True):
        # A white ring on a dark rim is seen on every colour of the map.
        place, fill = ([reading.column], [reading.row]), "white" if above else "none"
        panel.plot(*place, "o", ms=size + 1.2, mfc="none", mec="black", mew=0.5)
        panel.plot(*place, "o", ms=size, mfc=fill, mec="white", mew=0.7)


def _mark_undefined(panel: "Axes", grid: Grid, axis: CheckpointAxis) -> None:
    """A cross on each number that is undefined, which an empty cell is not: that one was not measured."""
    columns, rows = np.nonzero(~np.isfinite(trained(grid.value, axis)) & (trained(grid.notes, axis) != UNMEASURED))
    panel.plot(columns, rows, "x", ms=3, mec=LIGHT.muted, mew=0.7)


def _label_map(panel: "Axes", sites: Sequence[str], axis: CheckpointAxis) -> None:
    stride = max(1, math.ceil(len(sites) / 18))
    shown = sorted({*range(0, len(sites), stride), len(sites) - 1})
    panel.set_yticks(shown, [sites[site] for site in shown])
    columns = map_ticks(len(axis.labels))
    panel.set_xticks(columns, [axis.labels[column].removesuffix(" tokens") for column in columns])
    panel.set_xlabel(f"{axis.title} (one column per checkpoint)")
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)


# ── shared parts ──


def _accuracy(trace: Trace, view: View) -> Grid:
    return trace.grids[Address(view=view, method=DEFAULT_METHOD, role="measured", quantity="accuracy")]


def _finish(
    figure: "Figure", panels: Sequence["Axes"], used: int, columns: int, trace: Trace, views: Sequence[View]
) -> None:
    for panel in panels[used:]:
        panel.set_visible(False)
    for place, panel in enumerate(panels[:used]):
        if place % columns:
            panel.tick_params(labelleft=False)
        else:
            panel.set_ylabel(quantity("accuracy").title)
        if place // columns == (used - 1) // columns:
            panel.set_xlabel(checkpoint_axis(trace.series[views[0].model].checkpoints).title)
    legend(figure, panels[:used], order=_LEGEND)
