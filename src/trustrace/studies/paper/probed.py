"""What traces say beside figures 2 and 7 to 17: probes and information over blocks and checkpoints."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trustrace.core.measurements import Measurement
from trustrace.studies.paper.claims import UNTOLD, Finding, Verdict, above, by_count, finding, number_text
from trustrace.studies.paper.numbers import RANGES, ClaimKey, Range
from trustrace.studies.paper.reading import Run, model_of

MIDDLE = (12 / 32, 19 / 32)
"""Between which shares of the depth the paper's blocks 12 to 18 lie, their ends."""

FIRST = 1 / 4
"""Which share of the training that a trace covers is taken for its first checkpoints. The paper shows curves and names no share."""

Group = tuple[str, str, str]
"""Protocol, model and data set: what is never averaged over."""

_COURSES: tuple[tuple[ClaimKey, str, str, frozenset[str], frozenset[str]], ...] = (
    (
        "when",
        "accuracy",
        "logistic",
        frozenset({"rises early", "rises then falls early"}),
        frozenset({"rises late", "rises then falls late", "falls", "falls then rises"}),
    ),
    (
        "fitting",
        "I(T;X)",
        "nhsic_50",
        frozenset({"rises then falls"}),
        frozenset({"rises", "falls", "falls then rises"}),
    ),
    ("label", "I(T;Y)", "nhsic_50", frozenset({"rises"}), frozenset({"rises then falls", "falls", "falls then rises"})),
)
"""Claims of courses over training: of which number, which shapes show them, and which show the contrary. A flat one shows neither.

That accuracy rises says nothing of when, so its shapes say so too: see :func:`_when`."""


@dataclass(frozen=True, kw_only=True)
class RangeBeside:
    """The accuracies of one data set, and the range of a figure.

    Attributes:
        known: The figure's.
        rows: Ours, of every checkpoint and block of one model under one protocol; none where no run has any.
        run: The run.
    """

    known: Range
    rows: tuple[Measurement, ...] = ()
    run: str = ""

    @property
    def ends(self) -> tuple[Measurement, Measurement]:
        """Our least and our greatest accuracy."""
        by_value = sorted(self.rows, key=lambda row: row.value)
        return by_value[0], by_value[-1]

    @property
    def share(self) -> float:
        """Of our accuracies that lie within the figure's range; NaN where there are none."""
        inside = [self.known.low <= row.value <= self.known.high for row in self.rows]
        return sum(inside) / len(inside) if inside else math.nan

    def as_row(self) -> dict[str, Any]:
        """As a line of a table of its own."""
        line = {"where": "figures 8-12", "data set": self.known.dataset}
        line["paper"] = f"{self.known.low:.2f} to {self.known.high:.2f}"
        if not self.rows:
            return line | dict.fromkeys(
                ("least", "greatest", "n", "share within", "run", "protocol", "model", "ours is")
            )
        least, greatest = self.ends
        return line | {
            "least": number_text(least),
            "greatest": number_text(greatest),
            "n": least.n,
            "share within": self.share,
            "run": self.run,
            "protocol": least.protocol,
            "model": model_of(least),
            "ours is": f"{least.dataset} accuracy by {least.method}, {len(self.rows)} places in checkpoints and blocks",
        }


def ranges(runs: Sequence[Run]) -> list[RangeBeside]:
    """Each figure's range beside ours, by run, protocol, model and data set; once where no run has any."""
    found = []
    for known in RANGES:
        own = [
            RangeBeside(known=known, rows=tuple(rows), run=run.name)
            for run in runs
            for (_, _, dataset), rows in _grouped(_at_blocks(run, "accuracy", "logistic")).items()
            if dataset.startswith(known.dimension)
        ]
        found += own or [RangeBeside(known=known)]
    return found


def probing_findings(run: Run) -> Iterator[Finding]:
    """What a trace says of the figures on probes and on information."""
    for rows in _grouped(_at_blocks(run, "accuracy", "logistic")).values():
        yield _where(run, rows)
    for claim, quantity, method, shown, contrary in _COURSES:
        for group, rows in _grouped(_at_blocks(run, quantity, method)).items():
            shapes = _grouped(_at_blocks(run, f"{quantity} shape", method)).get(group, [])
            named = [(_block(row), row.note.partition(";")[0]) for row in shapes]
            if claim == "when":
                onsets = _grouped(_at_blocks(run, f"{quantity} onset", method)).get(group, [])
                named = [(block, f"{shape}{_when(block, shape, onsets, rows)}") for block, shape in named]
            verdict, said = _judged(named, shown, contrary)
            ours = f"{_course(rows)} {said}"
            yield finding(claim, run, rows[-1], ours=ours, verdict=verdict, is_of_series=True)


