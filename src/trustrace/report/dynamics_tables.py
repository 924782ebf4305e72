"""The tables of a comparison of checkpoints: every number that its figures draw."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from trustrace.core.measurements import Measurement
from trustrace.report.axis import amount, label
from trustrace.report.dynamics_drawing import COSINES, standing
from trustrace.report.dynamics_folder import Statement
from trustrace.report.dynamics_runs import KINDS, PLACES, DatasetCourse, DynamicsRun, Matrix, SiteCourse, differs, way
from trustrace.report.dynamics_sentences import ANSWERS, times
from trustrace.report.glossary import method
from trustrace.report.steering_sentences import interval, shown, signed
from trustrace.report.steering_tables import SteeringCell, SteeringRow, SteeringTable
from trustrace.report.tables import ABSENT

_NOTHING = SteeringCell(text=ABSENT)


def matrix_table(matrix: Matrix, labels: Callable[[str], str], *, caption: str) -> SteeringTable:
    """A matrix with its intervals: rows are what a probe was fitted on, columns what it was tested on."""
    rows = [
        SteeringRow(
            name=labels(source),
            beside="reads nothing at home" if source in matrix.idle else "",
            cells=tuple(
                _chance_cell(matrix.cells.get((source, target)), matrix.chance.get((source, target), {}))
                for target in matrix.names
            ),
        )
        for source in matrix.names
    ]
    behind = [next((row for (_, at), row in matrix.cells.items() if at == target), None) for target in matrix.names]
    rows.append(SteeringRow(name="n", cells=tuple(map(_count_cell, behind))))
    return SteeringTable(
        caption=caption, headers=("Fitted on \u2193, tested on \u2192", *map(labels, matrix.names)), rows=tuple(rows)
    )


def _chance_cell(row: Measurement | None, chance: Mapping[str, Measurement]) -> SteeringCell:
    """An AUROC, in a word which side of 1/2 its interval lies on, and what chance makes of it."""
    if row is None:
        return _NOTHING
    said = {1: "", 0: " chance", -1: " turned"}[way(row)] if math.isfinite(row.value) else row.note
    return SteeringCell(text=shown(row.value), beside=f"{interval(row)}{said}{_null_of(chance)}".strip())


def _null_of(chance: Mapping[str, Measurement]) -> str:
    """``; null [0.210, 0.790], p = 0.005, q = 0.012``; empty where there is none."""
    if "null" not in chance or not math.isfinite(chance["null"].value):
        return ""
    values = "".join(f", {name} = {shown(chance[name].value)}" for name in ("p", "q") if name in chance)
    return f"; null {interval(chance['null'])}{values}"


def emergence_table(course: DatasetCourse) -> SteeringTable:
    """When the concept emerges at every site."""
    rows = [
        SteeringRow(
            name=site.site,
            cells=(
                *(_time_cell(site.emergence.get(place)) for place in PLACES),
                _value_cell(site.emergence.get("q")),
                _count_cell(next(iter(site.emergence.values()))),
            ),
        )
        for site in course.sites
        if site.emergence
    ]
    headers = ("Site", *(ANSWERS[place].capitalize() for place in PLACES), "q of no rise", "n")
    return SteeringTable(caption="Emergence by site, with 95 % intervals", headers=headers, rows=tuple(rows))


def _time_cell(row: Measurement | None) -> SteeringCell:
    if row is None:
        return _NOTHING
    said = standing(row)
    text = amount(row.value) if said == "at" else said
    return SteeringCell(text=text, beside=times(row))


def course_table(run: DynamicsRun, site: SiteCourse) -> SteeringTable:
    """What stands at each checkpoint of a site: drift against the last one, and the noise that its readings stand."""
    cosines = [f"{method(name).title}: {what}" for name in site.drift for what, *_ in COSINES.values()]
    rows = [
        SteeringRow(
            name=label(checkpoint),
            beside=checkpoint.revision,
            cells=(
                *(
                    _value_cell(drift.get(quantity, {}).get(key))
                    for drift in site.drift.values()
                    for quantity in COSINES
                ),
                _value_cell(site.tolerance.get(key)),
                _count_cell(site.tolerance.get(key)),
            ),
        )
        for key, checkpoint in run.checkpoints.items()
        if key in site.tolerance
    ]
    return SteeringTable(
        caption=f"{site.site}: cosine of the direction with the last checkpoint's, and noise tolerance, with 95 % intervals",
        headers=("Checkpoint", *cosines, "Noise tolerance", "n"),
        rows=tuple(rows),
    )


def learned_table(run: DynamicsRun, course: DatasetCourse) -> SteeringTable:
    """How many statements stay right from each checkpoint on."""
    kept = [site for site in course.drawn if site.statements is not None]
    counts = {site.site: Counter(one.learned_at for one in _statements(site)) for site in kept}
    kinds = {site.site: Counter(one.kind for one in _statements(site)) for site in kept}
    checkpoints = kept[0].statements.checkpoints if kept and kept[0].statements else ()
    rows = [
        SteeringRow(name=name, cells=tuple(SteeringCell(text=f"{kinds[site.site][kind]:,}") for site in kept))
        for name, kind in (("always right", KINDS[0]), ("lost: wrong in the end", KINDS[2]), ("never right", KINDS[3]))
    ]
    learned = [
        SteeringRow(
            name=f"learned at {label(run.checkpoints[key]) if key in run.checkpoints else key}",
            cells=tuple(SteeringCell(text=f"{counts[site.site][place]:,}") for site in kept),
        )
        for place, key in enumerate(checkpoints)
        if place
    ]
    return SteeringTable(
        caption="How many statements are right from each checkpoint on, by site",
        headers=("Statements", *(f"{site.site}, of {len(_statements(site)):,}" for site in kept)),
        rows=(rows[0], *learned, *rows[1:]) if kept else (),
    )


def _statements(site: SiteCourse) -> tuple[Statement, ...]:
    return site.statements.statements if site.statements is not None else ()


def hardest_tables(course: DatasetCourse) -> Iterator[SteeringTable]:
    """The hardest statements of each drawn site, with their texts."""
    for site in course.drawn:
        if site.statements is None or not site.statements.hardest:
            continue
        of = len(site.statements.checkpoints)
        yield SteeringTable(
            caption=f"{site.site}: the hardest statements: right at the fewest checkpoints, and among equals most surely wrong",
            headers=("Row", "Label", "Became", "Right at", "Times forgotten", "Log-odds of its label", "Text"),
            rows=tuple(
                SteeringRow(
                    name=str(one.row),
                    cells=tuple(
                        SteeringCell(text=text)
                        for text in (
                            ABSENT if one.label is None else str(one.label),
                            one.kind,
                            f"{one.right:,} of {of:,}",
                            f"{one.forgettings:,}",
                            shown(one.margin),
                            one.text,
                        )
                    ),
                )
                for one in site.statements.hardest
            ),
        )


def changes_table(run: DynamicsRun, course: DatasetCourse) -> SteeringTable:
    """From each checkpoint to the next that was compared, at every drawn site."""
    keys = [key for key in run.checkpoints if any(key in pair for site in course.drawn for pair in site.changes)]
    rows = [
        SteeringRow(
            name=f"{label(run.checkpoints[first])} \u2192 {label(run.checkpoints[second])}",
            cells=tuple(_change_cell(site.changes.get((first, second), {})) for site in course.drawn),
        )
        for first, second in pairwise(keys)
    ]
    return SteeringTable(
        caption="Change of accuracy from each checkpoint to the next, with its 95 % interval and the q-value over all pairs and sites",
        headers=("Checkpoints", *(site.site for site in course.drawn)),
        rows=tuple(rows),
    )


def _change_cell(change: Mapping[str, Measurement]) -> SteeringCell:
    if "accuracy change" not in change:
        return _NOTHING
    row = change["accuracy change"]
    q = f"q = {change['accuracy change q'].value:.2g}" if "accuracy change q" in change else ""
    told = (row.value > 0) - (row.value < 0) if differs(change) else 0
    return SteeringCell(text=signed(row).partition(" ")[0], beside=" ".join(filter(None, (interval(row), q))), way=told)


def _value_cell(row: Measurement | None) -> SteeringCell:
    return _NOTHING if row is None else SteeringCell(text=shown(row.value), beside=interval(row) or row.note)


def _count_cell(row: Measurement | None) -> SteeringCell:
    return _NOTHING if row is None else SteeringCell(text=f"{row.n:,}", beside=f"{row.n_groups:,} groups")
