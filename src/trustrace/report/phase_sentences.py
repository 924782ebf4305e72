"""The phases of training in words: one sentence per site, one verdict per dataset. It counts sites and computes nothing else."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from trustrace.report.axis import amount
from trustrace.report.grids import Moment, Phase
from trustrace.report.information import DEPENDENCES, MOVING_X_SITE, RANK, X_QUANTITIES, Y_QUANTITY, in_order
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
    shown = (*DEPENDENCES, RANK)
    return [(name, calibrated) for name in shown for calibrated in (False, True) if (name, calibrated) in found]


def is_x_itself(site: str, quantity: str) -> bool:
    """Whether T is X there, so that nothing is learned from their dependence."""
    return quantity == X_QUANTITIES[0] and site == MOVING_X_SITE


def count(judged: Judged, quantity: str, *, is_calibrated: bool) -> Count:
    """The sites at which I(T;X) shows two phases, or I(T;Y) a rise without a fall; the site that is X itself does not count."""
    wanted = RISES if quantity == Y_QUANTITY else TWO_PHASES
    shapes = [
        phase.shape
        for (site, name, calibrated), phase in judged.items()
        if (name, calibrated) == (quantity, is_calibrated) and not is_x_itself(site, name) and phase.shape in ARROWS
    ]
    return Count(hits=shapes.count(wanted), of=len(shapes))


def verdict(judged: Judged) -> str:
    """At how many sites each X shows two phases, as measured and calibrated; whether the rank falls too; whether I(T;Y) keeps rising."""
    told = dict.fromkeys(quantity for quantity, _ in columns(judged))
    x_parts = [_counted(judged, name, _which_x(name)) for name in told if name in X_QUANTITIES]
    said = f"Two phases of I(T;X), a rise and then a fall, {'; '.join(x_parts)}." if x_parts else ""
    label = f"I(T;Y) rises and does not fall {_counted(judged, Y_QUANTITY)}." if Y_QUANTITY in told else ""
    return " ".join(filter(None, (said, _rank_verdict(judged), label)))


def _counted(judged: Judged, quantity: str, which: str = "") -> str:
    """``at 4 of 5 sites with the moving X, calibrated at 2 of 5``."""
    parts: list[str] = []
    for is_calibrated in (way for name, way in columns(judged) if name == quantity):
        sites = "" if parts else " sites"
        parts.append(
            f"{'calibrated ' if is_calibrated else ''}at {count(judged, quantity, is_calibrated=is_calibrated)}{sites}"
        )
    return ", ".join([f"{parts[0]} {which}".rstrip(), *parts[1:]])


def _rank_verdict(judged: Judged) -> str:
    """At how many sites with two phases of the paper's I(T;X) the effective rank falls as well; empty where there is none."""
    x = next((name for name in X_QUANTITIES if (name, False) in columns(judged)), "")
    peaked = [
        site
        for (site, name, calibrated), phase in judged.items()
        if (name, calibrated) == (x, False) and phase.shape == TWO_PHASES and not is_x_itself(site, name)
    ]
    ranks = [rank.shape for site in peaked if (rank := judged.get((site, RANK, False)))]
    falling = sum("falls" in shape for shape in ranks)
    return (
        f"Where it shows {_which_x(x)}, the effective rank falls as well at {falling} of {len(ranks)}." if ranks else ""
    )


def _which_x(quantity: str) -> str:
    return (
        "with the moving X" if quantity == X_QUANTITIES[0] else dependence(quantity).title.replace("I(T;X), ", "with ")
    )


def sentence(judged: Judged, site: str) -> str:
    """What is to be said of one site; empty where every curve is flat or none could be judged."""
    here = [key for key in ((site, *column) for column in columns(judged)) if key in judged]
    if all(judged[key].shape == FLAT or judged[key].shape not in ARROWS for key in here):
        return ""
    measures = dict.fromkeys(quantity for _, quantity, _ in here)
    return " ".join(f"{_capital(_measure(judged, site, name))}." for name in measures)


def _measure(judged: Judged, site: str, quantity: str) -> str:
    plain, calibrated = (judged.get((site, quantity, way)) for way in (False, True))
    said = [course(plain)] if plain else []
    said += (
        [f"calibrated it {course(calibrated)}" if plain else f"calibrated {course(calibrated)}"] if calibrated else []
    )
    named = f"I(T;X) {_which_x(quantity)}" if quantity in X_QUANTITIES else dependence(quantity).title
    itself = " (X itself)" if is_x_itself(site, quantity) else ""
    return f"{named}{itself} {'; '.join(said)}"


def course(phase: Phase) -> str:
    """``rises from 1.2 M tokens (95 % interval 1.0 M to 1.4 M) on, q = 0.003``."""
    q = f", {q_text(phase.q)}" if math.isfinite(phase.q) else ""
    if phase.shape not in ARROWS:
        return f"is not judged ({phase.shape or 'no reason is given'})"
    if phase.shape == FLAT:
        return f"shows neither rise nor fall{q}"
    if phase.shape == TWO_PHASES:
        peak = f": peak at {moment_text(phase.peak, phase.unit)}" if _is_known(phase.peak) else ""
        return f"{phase.shape}{peak}, falls afterwards{q}" if peak else f"{phase.shape}{q}"
    onset = f" from {moment_text(phase.onset, phase.unit)} on" if phase.onset and _is_known(phase.onset) else ""
    return f"{phase.shape}{onset if phase.shape == RISES else ''}{q}"


def beside(phase: Phase) -> tuple[str, ...]:
    """What stands below a shape in a table: its peak, the interval, and its q-value."""
    peak = _peak(phase.peak) if phase.peak and phase.shape == TWO_PHASES else ()
    return (*peak, q_text(phase.q)) if math.isfinite(phase.q) else peak


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


def _peak(peak: Moment) -> tuple[str, ...]:
    if not math.isfinite(peak.value):
        return (f"peak: {peak.note or 'undefined'}",)
    interval = (f"[{amount(peak.lower)}, {amount(peak.upper)}]",) if _has_interval(peak) else ()
    return (f"peak {amount(peak.value)}", *interval)


def _is_known(moment: Moment | None) -> bool:
    return moment is not None and math.isfinite(moment.value)


def _has_interval(moment: Moment) -> bool:
    return math.isfinite(moment.lower) and math.isfinite(moment.upper)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def sites_of(judged: Judged, order: Iterable[str]) -> Iterator[str]:
    """The sites that were judged, in `order`."""
    yield from in_order(dict.fromkeys(site for site, _, _ in judged), order)
