"""What the page of a steering run carries for its figures: the rows that they draw, once each, and which row stands where."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from trustrace.core.measurements import Measurement
from trustrace.report.axis import checkpoint_axis, label
from trustrace.report.packing import squeezed
from trustrace.report.palette import DARK, LIGHT, depth_colours
from trustrace.report.steering_charts import (
    Course,
    Dose,
    DoseLine,
    FrontPoint,
    Radar,
    RadarShape,
    courses,
    dose_chart,
    front,
    radar,
)
from trustrace.report.steering_findings import Finding
from trustrace.report.steering_runs import Ability, Family, Setting, SteeringRun
from trustrace.report.steering_sentences import control_noun, family_text, shown

COLUMNS = (
    "dataset",
    "checkpoint",
    "vector",
    "site",
    "alpha",
    "quantity",
    "method",
    "role",
    "protocol",
    "position",
    "seed",
    "value",
    "lower",
    "upper",
    "n",
    "n_groups",
    "note",
)
"""What of a row travels with the page, in the order of a download."""

_DIGITS = 9
"""Significant digits of a number: more than are ever shown."""


@dataclass(kw_only=True)
class Book:
    """Rows in the order in which figures first name them."""

    rows: list[Measurement] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict)

    def place(self, row: Measurement | None) -> int | None:
        """Where `row` stands; None for no row. A row is known by its identity: figures share the run's own."""
        if row is None:
            return None
        if id(row) not in self._places:
            self._places[id(row)] = len(self.rows)
            self.rows.append(row)
        return self._places[id(row)]

    def columns(self) -> dict[str, list[Any]]:
        """All rows, column by column; what is not a number is null."""
        return {name: [_plain(getattr(row, name)) for row in self.rows] for name in COLUMNS}


def steering_payload(run: SteeringRun, found: Sequence[Finding]) -> dict[str, Any]:
    """Everything the page's figures and their tables need, as plain values."""
    book = Book()
    articles = [_article(run, finding, book) for finding in found]
    return {
        "steering": {
            "articles": articles,
            "columns": COLUMNS,
            "abilities": [_ability(ability) for ability in run.abilities],
            "perplexity": run.abilities.index(run.perplexity) if run.perplexity else None,
            "sources": [_source(run, place) for place in range(len(run.sources))],
            "axis": _axis(run),
            "book": squeezed(json.dumps(book.columns(), allow_nan=False, separators=(",", ":")).encode()),
        },
        "palettes": {"light": asdict(LIGHT), "dark": asdict(DARK)},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


def _ability(ability: Ability) -> dict[str, Any]:
    return {"title": ability.title, "better": ability.better, "quantity": ability.quantity}


def _source(run: SteeringRun, place: int) -> dict[str, Any]:
    source = run.sources[place]
    colours = {
        name: depth_colours(len(run.sources), theme)[place] for name, theme in (("light", LIGHT), ("dark", DARK))
    }
    return {"key": source.key, "label": label(source), "colours": colours}


def _axis(run: SteeringRun) -> dict[str, Any]:
    axis = checkpoint_axis(run.sources)
    return {**asdict(axis), "limits": axis.limits}


def _article(run: SteeringRun, finding: Finding, book: Book) -> dict[str, Any]:
    chart = dose_chart(run, finding)
    return {
        "title": f"{finding.aim.title}, {finding.target}",
        "aim": run.abilities.index(finding.aim.ability),
        "controls": f"{control_noun(finding)}s",
        "best": _setting(finding.best.setting) if finding.best else None,
        "dose": {"plain": _dose(chart.plain, book), "lines": [_line(run, line, book) for line in chart.lines]},
        "front": [_front(run, point, book) for point in front(run, finding)],
        "courses": [_course(run, course, book) for course in courses(run, finding)],
        "radar": _radar(radar(run, finding), book),
    }


def _setting(setting: Setting) -> list[Any]:
    return [setting.vector, setting.site, setting.alpha]


def _family(run: SteeringRun, family: Family | None) -> dict[str, Any]:
    """Whose a line or point is; `group` is how it is drawn."""
    if family is None:
        return {"name": "unsteered", "group": "plain", "source": None}
    group = "instruction" if family.is_instruction else "control" if family.is_control else "vector"
    source = next((place for place, one in enumerate(run.sources) if one.key == family.source), None)
    return {"name": family_text(run, family), "group": group, "source": source}


def _dose(dose: Dose, book: Book) -> list[Any]:
    return [dose.setting.alpha, book.place(dose.aimed), book.place(dose.cost)]


def _line(run: SteeringRun, line: DoseLine, book: Book) -> dict[str, Any]:
    return {
        **_family(run, line.family),
        "vector": line.family.vector,
        "site": line.site,
        "doses": [_dose(dose, book) for dose in line.doses],
        "chosen": line.chosen.alpha if line.chosen else None,
    }


def _front(run: SteeringRun, point: FrontPoint, book: Book) -> dict[str, Any]:
    return {
        **_family(run, point.family),
        "setting": _setting(point.setting),
        "numbers": [book.place(point.numbers.get(ability)) for ability in run.abilities],
        "is_on_front": point.is_on_front,
    }


def _course(run: SteeringRun, course: Course, book: Book) -> dict[str, Any]:
    keys = [source.key for source in run.sources]
    return {
        "kind": course.kind.replace("_", " "),
        "points": [
            [keys.index(point.source.key), book.place(point.separation), book.place(point.steered)]
            for point in course.points
        ],
        "correlation": book.place(course.correlation),
    }


def _radar(chart: Radar, book: Book) -> dict[str, Any]:
    return {
        "axes": [
            {
                "title": axis.ability.title,
                "worst": shown(axis.worst.value),
                "best": shown(axis.best.value),
            }
            for axis in chart.axes
        ],
        "shapes": [_shape(chart, shape, book) for shape in chart.shapes],
        "controls": [_shape(chart, shape, book) for shape in chart.controls],
    }


def _shape(chart: Radar, shape: RadarShape, book: Book) -> dict[str, Any]:
    pairs = list(zip(chart.axes, shape.numbers, strict=False))
    return {
        "name": shape.name,
        "places": [_plain(axis.place(row)) for axis, row in pairs],
        "rows": [book.place(row) for _, row in pairs],
    }
