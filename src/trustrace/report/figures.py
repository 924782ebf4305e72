"""The figures of a report on disk: which there are, what they are called, what each shows."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trustrace.report.canvas import drawing_style
from trustrace.report.drawing import layers, overview, site_map, value_range
from trustrace.report.findings import DEFAULT_METHOD
from trustrace.report.glossary import dataset_title
from trustrace.report.grids import Trace, View
from trustrace.report.plane_drawing import (
    drawn_sites,
    information,
    information_caption,
    plane,
    plane_caption,
    plane_ways,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Part = Literal["probes", "information", "steering"]


@dataclass(frozen=True, kw_only=True)
class FigureFile:
    """A figure on disk: `stem` + ``.png`` and ``.pdf``, what to call it, what it shows, and which part of the page it belongs to."""

    stem: str
    title: str
    caption: str
    dataset: str = ""
    part: Part = "probes"


def write_figures(trace: Trace, folder: Path) -> tuple[FigureFile, ...]:
    """Draw every figure of `trace` into `folder`.

    One set for each model, protocol and position, of the first seed and the logistic probe; names say which wherever there is a choice.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with drawing_style():
        return tuple(_written(trace, folder))


def _written(trace: Trace, folder: Path) -> Iterator[FigureFile]:
    for variant, views in _variants(_with_accuracy(trace)).items():
        told_apart = variant.replace("_", " ")
        yield save_figure(
            overview(trace, views),
            folder,
            stem=f"overview{variant}",
            title=f"all datasets{told_apart}",
            caption=_overview_caption(views),
        )
        limits = value_range(trace, views)
        for view in views:
            name = f"{slug(view.dataset)}{variant}"
            yield save_figure(
                layers(trace, view),
                folder,
                stem=f"layers_{name}",
                title=f"by site{told_apart}",
                caption=_layers_caption(view),
                dataset=view.dataset,
            )
            yield save_figure(
                site_map(trace, view, limits),
                folder,
                stem=f"map_{name}",
                title=f"map{told_apart}",
                caption=_map_caption(view),
                dataset=view.dataset,
            )
    for variant, views in _variants(_with_dependence(trace)).items():
        for view in views:
            yield from _information_written(trace, view, folder, variant)


def _information_written(trace: Trace, view: View, folder: Path, variant: str) -> Iterator[FigureFile]:
    name, told_apart = f"{slug(view.dataset)}{variant}", variant.replace("_", " ")
    yield save_figure(
        information(trace, view),
        folder,
        stem=f"information_{name}",
        title=f"by site{told_apart}",
        caption=information_caption(trace, view),
        dataset=view.dataset,
        part="information",
    )
    if plane_ways(trace, view):
        yield save_figure(
            plane(trace, view),
            folder,
            stem=f"plane_{name}",
            title=f"plane{told_apart}",
            caption=plane_caption(trace, view),
            dataset=view.dataset,
            part="information",
        )


def _with_accuracy(trace: Trace) -> list[View]:
    return [view for view in trace.views if trace.grid(view, DEFAULT_METHOD, "accuracy") is not None]


def _with_dependence(trace: Trace) -> list[View]:
    return [view for view in trace.information_views if drawn_sites(trace, view)]


def _variants(drawn: Sequence[View]) -> dict[str, list[View]]:
    """Views that belong on one figure, under the part of the file name that tells them from others."""
    variants: dict[str, list[View]] = {}
    for view in drawn:
        named = "".join(
            f"_{slug(getattr(view, part))}"
            for part in ("model", "protocol", "position")
            if len({getattr(other, part) for other in drawn}) > 1
        )
        members = variants.setdefault(named, [])
        if view.dataset not in {member.dataset for member in members}:  # Views come sorted: the first seed is kept.
            members.append(view)
    return variants


def slug(name: str) -> str:
    """`name` as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()[:80] or "unnamed"


def save_figure(
    figure: "Figure", folder: Path, *, stem: str, title: str, caption: str, dataset: str = "", part: Part = "probes"
) -> FigureFile:
    """`figure` as ``.png`` and ``.pdf`` in `folder`."""
    # Without a date in it, the same table gives the same file.
    figure.savefig(folder / f"{stem}.png", metadata={"Software": "trustrace"})
    figure.set_layout_engine("none")  # The layout is found once and holds for both.
    figure.savefig(folder / f"{stem}.pdf", metadata={"Creator": "trustrace", "CreationDate": None})
    return FigureFile(stem=stem, title=title, caption=caption, dataset=dataset, part=part)


def _overview_caption(views: Sequence[View]) -> str:
    view = views[0]
    return (
        f"Accuracy of a logistic probe over the checkpoints of {view.model}, {view.protocol} protocol, position {view.position!r}. Blue "
        "lines are sites from shallow (light) to deep (dark); the orange one is the site chosen at the last checkpoint by the loss inside "
        "training rows, with its 95 % interval. Dashed lines are floors. Zero stands apart at the left edge of the logarithmic axis."
    )


def _layers_caption(view: View) -> str:
    return (
        f"{dataset_title(view.dataset)}: accuracy of a logistic probe over the checkpoints of {view.model}, one panel per site, with 95 % "
        f"intervals; {view.protocol} protocol, position {view.position!r}. The other sites are drawn in grey, floors are dashed."
    )


def _map_caption(view: View) -> str:
    return (
        f"{dataset_title(view.dataset)}: accuracy of a logistic probe by site and checkpoint of {view.model}; {view.protocol} protocol, "
        f"position {view.position!r}. A dot marks the site chosen by the loss inside training rows, filled where its 95 % interval lies "
        "above every floor."
    )
