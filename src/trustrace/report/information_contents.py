"""What the page says in words of the information plane: the verdicts, the phases of every site, and what each name means."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trustrace.report import glossary
from trustrace.report import information_glossary as terms
from trustrace.report.figures import FigureFile
from trustrace.report.grids import Trace, View
from trustrace.report.information import (
    CALIBRATED,
    DEPENDENCES,
    GEOMETRY,
    P_VALUE,
    Y_QUANTITY,
    in_order,
    main_method,
    methods_of,
)
from trustrace.report.information_payload import left_out
from trustrace.report.phase_sentences import (
    ARROWS,
    Judged,
    beside,
    columns,
    count,
    is_x_itself,
    sentence,
    sites_of,
    verdict,
)
from trustrace.report.phases import TWO_PHASES, judged

ABSENT = "\u2013"
_PARTS = ("model", "protocol", "position", "seed")


@dataclass(frozen=True, kw_only=True)
class PhaseCell:
    """A shape in a table: arrows for the eye, words, what stands beside them, and whether it is what the verdict counts."""

    arrows: str
    text: str
    beside: tuple[str, ...] = ()
    is_counted: bool = False


@dataclass(frozen=True, kw_only=True)
class PhaseTable:
    """Shapes by site: two rows of headings, the first with how many columns each spans."""

    caption: str
    corner: str
    groups: tuple[tuple[str, int], ...]
    headers: tuple[str, ...]
    rows: tuple[tuple[str, tuple[PhaseCell, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class PhaseBlock:
    """What is said of one view: `view` is its place among the views of the information plane."""

    view: int
    name: str
    verdict: str
    table: PhaseTable
    sentences: tuple[tuple[str, str], ...]
    silent: str


@dataclass(frozen=True, kw_only=True)
class InformationSection:
    """One dataset's place among the information planes."""

    name: str
    title: str
    blocks: tuple[PhaseBlock, ...]
    files: tuple[FigureFile, ...]


@dataclass(frozen=True, kw_only=True)
class InformationText:
    """The section on the information plane."""

    sections: tuple[InformationSection, ...]
    overview: PhaseTable | None
    left_out: str


def information_text(trace: Trace, drawn: Sequence[FigureFile]) -> InformationText | None:
    """What the page says of the information plane; None where nothing of it was measured."""
    if not trace.information_views:
        return None
    datasets = dict.fromkeys(view.dataset for view in trace.information_views)
    return InformationText(
        sections=tuple(_section(trace, name, drawn) for name in datasets),
        overview=_overview(trace),
        left_out=_left_out(trace),
    )


def definitions(trace: Trace) -> Iterator[tuple[str, tuple[glossary.Term, ...]]]:
    """What each name of the information plane means; nothing where nothing of it was measured."""
    if not trace.information_views:
        return
    addresses = list(trace.information)
    stems = {address.quantity.removesuffix(P_VALUE).removesuffix(CALIBRATED) for address in addresses}
    named = in_order(sorted(stems | {phase.quantity for phase in trace.phases}), (*DEPENDENCES, *GEOMETRY))
    yield "Dependence and geometry", tuple(map(terms.dependence, named))
    methods = dict.fromkeys(method for view in trace.information_views for method in methods_of(trace, view))
    yield "Estimators of dependence", tuple(map(terms.estimator, methods))
    present = {address.role for address in addresses}
    present |= {"calibrated"} if any(address.quantity.endswith(CALIBRATED) for address in addresses) else set()
    present |= {"p-value"} if any(address.quantity.endswith(P_VALUE) for address in addresses) else set()
    present |= {"phase"} if trace.phases else set()
    yield "What dependence is compared with", tuple(term for term in terms.REFERENCES.values() if term.name in present)


def _section(trace: Trace, dataset: str, drawn: Sequence[FigureFile]) -> InformationSection:
    views = [view for view in trace.information_views if view.dataset == dataset]
    return InformationSection(
        name=dataset,
        title=glossary.dataset_title(dataset),
        blocks=tuple(_block(trace, view) for view in views if judged(trace, view)),
        files=tuple(file for file in drawn if file.dataset == dataset and file.part == "information"),
    )