def _at_blocks(run: Run, quantity: str, method: str) -> list[Measurement]:
    """Numbers of checkpoints as they are, at blocks; a shape has a name also where no number decides it."""
    return [
        row
        for row in run.rows
        if row.quantity == quantity
        and row.method == method
        and row.site.startswith("block_")
        and not row.vector
        and (not math.isnan(row.value) or quantity.endswith(" shape"))
    ]


def _grouped(rows: Sequence[Measurement]) -> Mapping[Group, list[Measurement]]:
    groups: dict[Group, list[Measurement]] = {}
    for row in rows:
        groups.setdefault((row.protocol, model_of(row), row.dataset), []).append(row)
    return groups


def _series(rows: Sequence[Measurement]) -> Mapping[str, list[Measurement]]:
    """Rows by checkpoint, in the order of training; in that of the table where steps are not known."""
    known = [row for row in rows if row.step is not None]
    ordered = sorted(rows, key=lambda row: row.step or 0) if len(known) == len(rows) else rows
    by_checkpoint: dict[str, list[Measurement]] = {}
    for row in ordered:
        by_checkpoint.setdefault(row.checkpoint, []).append(row)
    return by_checkpoint


def _where(run: Run, rows: Sequence[Measurement]) -> Finding:
    """At the last checkpoint: is the best middle block above the best of all others?"""
    last, own = list(_series(rows).items())[-1]
    depth = {_block(row): row for row in own}
    highest = max(own, key=lambda row: row.value)
    said = f"At {last}, the last: highest at block {_block(highest)} of {max(depth) + 1}, {number_text(highest)}"
    middle = [row for block, row in depth.items() if _is_middle(block, max(depth) + 1)]
    others = [row for row in own if row not in middle]
    if set(depth) != set(range(max(depth) + 1)) or not middle or not others:
        ours = f"{said}; blocks {', '.join(map(str, sorted(depth)))} are no whole model with a middle."
        return finding("where", run, highest, ours=ours, number=highest, is_of_series=True)
    inner, outer = (max(some, key=lambda row: row.value) for some in (middle, others))
    ours = f"{said}; best in the middle: block {_block(inner)}, {number_text(inner)}, outside: block {_block(outer)}, {number_text(outer)}."
    verdict = above(inner.lower - outer.upper, inner.upper - outer.lower)
    return finding("where", run, highest, ours=ours, verdict=verdict, number=highest, is_of_series=True)


def _block(row: Measurement) -> int:
    return int(row.site.removeprefix("block_"))


def _is_middle(block: int, n_blocks: int) -> bool:
    """Whether the centre of a block lies where the paper's blocks 12 to 18 of 32 do."""
    return MIDDLE[0] <= (block + 0.5) / n_blocks <= MIDDLE[1]


def _course(rows: Sequence[Measurement]) -> str:
    """The mean over the blocks of one model, at the ends and where it is highest."""
    curve = [(key, sum(row.value for row in own) / len(own)) for key, own in _series(rows).items()]
    (first, start), (last, end) = curve[0], curve[-1]
    top, high = max(curve, key=lambda point: point[1])
    return f"Mean over blocks {start:.3f} at {first}, highest {high:.3f} at {top}, {end:.3f} at {last}."


def _when(block: int, shape: str, onsets: Sequence[Measurement], rows: Sequence[Measurement]) -> str:
    """Whether the rise at a block is `` early`` or `` late``, or at a time that is not certain; nothing where none comes first.

    It is early where the whole interval of its onset, by which a quarter of it is covered, lies in the first :data:`FIRST` of the
    training, and the curve covers half of it there; it is late where that whole interval lies behind.
    """
    if not shape.startswith("rises"):
        return ""
    clock = "step" if any(row.tokens_seen is None for row in rows) else "tokens_seen"
    course = [(getattr(row, clock), row.value) for row in rows if _block(row) == block]
    onset = next((row for row in onsets if _block(row) == block), None)
    if onset is None or not math.isfinite(onset.lower + onset.upper) or any(time is None for time, _ in course):
        return " at no certain time"
    course.sort()
    first, last = course[0][0], course[-1][0]
    until = first + FIRST * (last - first)
    if onset.lower > until:
        return " late"
    reached = max(value for time, value in course if time <= until)
    half = (course[0][1] + max(value for _, value in course)) / 2
    return " early" if onset.upper <= until and reached >= half else " at no certain time"


def _judged(named: Sequence[tuple[int, str]], shown: frozenset[str], contrary: frozenset[str]) -> tuple[Verdict, str]:
    """By the shapes of the courses at single blocks, which the trace judged under control of false discoveries."""
    if not named:
        return UNTOLD, "The run judged no shape."
    said = ", ".join(
        f"{shape} at {sum(one == shape for _, one in named)}" for shape in dict.fromkeys(one for _, one in named)
    )
    verdict = by_count(sum(one in shown for _, one in named), sum(one in contrary for _, one in named), of=len(named))
    return verdict, f"Judged shapes: {said} of {len(named)} blocks."
