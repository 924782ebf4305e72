"""Findings in words, and numbers as text."""

import math
from collections.abc import Sequence

from trustrace.report.axis import label
from trustrace.report.findings import Finding, Floor, Reading, strongest
from trustrace.report.glossary import floor as floor_term

UNDEFINED = "undefined"


def number(value: float | None, digits: int = 2) -> str:
    """A number at reading precision; what is not a number is called undefined."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{value:.{digits}f}".replace("-", "\u2212")


def with_interval(value: float, lower: float, upper: float, digits: int = 2) -> str:
    """``0.74 [0.71, 0.77]``; the number alone where it has no interval."""
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return number(value, digits)
    return f"{number(value, digits)} [{number(lower, digits)}, {number(upper, digits)}]"


def reading_text(reading: Reading, digits: int = 2) -> str:
    """The value of `reading` with its interval."""
    return with_interval(reading.value, reading.lower, reading.upper, digits)


def claim(finding: Finding) -> str:
    """What can be said of a dataset in one sentence: when it becomes readable and where; or why nothing is claimed."""
    if finding.first is not None:
        return f"{_onset(finding, finding.first)}: {_with_floor(finding.first, finding.floors[finding.onset or 0])}."
    if finding.final is None:
        return "No site is chosen: there is no loss inside training rows to choose one by."
    if not finding.final_floors:
        return "No floor was measured, so nothing is claimed."
    if not math.isfinite(finding.final.lower):
        return "No interval was measured, so nothing is claimed."
    return f"Not readable above every floor at {_none_of(finding.n_checkpoints)}."


def details(finding: Finding) -> tuple[str, ...]:
    """The sentences after the claim: whether it lasts, and where the series ends."""
    if finding.final is None:
        return (_final_range(finding),)
    last = f"{_capital(_last(finding, finding.final))}."
    if finding.first is None:
        return (last,)
    return (_lasting(finding), last) if finding.later else ()


def _onset(finding: Finding, first: Reading) -> str:
    when = label(first.checkpoint)
    if finding.n_checkpoints == 1:
        return f"Readable at {first.site}, at the only checkpoint ({when})"
    if first.column == 0:
        return f"Readable at {first.site} from the first checkpoint on ({when})"
    after = "after" if first.checkpoint.tokens_seen is not None else "at"
    return f"Becomes readable at {first.site} {after} {when}"


def _with_floor(reading: Reading, floors: Sequence[Floor]) -> str:
    highest = strongest(tuple(floors))
    beside = f", strongest floor {number(highest.value)} ({floor_term(highest.name).title})" if highest else ""
    return f"{reading_text(reading)}, n = {reading.n:,}{beside}"


def _last(finding: Finding, final: Reading) -> str:
    which = "at the only checkpoint" if finding.n_checkpoints == 1 else "at the last checkpoint"
    return f"{which} ({label(final.checkpoint)}) the best site, {final.site}, reaches {_with_floor(final, finding.final_floors)}"


def _lasting(finding: Finding) -> str:
    count = len(finding.later)
    later = f"{count} later checkpoint{'s' if count > 1 else ''}"
    if all(finding.later):
        return f"It stays above every floor at {'all ' if count > 1 else 'the '}{later}."
    return f"It does so at {sum(finding.later)} of {later} as well."


def _final_range(finding: Finding) -> str:
    if not finding.final_range:
        return "No accuracy is defined at any checkpoint."
    low, high = finding.final_range
    return (
        f"At the last checkpoint ({label(low.checkpoint)}) accuracy lies between {reading_text(low)} ({low.site}) "
        f"and {reading_text(high)} ({high.site}), n = {high.n:,}."
    )


def _none_of(n_checkpoints: int) -> str:
    return "the only checkpoint" if n_checkpoints == 1 else f"any of {n_checkpoints} checkpoints"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
