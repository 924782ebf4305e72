"""The phases of a finished trace: the courses of its judged numbers over the checkpoints, and what they say."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from trustrace.core.measurements import Estimate, Measurement, ReplicatedMeasurement
from trustrace.measures.dynamics import Curve, phases
from trustrace.runs.identity import Unit, code_version
from trustrace.runs.ledger import Ledger
from trustrace.studies.planning import MEASURING, Plan

Course = list[ReplicatedMeasurement]


def phases_unit(plan: Plan, finished: Sequence[Unit]) -> Unit:
    """The unit that judges the courses through the `finished` units."""
    inputs = {
        "units": [unit.identity for unit in finished],
        "seed": plan.study.seed,
        "code": code_version(*MEASURING),
    }
    return Unit(step="phases", name="courses over training", inputs=inputs)


def course_units(plan: Plan, ledger: Ledger) -> list[Unit]:
    """The finished units of trained checkpoints."""
    trained = [subject for subject in plan.subjects if subject.role == "measured"]
    units = [plan.trace_unit(subject, statements) for subject in trained for statements in plan.datasets]
    return [unit for unit in units if ledger.is_finished(unit)]


def judged(ledger: Ledger, units: Sequence[Unit], *, seed: int) -> list[Measurement]:
    """What the courses through `units` say, as rows of the last checkpoint of each."""
    courses = _courses(ledger, units)
    found = phases([_curve(course) for course in courses.values()], seed=seed)
    return [
        row for course, (_, estimates) in zip(courses.values(), found, strict=True) for row in _rows(course, estimates)
    ]


def _courses(ledger: Ledger, units: Sequence[Unit]) -> Mapping[tuple[str, str, str, str], Course]:
    """The rows with replicates, by dataset, site, quantity and method; those of a course in order of training."""
    courses: dict[tuple[str, str, str, str], Course] = {}
    for unit in units:
        for row in ledger.replicated_of(unit):
            courses.setdefault((row.dataset, row.site, row.quantity, row.method), []).append(row)
    return {key: course for key, course in courses.items() if _training(course) is not None}


def _training(course: Course) -> list[int] | None:
    """Tokens seen, or steps where they are not known, if they ascend; a series without either has no course."""
    for name in ("tokens_seen", "step"):
        counts = [getattr(row, name) for row in course]
        if None not in counts and all(a < b for a, b in pairwise(counts)):
            return counts
    return None


def _curve(course: Course) -> Curve:
    first = course[0]
    return Curve(
        dataset=first.dataset,
        site=first.site,
        quantity=first.quantity,
        method=first.method,
        training=np.asarray(_training(course), dtype=np.float64),
        values=np.array([row.value for row in course]),
        replicates=np.stack([row.replicates for row in course], axis=1).astype(np.float64),
        n=first.n,
        n_groups=first.n_groups,
    )


def _rows(course: Course, estimates: Sequence[Estimate]) -> Iterator[Measurement]:
    last = {name: value for name, value in vars(course[-1]).items() if name != "replicates"}
    for estimate in estimates:
        said = {name: getattr(estimate, name) for name in ("quantity", "value", "lower", "upper", "note")}
        yield Measurement(**last | said)
