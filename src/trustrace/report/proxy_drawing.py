"""The paper's figure 18, for every task: bases before and after proxy-tuning over pre-training, tuned models as lines."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trustrace.core.measurements import Measurement
from trustrace.report.axis import checkpoint_axis
from trustrace.report.canvas import canvas, dress, legend, rise_by_ratio
from trustrace.report.palette import LIGHT, depth_colours
from trustrace.report.proxy_runs import Course, ProxyRun
from trustrace.report.steering_sentences import strength

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AS_IT_IS = "base as it is"
_DASHES = ((0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 3)))


def courses_figure(run: ProxyRun) -> "Figure | None":
    """One panel a task; None where nothing was measured."""
    if not run.drawn:
        return None
    columns = min(2, len(run.drawn))
    rows = math.ceil(len(run.drawn) / columns)
    figure, panels = canvas(rows, columns, height=2.3 * rows + 0.4)
    for panel, course in zip(panels, run.drawn, strict=False):
        _draw(panel, run, course)
    for panel in panels[len(run.drawn) :]:
        panel.set_axis_off()
    legend(figure, panels[: len(run.drawn)], order=(AS_IT_IS, *map(named, run.alphas)))
    return figure


def named(alpha: float) -> str:
    """What bases under this strength are called."""
    return f"tuned by proxy, alpha {strength(alpha)}"


def _draw(panel: "Axes", run: ProxyRun, course: Course) -> None:
    axis = checkpoint_axis([point.base for point in course.points])
    _draw_line(panel, axis.positions, [point.plain for point in course.points], AS_IT_IS, LIGHT.muted, "o")
    for alpha, colour in zip(run.alphas, _colours(run.alphas), strict=True):
        rows = [point.tuned[alpha].value for point in course.points]
        _draw_line(panel, axis.positions, rows, named(alpha), colour, "s")
    for (name, row), dashes in zip(course.others, _DASHES * len(course.others), strict=False):
        panel.axhline(row.value, color=LIGHT.ink, lw=0.8, ls=dashes, label=name)
    if course.ability.quantity == "perplexity":
        rise_by_ratio(panel)
    panel.set_title(course.ability.title)
    panel.set_xlabel(axis.title)
    dress(panel, axis)


def _colours(alphas: Sequence[float]) -> list[str]:
    """The strength of the paper, or the only one, stands out."""
    shades = list(depth_colours(len(alphas), LIGHT))
    focus = alphas.index(1.0) if 1.0 in alphas else 0 if len(alphas) == 1 else None
    return [LIGHT.focus if place == focus else shade for place, shade in enumerate(shades)]


def _draw_line(
    panel: "Axes", xs: Sequence[float], rows: Sequence[Measurement | None], name: str, colour: str, marker: str
) -> None:
    known = [(x, row) for x, row in zip(xs, rows, strict=True) if row is not None and math.isfinite(row.value)]
    if not known:
        return
    places, values = [x for x, _ in known], [row.value for _, row in known]
    panel.plot(places, values, color=colour, lw=1.3, marker=marker, ms=3, label=name)
    for x, row in known:
        if math.isfinite(row.lower) and math.isfinite(row.upper):
            panel.plot([x, x], [row.lower, row.upper], color=colour, lw=0.8, alpha=0.8)
