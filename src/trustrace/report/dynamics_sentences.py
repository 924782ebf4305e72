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
    DynamicsRun,
    Matrix,
    SiteCourse,
    differs,
    source_of,
    way,
)
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
        first, last = site.transfer.names[0], site.transfer.names[-1]
        cells = site.transfer.cells
        named = {key: _named(run.checkpoints, key) for key in (first, last)}
        yield (
            f"{site.site}: the probe of {named[first]} tells the statements of {named[last]} apart with an AUROC of "
            f"{valued(cells.get((first, last)))}, that checkpoint's own probe with {valued(cells.get((last, last)))}; the probe of "
            f"{named[last]} those of {named[first]} with {valued(cells.get((last, first)))}. {_told_apart(site.transfer)}"
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
    pairs = matrix.pairs
    if not pairs:
        return "No probe reads even what it was fitted for, so that nothing is said of others."
    known = [row for row in pairs if math.isfinite(row.value)]
    above, below = (sum(way(row) == side for row in known) for side in (1, -1))
    undefined = len(pairs) - len(known)
    n = f"; {behind(known[0])}" if known and with_n else ""
    idle = len(matrix.idle)
    return (
        f"{len(matrix.names) - idle:,} of {len(matrix.names):,} probes read what they were fitted for. Of their "
        f"{counted(len(pairs), 'pair')} with another, the interval lies above 1/2 in {above:,}, below 1/2 (the direction has turned round) "
        f"in {below:,}, and holds 1/2 in {len(known) - above - below:,}{f'; {undefined:,} are undefined' if undefined else ''}{n}. Each "
        "pair is judged on its own."
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
    """How far the direction of the first checkpoint lies from the last one's, beside what noise alone leaves."""
    for site in course.drawn:
        yield f"{site.site}: {_drift(run.checkpoints, site)}"


def _drift(checkpoints: Mapping[str, Checkpoint], site: SiteCourse) -> str:
    plain, ceiling, corrected = (
        site.drift.get(f"direction cosine{what}", {}) for what in ("", " ceiling", " corrected")
    )
    if len(plain) < 2:
        return "fewer than two checkpoints were compared."
    first, *_, last = plain
    others = [row for key, row in corrected.items() if key != last]
    unknown = sum(not math.isfinite(row.value) for row in others)
    turned = sum(row.upper < 1 for row in others)
    return (
        f"the direction at {_named(checkpoints, first)} has a cosine of {valued(plain[first])} with that of "
        f"{_named(checkpoints, last)}; noise alone would leave {valued(ceiling.get(first))}; corrected for it "
        f"{valued(corrected.get(first))}. Of {counted(len(others), 'earlier checkpoint')}, {turned:,} have an interval of the corrected "
        f"cosine below 1 (the direction has turned since), {unknown:,} have no direction that is reliable; {behind(plain[first])}."
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
