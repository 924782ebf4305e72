"""What a comparison of checkpoints found, in sentences that carry their interval and their n."""

import math
from collections.abc import Iterator, Mapping, Sequence

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.measurements import Measurement
from trustrace.report.axis import amount, label
from trustrace.report.contents import counted
from trustrace.report.dynamics_drawing import standing
from trustrace.report.dynamics_runs import (
    DISCOVERIES,
    KINDS,
    DatasetCourse,
    Drift,
    DynamicsRun,
    Matrix,
    SiteCourse,
    differs,
    is_beyond_chance,
    source_of,
    way,
)
from trustrace.report.glossary import method
from trustrace.report.steering_sentences import shown, signed, valued

ANSWERS = {
    "level": "above its floor",
    "half": "half of the rise covered",
    "step": "sudden step",
    "logistic": "middle of a logistic rise",
}


def behind(row: Measurement) -> str:
    """``n = 400 in 120 groups``."""
    return f"n = {row.n:,} in {row.n_groups:,} groups"


def transfer_sentences(run: DynamicsRun, course: DatasetCourse) -> Iterator[str]:
    """Whether a probe of one checkpoint reads the others, at each drawn site."""
    for site in course.drawn:
        if len(site.transfer.names) < 2:
            yield f"{site.site}: fewer than two checkpoints were compared, so that no probe could be asked about another."
            continue
        yield f"{site.site}: {_told_apart(site.transfer)}{_earliest(run.checkpoints, site.transfer)}"


def _earliest(checkpoints: Mapping[str, Checkpoint], matrix: Matrix) -> str:
    """The earliest probe that reads its own checkpoint against the last one, both ways."""
    last, cells = matrix.names[-1], matrix.cells
    first = next((name for name in matrix.names if name not in matrix.idle), last)
    if first == last:
        return ""
    named = {key: _named(checkpoints, key) for key in (first, last)}
    return (
        f" The earliest of them, of {named[first]} (AUROC {valued(cells.get((first, first)))}), reads {named[last]} with "
        f"{valued(cells.get((first, last)))}; the probe of {named[last]} ({valued(cells.get((last, last)))}) reads {named[first]} with "
        f"{valued(cells.get((last, first)))}."
    )


def layer_sentences(course: DatasetCourse) -> Iterator[str]:
    """Whether a probe of one site reads the others at the last checkpoint."""
    if len(course.layers.names) < 2:
        yield "One site was compared: there is no other that its probe could read."
        return
    yield f"At the last checkpoint, over {len(course.layers.names)} sites: {_told_apart(course.layers)}"


def between_sentences(between: Mapping[str, Matrix]) -> Iterator[str]:
    """Whether a probe of one dataset reads the others, at each site."""
    for site, matrix in between.items():
        known = [row for row in matrix.pairs if math.isfinite(row.value)]
        best = max(known, key=lambda row: row.value, default=None)
        said = f" Highest from {source_of(best)} to {best.dataset}: {valued(best)}, {behind(best)}." if best else ""
        yield f"{site}: {_told_apart(matrix, with_n=False)}{said}"


def _told_apart(matrix: Matrix, *, with_n: bool = True) -> str:
    """How many intervals lie on which side of chance."""
    pairs, reading = matrix.pairs, len(matrix.names) - len(matrix.idle)
    if not pairs:
        return (
            f"{reading:,} of {len(matrix.names):,} probes read what they were fitted for: there are no two to compare."
        )
    known = [row for row in pairs if math.isfinite(row.value)]
    above, below = (sum(way(row) == side for row in known) for side in (1, -1))
    undefined = len(pairs) - len(known)
    n = f"; {behind(known[0])}" if known and with_n else ""
    unknown = f", is undefined in {undefined:,}" if undefined else ""
    return (
        f"{reading:,} of {len(matrix.names):,} probes read what they were fitted for. Of the {counted(len(pairs), 'ordered pair')} of "
        f"these, the interval lies above 1/2 in {above:,}, below 1/2 (the other way round) in {below:,}, and holds 1/2 in "
        f"{len(known) - above - below:,}{unknown}{n}. Each pair is judged on its own.{_beyond_chance(matrix)}"
    )


def _beyond_chance(matrix: Matrix) -> str:
    """How many of the pairs of two views that are not idle chance does not explain; empty where no null was drawn."""
    idle = matrix.idle
    tested = [
        pair for pair, found in matrix.chance.items() if "q" in found and pair[0] != pair[1] and idle.isdisjoint(pair)
    ]
    if not tested:
        return ""
    found = sum(is_beyond_chance(matrix, pair) for pair in tested)
    return (
        f" Beyond what random directions and probes of permuted labels reach, at a false discovery rate of {DISCOVERIES:.0%}: "
        f"{found:,} of {len(tested):,}."
    )


def emergence_sentences(course: DatasetCourse) -> Iterator[str]:
    """When the concept emerges at each drawn site."""
    for site in course.drawn:
        if not site.emergence:
            yield f"{site.site}: no time of emergence was computed; it needs counts of tokens or steps that ascend."
            continue
        said = "; ".join(
            f"{name} {time(site.emergence[key])}" for key, name in ANSWERS.items() if key in site.emergence
        )
        q = site.emergence.get("q")
        never_rises = f" That it never rises: q = {shown(q.value)}." if q and math.isfinite(q.value) else ""
        yield f"{site.site}: {said}; {behind(next(iter(site.emergence.values())))}.{never_rises}"


def time(row: Measurement) -> str:
    """``at 5.2 M [2.6 M, 10 M]``, ``never``, ``from the start``, ``undefined``."""
    said = standing(row)
    return f"{f'at {_count(row)}' if said == 'at' else said} {times(row)}".strip()


