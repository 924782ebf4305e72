"""A run of proxy-tuning as the report reads it: each number of each task over the bases, as they are and tuned by proxy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Measurement
from trustrace.report.run_folder import COLUMNS, RunFolder
from trustrace.report.steering_glossary import better_of
from trustrace.report.steering_runs import CHANGE, P_VALUE, Ability

STUDY = "proxy_tune"
OVER, OVER_P = "_over_expert", "_over_expert_p"
_PREFERRED = ("f1", "due_probability", "accuracy", "perplexity")
"""Of several numbers of a task the first of these is drawn."""

_METHODS = ("log_probability_calibrated",)
"""Of several ways to one number the first of these is drawn, or else the first in the table."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A base under one strength: its number, how that differs from the base and from the expert, and the p-values of both."""

    value: Measurement | None
    change: Measurement | None
    change_p: Measurement | None
    over: Measurement | None
    over_p: Measurement | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """One base: as it is, and tuned by proxy with each strength."""

    base: Checkpoint
    plain: Measurement | None
    tuned: Mapping[float, Tuned]


@dataclass(frozen=True, kw_only=True)
class Course:
    """One number of one task: every base, and the models that are asked as they are, the expert first."""

    ability: Ability
    points: tuple[Point, ...]
    others: tuple[tuple[str, Measurement], ...]


@dataclass(frozen=True, kw_only=True)
class ProxyRun:
    """Everything the table of a run of proxy-tuning holds.

    Attributes:
        expert: The tuned model, by checkpoint.
        anti_expert: The model that was tuned.
        alphas: Strengths.
        courses: Every number of every task.
        drawn: One of them for each task.
        equal_weights: Bases that are one model under several names.
        rows: The table.
    """

    expert: str
    anti_expert: str
    alphas: tuple[float, ...]
    courses: tuple[Course, ...]
    drawn: tuple[Course, ...]
    equal_weights: tuple[tuple[str, ...], ...]
    rows: tuple[Measurement, ...]


def proxy_run(run: RunFolder) -> ProxyRun:
    """Arrange the table of `run`."""
    rows = tuple(Measurement(**row) for row in run.table.select(list(COLUMNS)).to_pylist())
    expert = str(run.manifest.get("expert", ""))
    bases = [str(key) for key in run.manifest.get("bases") or ()]
    alphas = tuple(dict.fromkeys(row.alpha for row in rows if row.vector))
    placed = {(row.checkpoint, row.dataset, row.quantity, row.method, row.alpha): row for row in rows}
    courses = tuple(_course(placed, ability, bases, expert, alphas) for ability in _abilities(rows))
    return ProxyRun(
        expert=expert,
        anti_expert=str(run.manifest.get("anti_expert", "")),
        alphas=alphas,
        courses=courses,
        drawn=tuple(_drawn(courses)),
        equal_weights=tuple(tuple(keys) for keys in run.manifest.get("equal_weights") or ()),
        rows=rows,
    )


def _abilities(rows: Sequence[Measurement]) -> Iterator[Ability]:
    named = dict.fromkeys((row.dataset, row.quantity, row.method) for row in rows if not _is_of_two(row.quantity))
    for dataset, quantity, method in named:
        yield Ability(task=dataset.rpartition("/")[0], quantity=quantity, method=method, better=better_of(quantity))


def _is_of_two(quantity: str) -> bool:
    return quantity.endswith((CHANGE, P_VALUE, OVER, OVER_P))


Placed = Mapping[tuple[str, str, str, str, float], Measurement]


def _course(placed: Placed, ability: Ability, bases: Sequence[str], expert: str, alphas: Sequence[float]) -> Course:
    def at(checkpoint: str, alpha: float = 0.0, what: str = "") -> Measurement | None:
        return placed.get((checkpoint, f"{ability.task}/test", f"{ability.quantity}{what}", ability.method, alpha))

    def tuned(checkpoint: str, alpha: float) -> Tuned:
        return Tuned(
            value=at(checkpoint, alpha),
            change=at(checkpoint, alpha, CHANGE),
            change_p=at(checkpoint, alpha, P_VALUE),
            over=at(checkpoint, alpha, OVER),
            over_p=at(checkpoint, alpha, OVER_P),
        )

    known = dict.fromkeys(key for key, *_ in placed)
    others = sorted((key for key in known if key not in bases), key=lambda key: key != expert)
    rows = {key: next(row for place, row in placed.items() if place[0] == key) for key in known if key in bases}
    return Course(
        ability=ability,
        points=tuple(
            Point(
                base=_checkpoint(rows[key]),
                plain=at(key),
                tuned={alpha: tuned(key, alpha) for alpha in alphas},
            )
            for key in bases
            if key in rows
        ),
        others=tuple((key, row) for key in others if (row := at(key)) is not None),
    )


def _checkpoint(row: Measurement) -> Checkpoint:
    model, _, revision = row.checkpoint.rpartition("@")
    return Checkpoint(family="", model=model, revision=revision, step=row.step, tokens_seen=row.tokens_seen)


def _drawn(courses: Sequence[Course]) -> Iterator[Course]:
    for task in dict.fromkeys(course.ability.task for course in courses):
        own = [course for course in courses if course.ability.task == task and course.ability.better != "neither"]
        if own:
            yield min(
                own,
                key=lambda course: (_rank(course.ability.quantity, _PREFERRED), _rank(course.ability.method, _METHODS)),
            )


def _rank(name: str, preferred: Sequence[str]) -> int:
    return preferred.index(name) if name in preferred else len(preferred)
