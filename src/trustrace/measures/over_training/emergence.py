"""When a concept becomes readable: four answers that differ where a rise is slow, each with its interval.

* ``level``: the first checkpoint from which on the quantity stays above its floor by a margin. Depends on the floor, not on the end.
* ``half``: the first checkpoint from which on, until the peak, half of the rise is covered. Depends on the curve's own end.
* ``step``: the checkpoint of the sudden step that is closest to the curve.
* ``logistic``: the midpoint of the logistic rise on log tokens that is closest to the curve; it may lie between checkpoints.

"Never" and "from the start" are answers: the number is then NaN or the first checkpoint, and the note says which. The last three need a
rise, significant with false discoveries controlled over all curves of one quantity and method.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from scipy.stats import false_discovery_control
from scipy.stats import t as student

from trustrace.core.measurements import Estimate
from trustrace.measures.dynamics import Course, Curve, PerCheckpoint, Place, course_of, covered
from trustrace.measures.over_training.changes import change, logistic_rises, steps

HALF = 0.5


def emergence(
    curves: Sequence[Curve], floors: Sequence[float], *, margin: float, seed: int, level: float = 0.05
) -> list[list[Estimate]]:
    """When each curve emerges.

    For a curve of quantity Q: ``Q emergence level``, ``half``, ``step``, ``logistic``, and ``Q emergence q``: the q-value of "it never
    rises". Places are in tokens (or steps), as the curve's `training` is.

    Args:
        curves: In any order.
        floors: What each quantity is without a trained model, such as the share of the commoner label.
        margin: How far above its floor a quantity must be.
        seed: Of the noise draws.
        level: The false discovery rate at which a rise counts.
    """
    courses = [course_of(curve, seed=seed) for curve in curves]
    rates = _rates(curves, courses)
    return [
        _estimates(curve, course, threshold=floor + margin, q=q, level=level)
        for curve, course, floor, q in zip(curves, courses, floors, rates, strict=True)
    ]


def level_crossing(curve: Curve, *, threshold: float, level: float = 0.05) -> Place:
    """The first checkpoint from which on the true curve stays at or above `threshold`.

    Upwards from the first, checkpoints are passed while they are significantly below; downwards from the last while they are
    significantly above. Testing in that order and stopping at the first failure, each end of the interval is wrong with probability at
    most `level` / 2, without further correction. An upper end is missing where the last checkpoint may be below.

    References:
        Hsu and Berger (1999), Stepwise confidence intervals without multiplicity adjustment for dose-response and toxicity studies.
    """
    usable = np.isfinite(curve.values) & np.isfinite(curve.replicates).all(axis=0)
    if not usable.any() or curve.n_groups < 2:
        return Place(note="undefined: no checkpoint has a value with an interval")
    values, training = curve.values[usable], curve.training[usable]
    below, above = _sides(values, curve, usable, threshold=threshold, tail=level / 2)
    first = _leading(below)
    last = len(values) - _leading(above[::-1])
    reached = len(values) - _leading((values >= threshold)[::-1])
    if reached == len(values):
        note = "never: it is below the level at the last checkpoint"
        certain = "" if bool(below[-1]) else ", though not significantly"
        return Place(note=note + certain)
    note = "from the start: it is above the level at every checkpoint" if reached == 0 else ""
    upper = float(training[max(last, reached)]) if last < len(values) else np.nan
    if np.isnan(upper):
        note = "; ".join(
            part for part in (note, "no upper end: the last checkpoint is not significantly above") if part
        )
    return Place(value=float(training[reached]), lower=float(training[min(first, reached)]), upper=upper, note=note)


def _sides(
    values: PerCheckpoint, curve: Curve, usable: Bool[np.ndarray, " checkpoint"], *, threshold: float, tail: float
) -> tuple[Bool[np.ndarray, " usable"], Bool[np.ndarray, " usable"]]:
    """Which checkpoints are significantly below `threshold`, and which above."""
    variances = curve.replicates[:, usable].var(axis=0, ddof=1) * curve.n_groups / (curve.n_groups - 1)
    reach = student.ppf(1 - tail, curve.n_groups - 1) * np.sqrt(variances)
    return values + reach < threshold, values - reach >= threshold


def _leading(flags: Bool[np.ndarray, " checkpoint"]) -> int:
    """How many are true before the first that is not."""
    return int(np.cumprod(flags).sum())


def _rates(curves: Sequence[Curve], courses: Sequence[Course | str]) -> list[float]:
    """The q-value of each rise within its family of one quantity and method."""
    p = np.array([np.nan if isinstance(course, str) else course.rise for course in courses])
    q = np.full_like(p, np.nan)
    for family in sorted({(curve.quantity, curve.method) for curve in curves}):
        member = np.array([(curve.quantity, curve.method) == family for curve in curves]) & np.isfinite(p)
        if member.any():
            q[member] = false_discovery_control(p[member])
    return [float(one) for one in q]


def _estimates(curve: Curve, course: Course | str, *, threshold: float, q: float, level: float) -> list[Estimate]:
    crossed = level_crossing(curve, threshold=threshold)
    places = {"level": crossed} | _rise_places(
        course, q=q, level=level, started=crossed.note.startswith("from the start")
    )

    def estimate(name: str, place: Place) -> Estimate:
        return Estimate(
            quantity=f"{curve.quantity} emergence {name}",
            method=curve.method,
            value=place.value,
            lower=place.lower,
            upper=place.upper,
            n=curve.n,
            n_groups=curve.n_groups,
            note=place.note,
        )

    left_out = course if isinstance(course, str) else course.left_out
    return [*(estimate(name, place) for name, place in places.items()), estimate("q", Place(value=q, note=left_out))]


def _rise_places(course: Course | str, *, q: float, level: float, started: bool) -> dict[str, Place]:
    """The places that need a rise, or why there are none."""
    if isinstance(course, str):
        return dict.fromkeys(("half", "step", "logistic"), Place(note=course))
    if q > level:
        nothing = (
            "from the start: above the level, and no rise is significant"
            if started
            else "never: no rise is significant"
        )
        return dict.fromkeys(("half", "step", "logistic"), Place(note=nothing))
    return {
        "half": covered(course, share=HALF),
        "step": change(course, steps(course.training)),
        "logistic": change(course, logistic_rises(course.training)),
    }
