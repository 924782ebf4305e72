"""Everything the page of a run of proxy-tuning says."""

import base64
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trustrace.core.measurements import Measurement
from trustrace.report.axis import label
from trustrace.report.canvas import drawing_style
from trustrace.report.contents import counted, footer, provenance
from trustrace.report.figures import FigureFile, save_figure
from trustrace.report.glossary import Term
from trustrace.report.proxy_drawing import courses_figure, named
from trustrace.report.proxy_runs import Course, Point, ProxyRun, Tuned
from trustrace.report.run_folder import RunFolder
from trustrace.report.steering_glossary import definitions
from trustrace.report.steering_sentences import interval, shown, signed, strength, valued
from trustrace.report.steering_tables import SteeringCell, SteeringRow, SteeringTable
from trustrace.report.tables import ABSENT

_CAPTION = (
    "Each base as it is and tuned by proxy, over the tokens of pre-training, on the test half of each task, with 95 % intervals over "
    "groups of items. Lines across: models that are asked as they are. After the paper's figure 18."
)


@dataclass(frozen=True, kw_only=True)
class CourseText:
    """One task in words."""

    title: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ProxyPage:
    """Everything the page says; the template arranges it and changes nothing."""

    title: str
    what_was_run: str
    basis: str
    warnings: tuple[str, ...]
    courses: tuple[CourseText, ...]
    figure: FigureFile | None
    picture: str
    tables: tuple[SteeringTable, ...]
    notes: tuple[tuple[str, int], ...]
    definitions: tuple[tuple[str, tuple[Term, ...]], ...]
    provenance: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    failures: tuple[dict[str, object], ...]
    footer: str


def proxy_contents(run: RunFolder, proxied: ProxyRun, figures: Path) -> ProxyPage:
    """What the page of `run` says; its figure is drawn into the folder `figures`, and shown in the page."""
    drawn = _figure(proxied, figures)
    return ProxyPage(
        title=run.title,
        what_was_run=_what_was_run(run, proxied),
        basis=_basis(proxied),
        warnings=tuple(_warnings(proxied)),
        courses=tuple(
            CourseText(title=course.ability.title, sentences=tuple(_sentences(course))) for course in proxied.drawn
        ),
        figure=drawn,
        picture=base64.b64encode((figures / f"{drawn.stem}.png").read_bytes()).decode() if drawn else "",
        tables=tuple(_table(proxied, course) for course in proxied.courses),
        notes=tuple(Counter(row.note for row in proxied.rows if row.note).most_common()),
        definitions=definitions({row.quantity for row in proxied.rows}),
        provenance=tuple(provenance(run)),
        failures=run.failures,
        footer=footer(run),
    )


def _figure(proxied: ProxyRun, folder: Path) -> FigureFile | None:
    folder.mkdir(parents=True, exist_ok=True)
    with drawing_style():
        figure = courses_figure(proxied)
        return (
            save_figure(figure, folder, stem="proxy_tuning", title="proxy-tuning", caption=_CAPTION) if figure else None
        )


def _what_was_run(run: RunFolder, proxied: ProxyRun) -> str:
    bases = max((len(course.points) for course in proxied.courses), default=0)
    return (
        f"{counted(bases, 'base')}, tuned by proxy with {proxied.expert or 'nothing yet'} less {proxied.anti_expert or 'nothing yet'} at "
        f"alpha {', '.join(map(strength, proxied.alphas)) or '(none yet)'}. {run.table.num_rows:,} measurements."
    )


def _basis(proxied: ProxyRun) -> str:
    compared = sum(
        tuned.change_p is not None
        for course in proxied.drawn
        for point in course.points
        for tuned in point.tuned.values()
    )
    return (
        "Logits are those of the base plus alpha times the difference of the tuned model and the model that was tuned. Every number is of "
        "the test half, with a 95 % interval over groups of items; differences are paired over the same items, with p-values from "
        f"exchanging the two within groups. {counted(compared, 'comparison')} with a base stand below, without correction for their number."
    )


def _warnings(proxied: ProxyRun) -> Iterator[str]:
    for keys in proxied.equal_weights:
        yield f"{' and '.join(keys)} have equal weights: they are one model under several names."


def _sentences(course: Course) -> Iterator[str]:
    for name, row in course.others:
        yield f"{name} by itself: {valued(row)}."
    for point in course.points:
        for alpha, tuned in point.tuned.items():
            yield _sentence(course, point, alpha, tuned)


def _sentence(course: Course, point: Point, alpha: float, tuned: Tuned) -> str:
    said = (
        f"{label(point.base)}, alpha {strength(alpha)}: from {valued(point.plain)} to {valued(tuned.value)}, "
        f"change {signed(tuned.change)}{_p(tuned.change_p)}"
    )
    if tuned.over is None:
        return f"{said}."
    ends = [course.ability.goodness(end) for end in (tuned.over.lower, tuned.over.upper)]
    way = (
        "passes the expert"
        if min(ends) > 0
        else "stays behind the expert"
        if max(ends) < 0
        else "not told from the expert"
    )
    way = way if course.ability.better != "neither" and all(map(math.isfinite, ends)) else "against the expert"
    return f"{said}; {way}: {signed(tuned.over)}{_p(tuned.over_p)}."


def _p(row: Measurement | None) -> str:
    return f", p = {row.value:.2g}" if row is not None and math.isfinite(row.value) else ""


def _table(proxied: ProxyRun, course: Course) -> SteeringTable:
    alphas = proxied.alphas
    headers = [name for alpha in alphas for name in (named(alpha), "change", "over the expert")]
    rows = [
        SteeringRow(
            name=name, beside="as it is", cells=(_cell(row), *[SteeringCell(text=ABSENT)] * len(headers), _n(row))
        )
        for name, row in course.others
    ]
    rows += [_row(point, alphas) for point in course.points]
    return SteeringTable(
        caption=f"{course.ability.title} ({course.ability.method.replace('_', ' ')}), test half, with 95 % intervals",
        headers=("Model", "As it is", *headers, "n"),
        rows=tuple(rows),
    )


def _row(point: Point, alphas: Sequence[float]) -> SteeringRow:
    cells = [_cell(point.plain)]
    for alpha in alphas:
        tuned = point.tuned[alpha]
        cells += [_cell(tuned.value), _difference(tuned.change, tuned.change_p), _difference(tuned.over, tuned.over_p)]
    return SteeringRow(name=label(point.base), beside=point.base.revision, cells=(*cells, _n(point.plain)))


def _cell(row: Measurement | None) -> SteeringCell:
    return SteeringCell(text=shown(row.value), beside=interval(row)) if row is not None else SteeringCell(text=ABSENT)


def _difference(row: Measurement | None, p: Measurement | None) -> SteeringCell:
    if row is None:
        return SteeringCell(text=ABSENT)
    return SteeringCell(text=signed(row).partition(" ")[0], beside=f"{interval(row)}{_p(p)}".removeprefix(", "))


def _n(row: Measurement | None) -> SteeringCell:
    return (
        SteeringCell(text=f"{row.n:,}", beside=f"{row.n_groups:,} groups")
        if row is not None
        else SteeringCell(text=ABSENT)
    )
