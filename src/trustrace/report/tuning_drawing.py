"""Held-out losses by update: one panel a model, one line a tuning, a ring where its weights were kept."""

import math
from typing import TYPE_CHECKING

from trustrace.report.canvas import MOST_PANELS, canvas, legend, spaced
from trustrace.report.palette import LIGHT, depth_colours
from trustrace.report.tuning_runs import Learning, TuningRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEPT = "weights that were kept"
DOCUMENTS = ", rehearsed documents"
_HIGH = 2.2


def losses_figure(run: TuningRun) -> "Figure | None":
    """One panel a model, of evenly spaced ones where they are many; None where nothing was tuned."""
    tuned = list(dict.fromkeys(one.base for one in run.learnings))
    if not tuned:
        return None
    chosen = [tuned[place] for place in spaced(len(tuned), MOST_PANELS)]
    labels = list(dict.fromkeys(one.label for one in run.learnings))
    colours = dict(zip(labels, depth_colours(len(labels), LIGHT), strict=True))
    # Tunings often end together: of lines on top of each other the lower ones are wider, so that they are seen.
    widths = {label: 1.1 + 0.9 * (len(labels) - 1 - place) for place, label in enumerate(labels)}
    columns = min(3, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure, panels = canvas(rows, columns, height=_HIGH * rows + 0.4)
    for panel, base in zip(panels, chosen, strict=False):
        for one in run.learnings:
            if one.base == base:
                _draw(panel, one, colours[one.label], widths[one.label])
        _dress(panel, base)
    for panel in panels[len(chosen) :]:
        panel.set_axis_off()
    legend(figure, panels[: len(chosen)], order=labels)
    return figure


def _draw(panel: "Axes", one: Learning, colour: str, width: float) -> None:
    steps, losses = zip(*one.losses, strict=True)
    panel.plot(steps, losses, color=colour, lw=width, label=one.label)
    if one.documents:
        panel.plot(*zip(*one.documents, strict=True), color=colour, lw=0.9, ls=(0, (3, 2)), label=one.label + DOCUMENTS)
    loss = dict(one.losses)[one.kept]
    panel.plot([one.kept], [loss], color=LIGHT.focus, marker="o", ms=5, mfc="none", ls="none", label=KEPT)


def _dress(panel: "Axes", base: str) -> None:
    panel.set_title(base)
    panel.set_xlabel("updates")
    panel.set_ylabel("held-out loss, nats a token")
    panel.grid(axis="y", color=LIGHT.grid, lw=0.5, zorder=0)
    panel.set_axisbelow(True)
