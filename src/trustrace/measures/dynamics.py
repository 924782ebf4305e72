"""Phases of training: which curves over checkpoints rise, fall or turn, where they peak and where their rise sets in.

All that is said here is about one run. Intervals cover the choice of statements and a wobble of the weights that is independent from
checkpoint to checkpoint. They do not cover slow drifts, which are taken for phases, nor another run, which may differ with its seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import false_discovery_control

from trustrace.core.draws import generator
from trustrace.core.errors import MeasurementError
from trustrace.core.measurements import Estimate
from trustrace.measures.monotone import non_decreasing, unimodal, valley
from trustrace.measures.paired_noise import PairedNoise, crossing, highest_checkpoints, rise_and_fall, with_wobble

Shape = Literal["rises then falls", "rises", "falls", "falls then rises", "flat"]

FEWEST_CHECKPOINTS = 4
"""Below this a curve has no shape to speak of."""

ONSET_SHARE = 0.25
"""The share of its rise that a curve has covered at its onset; a smaller one is nearer the beginning, but within most curves' noise."""

PerCheckpoint = Float64[np.ndarray, " checkpoint"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One quantity at one site over the checkpoints of a run.

    Attributes:
        dataset: The statements' dataset.
        site: Where in the model.
        quantity: What was measured, such as ``I(T;X)``.
        method: How it was measured, such as ``nhsic_50``.
        training: Tokens seen (or steps) at each checkpoint, ascending; may begin at 0.
        values: The quantity; NaN where it is undefined.
        replicates: Cluster-bootstrap replicates of `values` over statements, hundreds of them. One row resamples the same statements at
            every checkpoint: only so can a change be told from a shift that all checkpoints share.
        n: Statements.
        n_groups: Groups among them.
    """

    dataset: str
    site: str
    quantity: str
    method: str
    training: PerCheckpoint
    values: PerCheckpoint
    replicates: Float64[np.ndarray, "replicate checkpoint"]
    n: int
    n_groups: int

    def __post_init__(self) -> None:
        if (np.diff(self.training) <= 0).any():
            raise MeasurementError(
                f"{self.name}: {self.training.tolist()} tokens seen do not ascend; give each checkpoint once, in the order of training"
            )

    @property
    def name(self) -> str:
        """Dataset, site and quantity in words."""
        return f"{self.quantity} of {self.dataset} at {self.site} ({self.method})"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A point of training with its 95 % interval; without a value, `note` says why."""

    value: float = np.nan
    lower: float = np.nan
    upper: float = np.nan
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one curve says by itself.

    Attributes:
        rise: p-value of "it never rises".
        fall: p-value of "it never falls".
        peaks: A rise followed by a fall fits better than a fall followed by a rise.
        peak: Where it is highest.
        onset: Where its rise sets in.
        note: What was left out, or why nothing can be said.
    """

    rise: float = np.nan
    fall: float = np.nan
    peaks: bool = True
    peak: Place = Place()
    onset: Place = Place()
    note: str = ""


def phases(curves: Sequence[Curve], *, seed: int, level: float = 0.05) -> list[tuple[Curve, list[Estimate]]]:
    """The shape, peak and onset of each curve, with false discoveries controlled over all curves of one quantity and method.

    Each curve is tested for a rise and for a fall; the q-values of a family of curves count both (Benjamini and Hochberg). A curve with
    both "rises then falls" or "falls then rises", whichever fits better; with one it "rises" or "falls"; else it is "flat". A curve
    that turns more than once gets the nearest of these names.

    A curve has two kinds of noise: what the choice of statements does to all checkpoints, known from the replicates, and what each
    checkpoint has for itself, since weights wobble while they are trained. The latter is read from the curve's own roughness, with the
    uncertainty that a reading from so many checkpoints has; it is taken as independent between checkpoints and equally large at all. So
    few checkpoints show little: below eight, a sudden rise of ten standard errors is missed more often than found. A slow drift, over
    several checkpoints, is not told from a phase, nor is this run from what another seed would give.

    For a curve of quantity Q the estimates are:

    - ``Q shape``: the name is the note, the value the q-value that decides it;
    - ``Q rise p``, ``Q rise q``, ``Q fall p``, ``Q fall q``;
    - ``Q peak``: the checkpoint where the true curve of this run is highest, estimated by the mode of the unimodal fit. If there is no
      significant fall it may lie beyond the last checkpoint, and the note says so;
    - ``Q onset``: the first checkpoint from which on, until the peak, the true curve has covered a quarter of the way from its lowest
      value before the peak to the peak. The first departure from the starting level would have no interval: any curve is within any
      noise of one that departs earlier (Donoho 1988, One-sided inference about functionals of a density).

    Both intervals hold for one curve at a time, not for all selected ones at once.

    Args:
        curves: In any order; the order changes no number.
        seed: Of the noise draws, which depend on it and on the names of each curve alone.
        level: The false discovery rate at which shapes are named.

    References:
        Benjamini and Hochberg (1995), Controlling the false discovery rate.
        Benjamini and Yekutieli (2005), False discovery rate-adjusted multiple confidence intervals for selected parameters.
    """
    found = [_evidence(curve, seed=seed, level=level) for curve in curves]
    rates = _false_discovery_rates(curves, found)
    return [
        (curve, _estimates(curve, evidence, rates=rate, level=level))
        for curve, evidence, rate in zip(curves, found, rates, strict=True)
    ]


def _evidence(curve: Curve, *, seed: int, level: float) -> Evidence:
    """p-values, and where they allow a significant q-value (which is never smaller), the places."""
    course = course_of(curve, seed=seed)
    if isinstance(course, str):
        return Evidence(peak=Place(note=course), onset=Place(note=course), note=course)
    peaked, hollow = unimodal(course.values, course.weights), valley(course.values, course.weights)
    evidence = Evidence(
        rise=course.rise, fall=course.fall, peaks=peaked.residual <= hollow.residual, note=course.left_out
    )
    if min(course.rise, course.fall) <= level:
        kept = np.flatnonzero(highest_checkpoints(course.values, course.noise)).tolist()
        mode = _top(course.values, peaked.values)
        evidence = replace(evidence, peak=_place(course.training, mode, kept[0], kept[-1]))
    if course.rise <= level:
        evidence = replace(evidence, onset=covered(course, share=ONSET_SHARE))
    return evidence


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """A curve at the checkpoints where it has a value, with its noise and what rises and falls in it.

    Attributes:
        values: The quantity.
        training: Tokens seen (or steps).
        noise: Of the choice of statements and of each checkpoint for itself.
        rise: p-value of "it never rises".
        fall: p-value of "it never falls".
        left_out: What is to be said of checkpoints without a value; mostly empty.
    """

    values: PerCheckpoint
    training: PerCheckpoint
    noise: PairedNoise
    rise: float
    fall: float
    left_out: str

    @property
    def weights(self) -> PerCheckpoint:
        """By which checkpoints count in a fit: noisy ones less, but none so much more than others that it decides."""
        return np.asarray(1 / np.maximum(self.noise.variances, self.noise.variances.mean()))


def course_of(curve: Curve, *, seed: int) -> Course | str:
    """What can be judged of `curve`, or why nothing can."""
    usable = np.isfinite(curve.values) & np.isfinite(curve.replicates).all(axis=0)
    if reason := _hindrance(curve, int(usable.sum())):
        return reason
    values, training = curve.values[usable], curve.training[usable]
    rng = generator(seed, "phases", curve.dataset, curve.site, curve.quantity, curve.method)
    noise = PairedNoise.of(
        curve.replicates[:, usable], n_groups=curve.n_groups, scale=float(np.abs(values).max()), rng=rng
    )
    noise = with_wobble(noise, values, rng=rng)
    rise, fall = rise_and_fall(values, noise)
    return Course(values=values, training=training, noise=noise, rise=rise, fall=fall, left_out=_left_out(usable))


def covered(course: Course, *, share: float) -> Place:
    """The first checkpoint from which on, until the peak, the true curve has covered `share` of its rise; see :func:`phases`."""
    values, weights = course.values, course.weights
    peaked, hollow = unimodal(values, weights), valley(values, weights)
    if peaked.residual <= hollow.residual:
        low, high = _rise_before(values, peaked.values, _top(values, peaked.values))
    else:
        low, high = _rise_after(values, hollow.values)
    if high == low:
        return Place(note="the fit that is closest has no rise")
    rise = non_decreasing(values[low : high + 1], weights[low : high + 1])
    crossed = low + int(np.argmax(rise >= rise[0] + share * (rise[-1] - rise[0])))
    return _place(course.training, crossed, *crossing(values, course.noise, low=low, high=high, share=share))


def _hindrance(curve: Curve, usable: int) -> str:
    """Why nothing can be said about a curve; mostly empty."""
    if usable < FEWEST_CHECKPOINTS:
        return f"undefined: {usable} checkpoints have a value, {FEWEST_CHECKPOINTS} are needed"
    if curve.n_groups < 2 or len(curve.replicates) < 2:
        return "undefined: one group, or fewer than two replicates, tell nothing about noise"
    return ""


def _left_out(usable: Bool[np.ndarray, " checkpoint"]) -> str:
    """What a curve's note says of checkpoints without a value."""
    return "" if usable.all() else f"{(~usable).sum()} of {len(usable)} checkpoints have no value and are left out"


def _top(values: PerCheckpoint, fit: PerCheckpoint) -> int:
    """The highest value where the fit is highest."""
    block = np.flatnonzero(fit == fit.max())
    return int(block[np.argmax(values[block])])


def _rise_before(values: PerCheckpoint, fit: PerCheckpoint, high: int) -> tuple[int, int]:
    """From the lowest checkpoint before the mode of a unimodal fit to its mode."""
    return _top(-values[: high + 1], -fit[: high + 1]), high


def _rise_after(values: PerCheckpoint, fit: PerCheckpoint) -> tuple[int, int]:
    """From the lowest checkpoint of a valley to the highest one after it."""
    low = _top(-values, -fit)
    return low, low + _top(values[low:], fit[low:])


def _place(training: PerCheckpoint, value: int, lower: int, upper: int) -> Place:
    """Checkpoints as points of training; an interval holds its estimate."""
    return Place(
        value=float(training[value]), lower=float(training[min(lower, value)]), upper=float(training[max(upper, value)])
    )


def _false_discovery_rates(curves: Sequence[Curve], found: Sequence[Evidence]) -> list[tuple[float, float]]:
    """The q-values of rise and fall of each curve, within its family of one quantity and method."""
    p = np.array([(evidence.rise, evidence.fall) for evidence in found]).reshape(-1, 2)
    q = np.full_like(p, np.nan)
    for family in sorted({(curve.quantity, curve.method) for curve in curves}):
        member = np.array([(curve.quantity, curve.method) == family for curve in curves])
        tested = member[:, None] & np.isfinite(p)
        if tested.any():
            q[tested] = false_discovery_control(p[tested])
    return [(float(rise), float(fall)) for rise, fall in q]


def _estimates(curve: Curve, evidence: Evidence, *, rates: tuple[float, float], level: float) -> list[Estimate]:
    rise, fall = rates
    deciding, shape = _shape(rise, fall, peaks=evidence.peaks, level=level)
    peak, onset = _reported(evidence, shape)

    def estimate(name: str, value: float, note: str = evidence.note, place: Place = Place()) -> Estimate:
        return Estimate(
            quantity=f"{curve.quantity} {name}",
            method=curve.method,
            value=value,
            lower=place.lower,
            upper=place.upper,
            n=curve.n,
            n_groups=curve.n_groups,
            note=note,
        )

    return [
        estimate("shape", deciding, shape or evidence.note),
        estimate("rise p", evidence.rise),
        estimate("rise q", rise),
        estimate("fall p", evidence.fall),
        estimate("fall q", fall),
        estimate("peak", peak.value, peak.note, peak),
        estimate("onset", onset.value, onset.note, onset),
    ]


def _shape(rise: float, fall: float, *, peaks: bool, level: float) -> tuple[float, Shape | None]:
    """The deciding q-value and the name that q-values of rise and fall give."""
    if np.isnan(rise):
        return np.nan, None
    if max(rise, fall) <= level:
        return max(rise, fall), "rises then falls" if peaks else "falls then rises"
    if min(rise, fall) > level:
        return min(rise, fall), "flat"
    return (rise, "rises") if rise <= level else (fall, "falls")


def _reported(evidence: Evidence, shape: Shape | None) -> tuple[Place, Place]:
    """The peak and the onset, as far as a curve of this shape has them, and what must be known about them."""
    peak, onset = evidence.peak, evidence.onset
    if shape == "flat":
        peak = Place(note="no change is significant")
    elif shape == "falls then rises":
        peak = Place(note="it falls, then rises: no peak between")
    elif shape == "rises":
        peak = replace(peak, note="not passed: no fall is significant")
    elif shape == "falls":
        peak = replace(peak, note="no rise before it is significant")
    if shape in ("flat", "falls"):
        onset = Place(note="no rise is significant")
    return peak, onset
