"""Everything the page of a comparison of checkpoints says."""

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trustrace.report import dynamics_sentences as told
from trustrace.report.axis import label
from trustrace.report.canvas import WIDTH, drawing_style
from trustrace.report.contents import counted, footer, provenance
from trustrace.report.dynamics_drawing import (
    drift_figure,
    emergence_figure,
    learned_figure,
    maps_figure,
    tolerance_figure,
)
from trustrace.report.dynamics_folder import DynamicsFolder
from trustrace.report.dynamics_glossary import TERMS
from trustrace.report.dynamics_runs import DatasetCourse, DynamicsRun, dynamics_run
from trustrace.report.dynamics_tables import (
    changes_table,
    course_table,
    emergence_table,
    hardest_tables,
    learned_table,
    matrix_table,
)
from trustrace.report.figures import FigureFile, save_figure, slug
from trustrace.report.glossary import Term, dataset_title
from trustrace.report.steering_tables import SteeringTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_REASONS = ("undefined: the direction is not reliable", "undefined: the clean accuracy")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure on disk, and the same as base64 for the page."""

    file: FigureFile
    png: str
    is_narrow: bool


@dataclass(frozen=True, kw_only=True)
class Part:
    """One question: what was found, its figure, and every number behind it; what is `listed` stands open."""

    title: str
    sentences: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    listed: tuple[SteeringTable, ...] = ()
    tables: tuple[SteeringTable, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetText:
    """One dataset, question by question."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class DynamicsPage:
    """Everything the page says; the template arranges it and changes nothing."""

    title: str
    what_was_run: str
    warnings: tuple[str, ...]
    datasets: tuple[DatasetText, ...]
    between: Part | None
    notes: tuple[tuple[str, int], ...]
    definitions: tuple[tuple[str, tuple[Term, ...]], ...]
    provenance: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    failures: tuple[dict[str, object], ...]
    footer: str


def dynamics_contents(folder: DynamicsFolder, figures: Path) -> DynamicsPage:
    """What the page of a comparison says; its figures are drawn into the folder `figures`, and shown in the page."""
    run = dynamics_run(folder)
    figures.mkdir(parents=True, exist_ok=True)
    with drawing_style():
        datasets = tuple(_dataset(run, course, figures) for course in run.datasets)
        between = _between(run, figures)
    return DynamicsPage(
        title=f"{folder.run.title}: checkpoints compared",
        what_was_run=_what_was_run(run),
        warnings=tuple(_warnings(folder, run)),
        datasets=datasets,
        between=between,
        notes=_notes(run),
        definitions=(("Quantities", TERMS),),
        provenance=tuple(provenance(folder.run)),
        failures=(),
        footer=footer(folder.run),
    )


def _notes(run: DynamicsRun) -> tuple[tuple[str, int], ...]:
    """What is noted of numbers, and of how many; the same reason is counted once, whatever checkpoint or number it names."""
    told = [row.note for row in run.rows if row.note and row.quantity != "transfer sign"]
    return tuple(Counter(next(filter(note.startswith, _REASONS), note) for note in told).most_common())


def _what_was_run(run: DynamicsRun) -> str:
    if not run.checkpoints:
        return "Nothing was compared yet."
    series = tuple(run.checkpoints.values())
    ends = dict.fromkeys(map(label, (series[0], series[-1])))
    sites = len({row.site for row in run.rows})
    return (
        f"{counted(len(run.checkpoints), 'checkpoint')} ({' to '.join(ends)}) of one run, {counted(sites, 'site')}, "
        f"{counted(len({row.dataset for row in run.rows}), 'dataset')}. {len(run.rows):,} numbers."
    )


def _warnings(folder: DynamicsFolder, run: DynamicsRun) -> Iterator[str]:
    for failure in folder.failures:
        yield f"Not compared: {failure}"
    for keys in folder.duplicates:
        yield f"{' and '.join(keys)} are equal bit for bit: one of them is not what its name says."
    if not run.datasets:
        yield "No dataset has a course over checkpoints here; at least two checkpoints must be readable."


def _dataset(run: DynamicsRun, course: DatasetCourse, folder: Path) -> DatasetText:
    return DatasetText(
        title=dataset_title(course.dataset),
        parts=(
            _transfer(run, course, folder),
            _layers(course, folder),
            _emergence(run, course, folder),
            _drift(run, course, folder),
            _learned(run, course, folder),
            _tolerance(run, course, folder),
            _changes(run, course),
        ),
    )


def _transfer(run: DynamicsRun, course: DatasetCourse, folder: Path) -> Part:
    maps = {site.site: site.transfer for site in course.drawn}
    caption = (
        "AUROC of the logistic probe of each checkpoint (rows) on the held-out statements of every other (columns), which that checkpoint "
        "standardises by its own training rows. A dot marks pairs whose 95 % interval holds 1/2, a cross what is undefined. Hatched: "
        "probes that find nothing at their own checkpoint; where they point is chance, and so is the side on which they come out "
        "elsewhere. Greyed: what random directions, or probes of permuted labels, reach in 95 % of draws."
    )
    return Part(
        title="Does the probe of one checkpoint read another",
        sentences=tuple(told.transfer_sentences(run, course)),
        pictures=_drawn(
            maps_figure(maps, _label_of(run), axes=("probe of", "tested on")), course, folder, "transfer", caption
        ),
        tables=tuple(
            matrix_table(
                matrix,
                _label_of(run),
                caption=f"{site}: AUROC of each checkpoint's probe in every other, 95 % intervals",
            )
            for site, matrix in maps.items()
        ),
    )


