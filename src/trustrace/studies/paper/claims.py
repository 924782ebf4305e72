"""What figures show, beside the same of a run, and whether the two agree.

**The rule of intervals.** A claim says on which side of a bound a number lies, or between which two. It *agrees* with ours where our
whole 95 % interval lies there, *disagrees* where the whole interval lies elsewhere, and otherwise *cannot be told*: where the interval
holds the bound, where there is none, and where what the claim needs is not in the run. Where two numbers are compared whose difference
has no interval of its own, their intervals must be disjoint. A claim over several blocks *agrees* where at least half of them show it
and none the contrary, and *disagrees* where at least half show the contrary and none shows it. The paper gives no intervals: a verdict
knows our uncertainty alone, and says nothing of models that we did not measure. Verdicts are not corrected for their number.

That accuracy rises over the *first* checkpoints is shown by a rise that sets in, with its whole interval, within the first quarter of
the training and has covered half of its height by then; one that sets in behind shows the contrary.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from trustrace.core.measurements import Measurement
from trustrace.studies.paper.numbers import CLAIMS, ClaimKey
from trustrace.studies.paper.reading import Run, model_of

Verdict = Literal["agrees", "disagrees", "cannot be told"]
UNTOLD: Verdict = "cannot be told"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one run says of one claim, for one protocol, model and data set.

    Attributes:
        where: The figure.
        paper: What it shows.
        ours: What ours shows.
        verdict: Whether the two agree, by the rule of intervals.
        value: The number that decides; NaN where none does.
        lower: Lower end of its 95 % interval.
        upper: Upper end.
        n: Items behind it; 0 where there is no number.
        run: The run.
        protocol: Its protocol.
        model: The model, or the checkpoint that something is done to.
        dataset: The data set, with its half.
        quantity: Which number decides.
        method: By whom.
        setting: What was done to the model: vector, site and strength.
    """

    where: str
    paper: str
    ours: str
    verdict: Verdict
    value: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    n: int = 0
    run: str
    protocol: str
    model: str
    dataset: str
    quantity: str
    method: str
    setting: str = ""

    def as_row(self) -> dict[str, Any]:
        """As a line of a table of its own."""
        names = (
            "where",
            "paper",
            "ours",
            "verdict",
            "lower",
            "upper",
            "n",
            "run",
            "protocol",
            "model",
            "dataset",
            "setting",
        )
        return {name: getattr(self, name) for name in names} | {"n": self.n or None}


def finding(
    claim: ClaimKey,
    run: Run,
    of: Measurement,
    *,
    ours: str,
    verdict: Verdict = UNTOLD,
    number: Measurement | None = None,
    setting: str = "",
    is_of_series: bool = False,
) -> Finding:
    """What `run` says of `claim`.

    Args:
        claim: Which.
        run: The run.
        of: A row of the protocol, model and data set that it is said of.
        ours: What ours shows.
        verdict: Whether the two agree.
        number: What decides.
        setting: What was done to the model.
        is_of_series: Whether it is said of all checkpoints of the model, not of the row's own.
    """
    return Finding(
        where=CLAIMS[claim].where,
        paper=CLAIMS[claim].says,
        ours=ours,
        verdict=verdict,
        value=number.value if number else math.nan,
        lower=number.lower if number else math.nan,
        upper=number.upper if number else math.nan,
        n=number.n if number else 0,
        run=run.name,
        protocol=of.protocol,
        model=model_of(of) if is_of_series else of.checkpoint,
        dataset=of.dataset,
        quantity=(number or of).quantity,
        method=(number or of).method,
        setting=setting,
    )


def above(lower: float, upper: float, *, bound: float = 0.0) -> Verdict:
    """Whether what lies between `lower` and `upper` is above `bound`."""
    if lower > bound:
        return "agrees"
    return "disagrees" if upper < bound else UNTOLD


def within(lower: float, upper: float, *, least: float, most: float) -> Verdict:
    """Whether what lies between `lower` and `upper` is between `least` and `most`."""
    if least <= lower and upper <= most:
        return "agrees"
    return "disagrees" if upper < least or lower > most else UNTOLD


def by_count(shown: int, contrary: int, *, of: int) -> Verdict:
    """Whether `of` places show something of which `shown` do, `contrary` show the contrary, and the others neither."""
    if not contrary and 2 * shown >= of > 0:
        return "agrees"
    return "disagrees" if not shown and 2 * contrary >= of > 0 else UNTOLD


def number_text(row: Measurement) -> str:
    """``0.123 [0.100, 0.150]``; without an interval where there is none."""
    if math.isnan(row.value):
        return f"undefined ({row.note.removeprefix('undefined: ')})" if row.note else "undefined"
    ends = f" [{row.lower:.3f}, {row.upper:.3f}]" if math.isfinite(row.lower) and math.isfinite(row.upper) else ""
    return f"{row.value:.3f}{ends}"
