"""The phases of training in words: one sentence per site, one verdict per dataset. It counts sites and computes nothing else."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from trustrace.report.axis import amount
from trustrace.report.grids import Moment, Phase
from trustrace.report.information import DEPENDENCES, MOVING_X_SITE, X_QUANTITIES, Y_QUANTITY, in_order
from trustrace.report.information_glossary import dependence
from trustrace.report.phases import TWO_PHASES

RISES = "rises"
FLAT = "flat"
ARROWS = {TWO_PHASES: "↗↘", RISES: "↗", "falls": "↘", "falls then rises": "↘↗", FLAT: "→"}

Judged = Mapping[tuple[str, str, bool], Phase]
"""Phases of one view by site, measure, and whether they are calibrated."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """At how many of the sites that were judged a curve has some shape."""

    hits: int
    of: int

    def __str__(self) -> str:
        return f"{self.hits} of {self.of}"


def columns(judged: Judged) -> list[tuple[str, bool]]:
    """The measures that were judged, each as measured and then calibrated."""
    found = {(quantity, is_calibrated) for _, quantity, is_calibrated in judged}
    ordered = in_order(sorted({quantity for quantity, _ in found}), DEPENDENCES)
    return [(name, calibrated) for name in ordered for calibrated in (False, True) if (name, calibrated) in found]


def is_x_itself(site: str, quantity: str) -> bool:
    """Whether T is X there, so that nothing is learned from their dependence."""
    return quantity == X_QUANTITIES[0] and site == MOVING_X_SITE


def count(judged: Judged, quantity: str, *, is_calibrated: bool) -> Count:
    """The sites at which I(T;X) shows two phases, or I(T;Y) a rise without a fall; the site that is X itself does not count."""
    wanted = RISES if quantity == Y_QUANTITY else TWO_PHASES
    shapes = [
        phase.shape
        for (site, name, calibrated), phase in judged.items()
        if (name, calibrated) == (quantity, is_calibrated) and not is_x_itself(site, name)
    ]
    return Count(hits=shapes.count(wanted), of=len(shapes))


def verdict(judged: Judged) -> str:
    """At how many sites the two phases show, as measured and calibrated, for each X; and whether I(T;Y) keeps rising."""
    told = dict.fromkeys(quantity for quantity, _ in columns(judged))
    x_parts = [_counted(judged, name, f"{_which_x(name)} at ") for name in told if name != Y_QUANTITY]
    said = f"Two phases of I(T;X), a rise and then a fall: {'; '.join(x_parts)}." if x_parts else ""
    return " ".join(filter(None, (said, _label_verdict(judged) if Y_QUANTITY in told else "")))


def _label_verdict(judged: Judged) -> str:
    return f"{_counted(judged, Y_QUANTITY, 'I(T;Y) rises and does not fall at ')}."


def _counted(judged: Judged, quantity: str, before: str) -> str:
    ways = dict.fromkeys(calibrated for name, calibrated in columns(judged) if name == quantity)
    counts = [(calibrated, count(judged, quantity, is_calibrated=calibrated)) for calibrated in ways]
    return before + ", ".join(f"{'calibrated at ' if calibrated else ''}{at} sites" for calibrated, at in counts)


def _which_x(quantity: str) -> str:
    return (
        "with the moving X" if quantity == X_QUANTITIES[0] else dependence(quantity).title.replace("I(T;X), ", "with ")
    )


def sentence(judged: Judged, site: str) -> str:
    """What is to be said of one site; empty where every curve is flat."""
    here = [key for key in ((site, *column) for column in columns(judged)) if key in judged]
    if all(judged[key].shape == FLAT for key in here):
        return ""
    measures = dict.fromkeys(quantity for _, quantity, _ in here)
    return " ".join(f"{_capital(_measure(judged, site, name))}." for name in measures)


def _measure(judged: Judged, site: str, quantity: str) -> str:
    plain, calibrated = (judged.get((site, quantity, way)) for way in (False, True))
    said = [_course(plain)] if plain else []
    said += (
        [f"calibrated it {_course(calibrated)}" if plain else f"calibrated {_course(calibrated)}"] if calibrated else []
    )
    named = quantity if quantity == Y_QUANTITY else f"I(T;X) {_which_x(quantity)}"
    itself = " (X itself)" if is_x_itself(site, quantity) else ""
    return f"{named}{itself} {'; '.join(said)}"


def _course(phase: Phase) -> str:
    q = f", {q_text(phase.q)}" if math.isfinite(phase.q) else ""
    if phase.shape == FLAT:
        return f"shows neither rise nor fall{q}"
    if phase.shape == TWO_PHASES:
        peak = f": peak at {moment_text(phase.peak, phase.unit)}" if _is_known(phase.peak) else ""
        return f"{phase.shape}{peak}, falls afterwards{q}" if peak else f"{phase.shape}{q}"
    onset = f" from {moment_text(phase.onset, phase.unit)} on" if phase.onset and _is_known(phase.onset) else ""
    return f"{phase.shape}{onset if phase.shape == RISES else ''}{q}"


def beside(phase: Phase) -> str:
    """What stands beside a shape in a table: its peak and its q-value."""
    peak = _short(phase.peak, phase.unit) if phase.peak and phase.shape == TWO_PHASES else ""
    q = q_text(phase.q) if math.isfinite(phase.q) else ""
    return ", ".join(filter(None, (peak, q)))


def q_text(q: float) -> str:
    """``q = 0.010``; what rounds to nothing is told as a bound."""
    return "q < 0.001" if q < 0.0005 else f"q = {q:.3f}"


def moment_text(moment: Moment | None, unit: str) -> str:
    """``400 k tokens (95 % interval 200 k to 700 k)``, or why there is no such moment."""
    if moment is None or not math.isfinite(moment.value):
        return (moment.note if moment else "") or "undefined"
    if not _has_interval(moment):
        return f"{amount(moment.value)} {unit}"
    return f"{amount(moment.value)} {unit} (95 % interval {amount(moment.lower)} to {amount(moment.upper)})"


def _short(peak: Moment, unit: str) -> str:
    if not math.isfinite(peak.value):
        return f"peak: {peak.note or 'undefined'}"
    ends = f" [{amount(peak.lower)}, {amount(peak.upper)}]" if _has_interval(peak) else ""
    return f"peak {amount(peak.value)}{ends} {unit}"


def _is_known(moment: Moment | None) -> bool:
    return moment is not None and math.isfinite(moment.value)


def _has_interval(moment: Moment) -> bool:
    return math.isfinite(moment.lower) and math.isfinite(moment.upper)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def sites_of(judged: Judged, order: Iterable[str]) -> Iterator[str]:
    """The sites that were judged, in `order`."""
    yield from in_order(dict.fromkeys(site for site, _, _ in judged), order)