def _block(trace: Trace, view: View) -> PhaseBlock:
    found = judged(trace, view)
    sites = _sites(trace, view, found)
    said = [(site, sentence(found, site)) for site in sites]
    silent = sum(not text for _, text in said)
    return PhaseBlock(
        view=trace.information_views.index(view),
        name=_name(trace, view),
        verdict=verdict(found),
        table=_phase_table(trace, view, found, sites),
        sentences=tuple((site, text) for site, text in said if text),
        silent=f"No curve shows a rise or a fall at {silent} of {len(said)} sites." if silent else "",
    )


def _sites(trace: Trace, view: View, found: Judged) -> list[str]:
    series = trace.series.get(view.model)
    return list(sites_of(found, series.sites if series else ()))


def _name(trace: Trace, view: View) -> str:
    """What tells `view` from the other views whose phases were judged, where there are others."""
    told = {phase.view for phase in trace.phases}
    parts = [part for part in _PARTS if len({getattr(other, part) for other in told}) > 1]
    return ", ".join(f"{part} {getattr(view, part)}" for part in parts)


def _phase_table(trace: Trace, view: View, found: Judged, sites: Sequence[str]) -> PhaseTable:
    shown = columns(found)
    return PhaseTable(
        caption=f"How each curve moves over the whole of training, judged by {terms.estimator(main_method(trace, view)).title}"
        f"{', ' if _name(trace, view) else ''}{_name(trace, view)}. A rise and fall stands with its peak in {_unit(found)} and its 95 % "
        "interval.",
        corner="Site",
        groups=_groups(shown),
        headers=tuple(_way(is_calibrated) for _, is_calibrated in shown),
        rows=tuple((site, tuple(_cell(found, site, *column) for column in shown)) for site in sites),
    )


def _unit(found: Judged) -> str:
    return " or ".join(dict.fromkeys(phase.unit for phase in found.values()))


def _groups(shown: Sequence[tuple[str, bool]]) -> tuple[tuple[str, int], ...]:
    names = [name for name, _ in shown]
    return tuple((terms.dependence(name).title, names.count(name)) for name in dict.fromkeys(names))


def _way(is_calibrated: bool) -> str:
    return "calibrated" if is_calibrated else "as measured"


def _cell(found: Judged, site: str, quantity: str, is_calibrated: bool) -> PhaseCell:
    phase = found.get((site, quantity, is_calibrated))
    if phase is None:
        return PhaseCell(arrows="", text=ABSENT)
    itself = is_x_itself(site, quantity)
    return PhaseCell(
        arrows=ARROWS.get(phase.shape, ""),
        text=phase.shape or "undefined",
        beside=(*(("X itself",) if itself else ()), *beside(phase)),
        is_counted=phase.shape == TWO_PHASES and quantity != Y_QUANTITY and not itself,
    )


def _overview(trace: Trace) -> PhaseTable | None:
    """At how many sites each claim of the paper holds, one row a view; None where no phase was judged."""
    found = {view: at for view in trace.information_views if (at := judged(trace, view))}
    if not found:
        return None
    present = {column for at in found.values() for column in columns(at)}
    shown = [(name, way) for name in DEPENDENCES for way in (False, True) if (name, way) in present]
    return PhaseTable(
        caption="Of how many sites the paper's claim holds: I(T;X) rises, then falls; I(T;Y) rises and does not fall. The site that is the "
        "moving X itself does not count.",
        corner="Dataset",
        groups=_groups(shown),
        headers=tuple(_way(way) for _, way in shown),
        rows=tuple(
            (_row_name(trace, view), tuple(_count_cell(at, *column) for column in shown)) for view, at in found.items()
        ),
    )


def _row_name(trace: Trace, view: View) -> str:
    return ", ".join(filter(None, (glossary.dataset_title(view.dataset), _name(trace, view))))


def _count_cell(found: Judged, quantity: str, is_calibrated: bool) -> PhaseCell:
    at = count(found, quantity, is_calibrated=is_calibrated)
    return PhaseCell(arrows="", text=str(at) if at.of else ABSENT)


def _left_out(trace: Trace) -> str:
    names = [terms.estimator(name).title for name in left_out(trace)]
    if not names:
        return ""
    return (
        f"This run is too large for the page to carry every estimator. Left out, or carried in part: {', '.join(names)}. "
        "All of them are in the run's measurements.parquet."
    )