def times(row: Measurement) -> str:
    """The interval of a time; an end that is not known is said."""
    if not math.isfinite(row.lower):
        return ""
    upper = amount(row.upper) if math.isfinite(row.upper) else "no upper end"
    return f"[{amount(row.lower)}, {upper}]"


def _count(row: Measurement) -> str:
    unit = " tokens" if row.tokens_seen is not None else " steps"
    return f"{amount(row.value)}{unit}"


def drift_sentences(run: DynamicsRun, course: DatasetCourse) -> Iterator[str]:
    """How far directions lie from the last checkpoint's, beside what noise alone leaves."""
    for site in course.drawn:
        if not site.drift:
            yield f"{site.site}: no two directions were compared."
        for name, drift in site.drift.items():
            yield f"{site.site}, {method(name).title.lower()}: {_drift(run.checkpoints, drift)}"


def _drift(checkpoints: Mapping[str, Checkpoint], drift: Drift) -> str:
    plain, ceiling, corrected = (drift.get(f"direction cosine{what}", {}) for what in ("", " ceiling", " corrected"))
    *others, last = plain
    n = behind(plain[last])
    if last not in corrected or not math.isfinite(corrected[last].value):
        return f"the direction of {_named(checkpoints, last)} is not reliable itself, so that none can be compared with it; {n}."
    known = [key for key in others if key in corrected and math.isfinite(corrected[key].value)]
    if not known:
        return f"no direction before that of {_named(checkpoints, last)} is reliable; {n}."
    first, turned = known[0], sum(corrected[key].upper < 1 for key in known)
    return (
        f"the earliest direction that is reliable, at {_named(checkpoints, first)}, has a cosine of {valued(plain[first])} with that of "
        f"{_named(checkpoints, last)}; noise alone would leave {valued(ceiling.get(first))}; corrected for it {valued(corrected[first])}. "
        f"{counted(len(others), 'checkpoint')} before the last: {len(others) - len(known):,} without a reliable direction, {turned:,} with "
        f"an interval of the corrected cosine below 1 (the direction has turned since); {n}."
    )


def learned_sentences(course: DatasetCourse) -> Iterator[str]:
    """What became of the statements, beside what chance would give."""
    for site in course.drawn:
        if ("forgettings", "") not in site.shares:
            yield f"{site.site}: no trajectory was measured."
            continue
        yield f"{site.site}: {_shares(site)} {_forgettings(site)}"


def _shares(site: SiteCourse) -> str:
    kinds = ", ".join(f"{kind} {valued(site.shares.get((kind, '')))}" for kind in KINDS)
    chance = " and ".join(
        f"{kind} {valued(site.shares[kind, 'strangers'])}"
        for kind in ("always right", "never right")
        if (kind, "strangers") in site.shares
    )
    rows = f"; {behind(site.shares['forgettings', ''])}"
    return f"Shares of the statements: {kinds}{rows}. If strangers were right at each checkpoint: {chance or 'not measured'}."


def _forgettings(site: SiteCourse) -> str:
    own, beyond = site.shares["forgettings", ""], site.shares.get(("forgettings beyond shuffled", ""))
    chances = [
        ("in random order of its own checkpoints", "shuffled"),
        ("if strangers were right each time", "strangers"),
    ]
    noise = "; ".join(
        f"{words} {valued(site.shares[('forgettings', name)])}"
        for words, name in chances
        if ("forgettings", name) in site.shares
    )
    said = f"A statement is forgotten {valued(own)} times; {noise or 'chance was not measured'}."
    if beyond is None or not math.isfinite(beyond.lower + beyond.upper):
        return said
    judged = "less often than" if beyond.upper < 0 else "more often than" if beyond.lower > 0 else "not told from"
    return f"{said} The difference to random order is {signed(beyond)}: {judged} noise."


def tolerance_sentences(run: DynamicsRun, course: DatasetCourse) -> Iterator[str]:
    """How much noise the readings of the first and the last checkpoint stand."""
    for site in course.drawn:
        rows = list(site.tolerance.items())
        if not rows:
            yield f"{site.site}: not measured."
            continue
        (first, at_first), (last, at_last) = rows[0], rows[-1]
        undefined = sum(not math.isfinite(row.value) for _, row in rows)
        yield (
            f"{site.site}: {valued(at_first)} at {_named(run.checkpoints, first)}, {valued(at_last)} at {_named(run.checkpoints, last)}; "
            f"undefined at {undefined:,} of {counted(len(rows), 'checkpoint')}; {behind(at_last)}."
        )


def change_sentences(course: DatasetCourse) -> Iterator[str]:
    """How many pairs of checkpoints differ, at each drawn site and at all of them."""
    every = [change for site in course.sites for change in site.changes.values()]
    if not every:
        yield "No two checkpoints were tested against each other."
        return
    if len(course.sites) > 1:
        yield f"All {len(course.sites)} sites: {_differing(every)}"
    for site in course.drawn:
        yield f"{site.site}: {_differing(list(site.changes.values()))}"


def _differing(changes: Sequence[Mapping[str, Measurement]]) -> str:
    found = [change["accuracy change"] for change in changes if differs(change)]
    better = sum(row.value > 0 for row in found)
    n = f"; {behind(changes[0]['accuracy change'])}" if changes else ""
    return (
        f"{len(found):,} of {counted(len(changes), 'pair')} of checkpoints differ at a false discovery rate of {DISCOVERIES:.0%} over all "
        f"pairs and sites: the later one is more accurate in {better:,}, less in {len(found) - better:,}{n}."
    )


def _named(checkpoints: Mapping[str, Checkpoint], key: str) -> str:
    return label(checkpoints[key]) if key in checkpoints else key
