"""What runs of proxy-tuning say beside figure 18: checkpoints before and after, and tuned models as lines."""

import math
from collections.abc import Iterator

from trustrace.core.measurements import Measurement
from trustrace.studies.paper.claims import UNTOLD, Finding, above, finding, number_text
from trustrace.studies.paper.numbers import PROXIED
from trustrace.studies.paper.reading import Run

PAPER_STRENGTH = 1.0
"""The paper adds the whole difference of the logits."""


def proxy_findings(run: Run) -> Iterator[Finding]:
    """Whether each base, tuned by proxy, passes the expert on the same items, and how high the tuned models' lines are."""
    for task, quantity in PROXIED:
        own = [row for row in run.rows if row.dataset == f"{task}/test"] if run.kind == "proxy_tune" else []
        for row in own:
            if row.quantity == quantity and not row.vector and row.checkpoint not in run.bases:
                yield finding("line", run, row, ours=f"{_name(row)} {number_text(row)}.", number=row)
        tuned = [row for row in own if row.quantity == quantity and row.vector.startswith("proxy:")]
        at = [row for row in tuned if math.isclose(row.alpha, PAPER_STRENGTH)]
        for row in at:
            yield _passed(run, row, own)
        if tuned and not at:
            strengths = ", ".join(f"{one:g}" for one in sorted({row.alpha for row in tuned}))
            ours = f"Not comparable: strengths are {strengths}, the paper's is {PAPER_STRENGTH:g}."
            yield finding("passes", run, tuned[0], ours=ours, setting=tuned[0].vector, is_of_series=True)


def _passed(run: Run, row: Measurement, rows: list[Measurement]) -> Finding:
    """By the paired difference to the expert over the same items."""
    place = (row.checkpoint, row.method, row.protocol)
    same = [one for one in rows if (one.checkpoint, one.method, one.protocol) == place]
    plain = next((one for one in same if one.quantity == row.quantity and not one.vector), None)
    over = next(
        (
            one
            for one in same
            if one.quantity == f"{row.quantity}_over_expert" and (one.vector, one.alpha) == (row.vector, row.alpha)
        ),
        None,
    )
    is_mute = plain is not None and math.isnan(plain.value)
    before = f"{number_text(plain)} as it is, " if plain else ""
    after = f", {number_text(over)} over the expert" if over else "; the difference to the expert is not in the run"
    ours = f"{_name(row)} {before}{number_text(row)} tuned by proxy{after}."
    # Where the base answers nothing that can be read, what it passes is said of no task that it was able to do.
    verdict = above(over.lower, over.upper) if over and not is_mute else UNTOLD
    return finding(
        "passes", run, row, ours=ours, verdict=verdict, number=over, setting=f"{row.vector}, alpha {row.alpha:g}"
    )


def _name(row: Measurement) -> str:
    """The world's questions are no 0/1 questions, and have no F1."""
    instead = "" if row.quantity == "f1" else " (in the place of F1)"
    return f"{row.quantity}{instead} by {row.method}"