def _layers(course: DatasetCourse, folder: Path) -> Part:
    caption = "The same between the sites of the last checkpoint; greyed is what chance reaches."
    figure = maps_figure({"last checkpoint": course.layers}, str, axes=("probe of", "tested on"))
    return Part(
        title="Does the probe of one layer read another",
        sentences=tuple(told.layer_sentences(course)),
        pictures=_drawn(figure, course, folder, "layers", caption),
        tables=(matrix_table(course.layers, str, caption="AUROC of each site's probe in every other, 95 % intervals"),)
        if course.layers.cells
        else (),
    )


def _emergence(run: DynamicsRun, course: DatasetCourse, folder: Path) -> Part:
    caption = (
        "Four answers to when accuracy emerges at each site, with 95 % intervals; an arrow marks an interval without an upper end. Hollow "
        "marks stand aside of the axis: never, or from the start. What is undefined is not drawn."
    )
    return Part(
        title="When it emerges",
        sentences=tuple(told.emergence_sentences(course)),
        pictures=_drawn(emergence_figure(run, course), course, folder, "emergence", caption),
        listed=(emergence_table(course),),
    )


def _drift(run: DynamicsRun, course: DatasetCourse, folder: Path) -> Part:
    caption = (
        "Cosine of the probe's direction at each checkpoint with that of the last one, from different halves of the statements; what noise "
        "alone would leave of it (ceiling); and the ratio of both. Bars are 95 % jackknife intervals, cut at the frame. The last "
        "ratio is 1 by construction."
    )
    return Part(
        title="How far the direction turns",
        sentences=tuple(told.drift_sentences(run, course)),
        pictures=_drawn(drift_figure(run, course), course, folder, "drift", caption),
    )


def _learned(run: DynamicsRun, course: DatasetCourse, folder: Path) -> Part:
    caption = (
        "How many statements are right from each checkpoint on to the end (blue), at every checkpoint (grey), right once and wrong in the "
        "end, and never right (orange)."
    )
    has_statements = any(site.statements for site in course.drawn)
    kept = () if has_statements else ("What became of each statement was not kept; none is listed.",)
    return Part(
        title="What is learned and forgotten",
        sentences=(*told.learned_sentences(course), *kept),
        pictures=_drawn(learned_figure(run, course), course, folder, "learned", caption),
        listed=tuple(hardest_tables(course)),
        tables=(learned_table(run, course),) if has_statements else (),
    )


def _tolerance(run: DynamicsRun, course: DatasetCourse, folder: Path) -> Part:
    caption = (
        "The noise, in units of each feature's spread inside the classes, that brings accuracy halfway down to 1/2, with 95 % intervals. "
        "A cross marks checkpoints where it is undefined. Where accuracy is hardly above 1/2, so is its half: such a number says little, "
        "as its interval shows."
    )
    return Part(
        title="How fragile it is",
        sentences=tuple(told.tolerance_sentences(run, course)),
        pictures=_drawn(tolerance_figure(run, course), course, folder, "tolerance", caption),
        tables=tuple(course_table(run, site) for site in course.drawn if site.tolerance),
    )


def _changes(run: DynamicsRun, course: DatasetCourse) -> Part:
    has_changes = any(site.changes for site in course.drawn)
    return Part(
        title="Which checkpoints differ",
        sentences=tuple(told.change_sentences(course)),
        tables=(changes_table(run, course),) if has_changes else (),
    )


def _between(run: DynamicsRun, folder: Path) -> Part | None:
    """None where there is one dataset."""
    if not run.between:
        return None
    caption = (
        "AUROC of the logistic probe of each dataset (rows) on the held-out statements of every other (columns), at the last checkpoint. A "
        "dot marks pairs whose 95 % interval holds 1/2, a cross pairs of which too few rows are left. Greyed: what random directions, or "
        "probes of permuted labels, reach in 95 % of draws."
    )
    figure = maps_figure(run.between, dataset_title, axes=("probe of", "tested on"))
    file = _saved(figure, folder, stem="dynamics_datasets", title="between datasets", caption=caption)
    return Part(
        title="Does the probe of one dataset read another",
        sentences=tuple(told.between_sentences(run.between)),
        pictures=file,
        tables=tuple(
            matrix_table(matrix, dataset_title, caption=f"{site}: AUROC of each dataset's probe in every other")
            for site, matrix in run.between.items()
        ),
    )


def _label_of(run: DynamicsRun) -> Callable[[str], str]:
    return lambda key: label(run.checkpoints[key]).removesuffix(" tokens")


def _drawn(
    figure: "Figure | None", course: DatasetCourse, folder: Path, what: str, caption: str
) -> tuple[Picture, ...]:
    name = dataset_title(course.dataset)
    stem = f"dynamics_{what}_{slug(course.dataset)}"
    return _saved(figure, folder, stem=stem, title=what, caption=f"{name}. {caption}")


def _saved(figure: "Figure | None", folder: Path, *, stem: str, title: str, caption: str) -> tuple[Picture, ...]:
    """The figure on disk and for the page; none where there is nothing to draw."""
    if figure is None:
        return ()
    file = save_figure(figure, folder, stem=stem, title=title, caption=caption)
    png = base64.b64encode((folder / f"{stem}.png").read_bytes()).decode()
    return (Picture(file=file, png=png, is_narrow=bool(figure.get_figwidth() < WIDTH)),)
