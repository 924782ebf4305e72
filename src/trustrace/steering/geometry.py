"""How directions lie to each other: over checkpoints, layers, dimensions and kinds; and since when a direction has been what it became.

A cosine compares entries of the residual stream one by one. It means something only between checkpoints of one run, or of a model and
what was tuned from it: another run has another basis. Beside it stand two nulls: what directions drawn at random give,
cos² ~ Beta(1/2, (d-1)/2), and what shuffled labels give, because activations fill few of their d dimensions.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from trustrace.core.errors import AlignmentError, MeasurementError
from trustrace.core.intervals import percentile_interval
from trustrace.core.measurements import Estimate, Measurement, Role
from trustrace.steering.vectors import CONTROLS, SteeringVector

RELIABLE_SHARE = 0.5
"""A direction has settled once its cosine with the last one stays above this share of what the last one's reliability allows."""

Cosines = Float64[np.ndarray, "vector vector"]
Place = tuple[str, str, str, str]
"""Kind, dataset, site and position: what a series over checkpoints has in common."""


def cosines(vectors: Sequence[SteeringVector]) -> Cosines:
    """The cosine of every pair.

    Raises:
        AlignmentError: the vectors are not equally wide.
    """
    widths = {vector.d_model for vector in vectors}
    if len(widths) != 1:
        raise AlignmentError(f"vectors of widths {sorted(widths)} have no cosine; compare vectors of one model")
    stacked = torch.stack([vector.direction.double() for vector in vectors])
    lengths: Tensor = torch.linalg.vector_norm(stacked, dim=1, keepdim=True)
    unit = stacked / lengths
    table: Cosines = (unit @ unit.T).numpy()
    return table.clip(-1.0, 1.0)


def random_band(d_model: int, *, level: float = 0.95) -> float:
    """The c for which two random directions in `d_model` dimensions have |cos| below c with chance `level`.

    With cos = sin φ the density of φ is proportional to cos^(d-2) φ, which is integrated by Gauss and Legendre and inverted by halving.

    Raises:
        MeasurementError: there are fewer than two dimensions.
    """
    if d_model < 2:
        raise MeasurementError(f"{d_model} dimensions have no random directions; at least two are needed")
    nodes, weights = np.polynomial.legendre.leggauss(200)
    log_constant = math.log(2) + math.lgamma(d_model / 2) - math.lgamma((d_model - 1) / 2) - math.log(math.pi) / 2

    def chance(angle: float) -> float:
        inside = angle * (nodes + 1) / 2
        logs = log_constant + (d_model - 2) * np.log(np.cos(inside))
        return float(angle / 2 * weights @ np.exp(logs))

    # Beyond twelve standard deviations there is nothing left to integrate.
    low, high = 0.0, min(math.pi / 2, 12 / d_model**0.5)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) < level else (low, middle)
    return math.sin((low + high) / 2)


def cosine_rows(vectors: Sequence[SteeringVector]) -> list[Measurement]:
    """``direction_cosine`` of every pair that differs in one thing: checkpoint, site, dataset or kind.

    A row stands at the later vector; its column `vector` names the other one. Cosines over checkpoints are followed by their nulls
    (:func:`null_rows`).
    """
    rows = []
    for left_out in range(len(_coordinates(vectors[0])) if vectors else 0):
        alike: Mapping[object, list[SteeringVector]] = defaultdict(list)
        for vector in vectors:
            coordinates = _coordinates(vector)
            alike[coordinates[:left_out], coordinates[left_out + 1 :], vector.d_model].append(vector)
        for members in alike.values():
            rows += _pair_rows(sorted(members, key=lambda one: (one.checkpoint, _place(one))))
    return rows


