"""What all drawings share: one style, one canvas, one checkpoint axis, one legend."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from trustrace.core.errors import MissingExtraError
from trustrace.report.axis import CheckpointAxis
from trustrace.report.palette import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.2
"""Inches: the text width of a two-column paper."""

MOST_PANELS = 12
_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.edgecolor": LIGHT.muted,
    "axes.labelcolor": LIGHT.ink,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.color": LIGHT.muted,
    "ytick.color": LIGHT.muted,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "text.color": LIGHT.ink,
    "text.parse_math": False,  # A name may hold a dollar sign; it is shown, not typeset.
    "pdf.fonttype": 42,  # Journals refuse the default, Type 3.
    "savefig.dpi": 220,
    "legend.frameon": False,
    "legend.fontsize": 6.5,
}


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw in the report's style, whatever the user's own settings are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtraError.of("matplotlib", extra="report", purpose="drawing figures") from None
    with mpl.rc_context(_RC), warnings.catch_warnings():
        # A script that the font does not cover is drawn as boxes in the figure; the page shows it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def trained(values: Shaped[np.ndarray, "column site"], axis: CheckpointAxis) -> Shaped[np.ndarray, "checkpoint site"]:
    """The rows of a grid that are checkpoints, without the untrained twins after them."""
    return values[: len(axis.positions)]


def canvas(rows: int, columns: int, *, height: float) -> "tuple[Figure, list[Axes]]":
    """A figure of `height` inches and its panels, row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH if columns > 1 else WIDTH / 2, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    return figure, list(panels.flat)


def dress(panel: "Axes", axis: CheckpointAxis) -> None:
    """Give `panel` the checkpoint axis and a quiet grid."""
    panel.set_xlim(*axis.limits)
    panel.set_xticks([place for place, _ in axis.ticks], [name for _, name in axis.ticks])
    if axis.zero_break is not None:
        panel.axvline(axis.zero_break, color=LIGHT.ghost, lw=0.6, zorder=0)
    panel.grid(axis="y", color=LIGHT.grid, lw=0.5, zorder=0)
    panel.set_axisbelow(True)


def rise_by_ratio(panel: "Axes") -> None:
    """A logarithmic vertical axis with few ticks that are plain numbers, whether it covers a tenth of a decade or five of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    panel.set_yscale("log")
    low, high = panel.get_ylim()
    near = MaxNLocator(5, steps=(1, 2, 2.5, 5, 10))
    panel.yaxis.set_major_locator(near if high < 10 * low else LogLocator(subs=(1.0, 3.0), numticks=8))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def share_range(panels: Sequence["Axes"]) -> None:
    """One vertical range for all panels: heights must compare."""
    lows, highs = zip(*(panel.get_ylim() for panel in panels), strict=True)
    for panel in panels:
        panel.set_ylim(min(lows), max(highs))


def legend(figure: "Figure", panels: Sequence["Axes"], *, order: Sequence[str]) -> None:
    """One legend below all panels; the names of `order` come first."""
    entries: dict[str, Any] = {}
    for panel in panels:
        handles, names = panel.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    names = sorted(entries, key=lambda name: (order.index(name) if name in order else len(order), name))
    figure.legend(
        [entries[name] for name in names],
        names,
        loc="outside lower center",
        ncols=math.ceil(len(names) / math.ceil(len(names) / 5)) if names else 1,
        handlelength=2.6,
        columnspacing=1.4,
    )


def spaced(count: int, most: int, *, always: int | None = None) -> list[int]:
    """All of `count` places, or `most` evenly spaced ones; the ends and `always` are among them."""
    if count <= most:
        return list(range(count))
    places = {round(place) for place in np.linspace(0, count - 1, most)}
    if always is not None and always not in places:
        places.remove(min(places - {0, count - 1}, key=lambda place: abs(place - always)))
        places.add(always)
    return sorted(places)
