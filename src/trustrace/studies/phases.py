"""The phases of a finished trace: the courses of its judged numbers over the checkpoints, and what they say."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from trustrace.core.measurements import Estimate, Measurement, ReplicatedMeasurement
from trustrace.measures.dynamics import Curve, phases
from trustrace.runs.identity import Unit, code_version
from trustrace.runs.ledger import Ledger
from trustrace.studies.planning import MEASURING, Units

Name = tuple[str, str, str, str]
"""Dataset, site, quantity and method of a course."""


def phases_unit(plan: Units, finished: Sequence[Unit]) -> Unit:
    """The unit that judges the courses through the `finished` units."""
    inputs = {
        "units": [unit.identity for unit in finished],
        "seed": plan.study.seed,
        "code": code_version(*MEASURING),
    }
    return Unit(step="phases", name="courses over training", inputs=inputs)


def course_units(plan: Units, ledger: Ledger, *, leaving: Collection[str] = ()) -> list[Unit]:
    """The finished units of trained checkpoints, less those whose keys are in `leaving`."""
    trained = [one for one in plan.subjects if one.role == "measured" and one.checkpoint.key not in leaving]
    units = [plan.trace_unit(subject, statements) for subject in trained for statements in plan.datasets]
    return [unit for unit in units if ledger.is_finished(unit)]


def judged(ledger: Ledger, units: Sequence[Unit], *, seed: int) -> list[Measurement]:
    """What the courses through `units` say, as rows of the last checkpoint of each."""
    courses = {name: course for name, course in _courses(ledger, units).items() if _training(course) is not None}
    found = phases([_curve(name, course) for name, course in courses.items()], seed=seed)
    return [
        row for course, (_, estimates) in zip(courses.values(), found, strict=True) for row in _rows(course, estimates)
    ]


def _courses(ledger: Ledger, units: Sequence[Unit]) -> Mapping[Name, list[Measurement]]:
    """The rows of each judged number over the checkpoints; those without replicates are undefined there."""
    series: dict[Name, list[Measurement]] = {}
    judged_names: set[Name] = set()
    for unit in units:
        kept = {_name(row): row for row in ledger.replicated_of(unit)}
        judged_names |= kept.keys()
        for row in ledger.measurements_of(unit):
            if row.role == "measured" and row.protocol == "rigorous":
                series.setdefault(_name(row), []).append(kept.get(_name(row), row))
    return {name: series[name] for name in sorted(judged_names)}


def _name(row: Measurement) -> Name:
    return row.dataset, row.site, row.quantity, row.method


def _training(course: Sequence[Measurement]) -> list[int] | None:
    """Tokens seen, or steps where they are not known, if they ascend; a series without either has no course."""
    for name in ("tokens_seen", "step"):
        counts = [getattr(row, name) for row in course]
        if None not in counts and all(a < b for a, b in pairwise(counts)):
            return counts
    return None


def _curve(name: Name, course: Sequence[Measurement]) -> Curve:
    dataset, site, quantity, method = name
    drawn = [row.replicates for row in course if isinstance(row, ReplicatedMeasurement)]
    undefined = np.full_like(drawn[0], np.nan)
    replicates = [row.replicates if isinstance(row, ReplicatedMeasurement) else undefined for row in course]
    return Curve(
        dataset=dataset,
        site=site,
        quantity=quantity,
        method=method,
        training=np.asarray(_training(course), dtype=np.float64),
        values=np.array([row.value for row in course]),
        replicates=np.stack(replicates, axis=1).astype(np.float64),
        n=course[-1].n,
        n_groups=course[-1].n_groups,
    )


def _rows(course: Sequence[Measurement], estimates: Sequence[Estimate]) -> Iterator[Measurement]:
    last = {name: value for name, value in vars(course[-1]).items() if name != "replicates"}
    for estimate in estimates:
        said = {name: getattr(estimate, name) for name in ("quantity", "value", "lower", "upper", "note")}
        yield Measurement(**last | said)