def null_rows(vectors: Sequence[SteeringVector]) -> list[Measurement]:
    """What cosines with the last checkpoint's vector are to be read against.

    * method ``random``, role null: 0 with the 95 % band of random directions.
    * method ``shuffled_label``, role null: of that checkpoint's shuffled-label vector with the last one's real vector: what the shape of
      the activations gives alone.
    * method ``shuffled_label``, role control, among :func:`cosine_rows`: how like itself a direction of meaningless labels stays, since the
      representation itself does.
    """
    rows = []
    shuffled = {(one.checkpoint.key, *_place(one)[1:]): one for one in vectors if one.kind == "shuffled_label"}
    for series in _series(vectors):
        last = series[-1]
        band = random_band(last.d_model)
        rows.append(
            _row(last, _estimate(last, "direction_cosine", 0.0, method="random", role="null", interval=(-band, band)))
        )
        for one in series:
            other = shuffled.get((one.checkpoint.key, *_place(one)[1:]))
            if other is not None:
                value = float(cosines([other, last])[0, 1])
                estimate = _estimate(one, "direction_cosine", value, method="shuffled_label", role="null")
                rows.append(_row(one, estimate, other=last.key))
    return rows


def settling_rows(vectors: Sequence[SteeringVector], *, threshold: float | None = None) -> list[Measurement]:
    """``direction_settled`` of every series over checkpoints that is no control; see :func:`settling`."""
    return [_row(series[-1], settling(series, threshold=threshold)) for series in _series(vectors)]


def settling(series: Sequence[SteeringVector], *, threshold: float | None = None) -> Estimate:
    """Since when the direction has been what it is at the end, in tokens seen (in steps where tokens are unknown).

    The first checkpoint from which on every cosine with the last vector is at least `threshold`. The interval repeats this on bootstrap
    samples of groups, the same for all checkpoints, where all vectors have replicates; it covers the choice of statements, not another run.

    Args:
        series: The vectors of one kind, dataset and site over checkpoints of one run, in any order.
        threshold: By default half of the last vector's reliability, which is the most that two samples of the statements agree.

    Returns:
        NaN, with a note, where the series is too short or unordered, or the last direction is no more reliable than chance.

    Raises:
        AlignmentError: the vectors differ in width.
    """
    ordered = sorted(series, key=lambda vector: vector.checkpoint)
    last = ordered[-1]
    least = RELIABLE_SHARE * last.reliability if threshold is None else threshold
    times, unit = _times(ordered)
    problem = _problem(ordered, times, least)
    if problem:
        return _estimate(last, "direction_settled", math.nan, note=problem)
    course = cosines(ordered)[:, -1]
    first = _since(course, least)
    lower, upper = _interval(ordered, times, least)
    note = f"in {unit}; since {ordered[first].checkpoint.revision}; cosine with the last of at least {least:.3f}"
    if first == len(ordered) - 1:
        note += "; no earlier checkpoint has it"
    return _estimate(last, "direction_settled", times[first], note=note, interval=(lower, upper))


def _since(course: Float64[np.ndarray, " checkpoint"], least: float) -> int:
    """The first place from which on the course stays at `least` or above; the last place always is."""
    below = np.flatnonzero(~(course[:-1] >= least))
    return int(below[-1]) + 1 if len(below) else 0


def _interval(ordered: Sequence[SteeringVector], times: Sequence[float], least: float) -> tuple[float, float]:
    """The central 95 % of the answers that bootstrap samples give, each a series of its own from the same groups at every checkpoint."""
    courses = [_resampled_cosines(one, ordered[-1]) for one in ordered]
    known = [course for course in courses if course is not None]
    if len(known) < len(ordered):
        return math.nan, math.nan
    drawn = [
        times[_since(course, least)] if np.isfinite(course).all() else math.nan for course in np.stack(known, axis=1)
    ]
    return percentile_interval(np.asarray(drawn))


def _resampled_cosines(one: SteeringVector, other: SteeringVector) -> Float64[np.ndarray, " draw"] | None:
    """Cosines in bootstrap samples, moved so that their mean is the cosine; None unless both have replicates of the same samples.

    A replicate holds the noise of its sample twice, so its cosines lie too low by about as much as the cosine itself does.
    """
    if one.replicates is None or other.replicates is None or one.replicates.shape != other.replicates.shape:
        return None
    if _sample(one) != _sample(other):
        return None
    drawn = (one.replicates.double() * other.replicates.double()).sum(1).numpy()
    defined = drawn[np.isfinite(drawn)]
    if not len(defined):
        return None
    centred: Float64[np.ndarray, " draw"] = drawn - defined.mean() + cosines([one, other])[0, 1]
    return centred.clip(-1.0, 1.0)


def _problem(ordered: Sequence[SteeringVector], times: Sequence[float], least: float) -> str:
    """Why the question has no answer; empty where it has one."""
    last = ordered[-1]
    if len({vector.checkpoint.model for vector in ordered}) > 1:
        return "checkpoints of several runs, whose residual streams have no common basis"
    if len(ordered) < 3:
        return f"{len(ordered)} checkpoints; at least 3 are needed to see a direction settle"
    if any(math.isnan(time) for time in times) or any(two <= one for one, two in pairwise(times)):
        return "tokens seen (or steps) of the checkpoints are unknown or repeat"
    if math.isnan(least):
        return "the reliability of this kind is unknown; give a threshold"
    if least <= random_band(last.d_model):
        return f"a threshold of {least:.3f} is what random directions reach: the last direction is not reliable enough to compare with"
    return ""


def _times(ordered: Sequence[SteeringVector]) -> tuple[list[float], str]:
    tokens = [vector.checkpoint.tokens_seen for vector in ordered]
    if None not in tokens:
        return [float(value) for value in tokens if value is not None], "tokens"
    steps = [vector.checkpoint.step for vector in ordered]
    return [math.nan if step is None else float(step) for step in steps], "steps"


def _series(vectors: Sequence[SteeringVector]) -> list[list[SteeringVector]]:
    """The vectors of each place in order of checkpoints, where there are several; controls form no series."""
    places: Mapping[tuple[Place, str], list[SteeringVector]] = defaultdict(list)
    for vector in vectors:
        if vector.kind not in CONTROLS:
            places[_place(vector), vector.checkpoint.model].append(vector)
    found = [sorted(members, key=lambda one: one.checkpoint) for members in places.values()]
    return [members for members in found if len(members) > 1 and len({one.d_model for one in members}) == 1]


def _place(vector: SteeringVector) -> Place:
    return vector.kind, vector.dataset, vector.site, vector.position


def _sample(vector: SteeringVector) -> tuple[str, int, int]:
    """What the draws of replicates depend on."""
    return vector.fingerprint, vector.seed, vector.n


def _coordinates(vector: SteeringVector) -> tuple[str, ...]:
    return vector.checkpoint.key, *_place(vector)


def _pair_rows(ordered: Sequence[SteeringVector]) -> list[Measurement]:
    """A row for each pair of vectors that differ in the same thing."""
    table = cosines(ordered)
    return [
        _cosine_row(ordered[second], ordered[first], float(table[first, second]))
        for first, second in combinations(range(len(ordered)), 2)
    ]


def _cosine_row(vector: SteeringVector, other: SteeringVector, value: float) -> Measurement:
    role: Role = "control" if {vector.kind, other.kind} & CONTROLS else "measured"
    apart = vector.checkpoint.model != other.checkpoint.model
    note = "of another run: comparable only where one was tuned from the other" if apart else ""
    method = vector.kind if vector.kind == other.kind else f"{vector.kind}/{other.kind}"
    drawn = _resampled_cosines(vector, other)
    interval = (math.nan, math.nan) if drawn is None else percentile_interval(drawn)
    estimate = _estimate(vector, "direction_cosine", value, method=method, role=role, note=note, interval=interval)
    return _row(vector, estimate, other=other.key)


def _estimate(
    vector: SteeringVector,
    quantity: str,
    value: float,
    *,
    method: str = "",
    role: Role = "measured",
    note: str = "",
    interval: tuple[float, float] = (math.nan, math.nan),
) -> Estimate:
    return Estimate(
        quantity=quantity,
        method=method or vector.kind,
        value=value,
        lower=interval[0],
        upper=interval[1],
        n=vector.n,
        n_groups=vector.n_groups,
        role=role,
        note=note,
    )


def _row(vector: SteeringVector, estimate: Estimate, *, other: str = "") -> Measurement:
    return Measurement.of(
        estimate,
        dataset=vector.dataset,
        protocol="published" if vector.kind == "published" else "rigorous",
        seed=vector.seed,
        checkpoint=vector.checkpoint,
        site=vector.site,
        position=vector.position,
        vector=other,
    )
