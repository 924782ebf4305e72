"""Everything the page of a fine-tuning run says."""

import base64
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trustrace.core.measurements import Measurement
from trustrace.report.canvas import drawing_style
from trustrace.report.contents import counted, footer, provenance
from trustrace.report.figures import FigureFile, save_figure
from trustrace.report.glossary import Term
from trustrace.report.run_folder import RunFolder
from trustrace.report.steering_glossary import TERMS
from trustrace.report.steering_runs import Ability
from trustrace.report.steering_sentences import interval, shown, signed
from trustrace.report.steering_tables import SteeringCell, SteeringRow, SteeringTable
from trustrace.report.tables import ABSENT
from trustrace.report.tuning_drawing import losses_figure
from trustrace.report.tuning_runs import Became, Curve, Learning, Outcome, TuningRun

_CAPTION = (
    "Held-out loss by update, in nats a token: one panel a model, one line a tuning, a ring at the update whose weights were kept. Solid: "
    "what decides that, which is answers wherever anything was asked. Dashed: documents that are rehearsed beside them, which do not."
)
_READING = (
    Term(
        name="held_out_loss",
        title="Held-out loss",
        sentence="The mean negative log-likelihood of answer tokens of groups that were never trained on; lower is better.",
        better="lower",
    ),
    Term(
        name="change",
        title="Change",
        sentence="The tuned model's number less the untuned one's on the same items, with an interval from groups resampled for both at "
        "once, and a p-value from exchanging the two within groups.",
    ),
    Term(
        name="compute",
        title="Operations",
        sentence="2 a weight and token forward, as much for gradients of what is read, and as much again for weights that are trained; "
        "attention and padding are left out.",
    ),
)
_LEARNED = (
    *("Tuning", "Kept update", "Held-out loss", "Of documents", "Exchanges", "Trained weights"),
    "Operations",
)


@dataclass(frozen=True, kw_only=True)
class TuningPage:
    """Everything the page says; the template arranges it and changes nothing."""

    title: str
    what_was_run: str
    basis: str
    warnings: tuple[str, ...]
    figure: FigureFile | None
    picture: str
    learned: SteeringTable
    left_out: tuple[str, ...]
    tables: tuple[SteeringTable, ...]
    definitions: tuple[tuple[str, tuple[Term, ...]], ...]
    notes: tuple[tuple[str, int], ...]
    provenance: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    failures: tuple[dict[str, object], ...]
    footer: str


def tuning_contents(run: RunFolder, tuned: TuningRun, figures: Path) -> TuningPage:
    """What the page of `run` says; its figure is drawn into the folder `figures`, and shown in the page."""
    drawn = _figure(tuned, figures)
    present = {row.quantity for row in tuned.rows}
    return TuningPage(
        title=run.title,
        what_was_run=_what_was_run(run, tuned),
        basis=_basis(tuned),
        warnings=tuple(
            f"{' and '.join(keys)} have equal weights: they are one model under several names."
            for keys in tuned.equal_weights
        ),
        figure=drawn,
        picture=base64.b64encode((figures / f"{drawn.stem}.png").read_bytes()).decode() if drawn else "",
        learned=_learned(tuned),
        left_out=tuple(f"{one.base}, {one.label}: {one.left_out}." for one in tuned.learnings if one.left_out),
        tables=tuple(_table(ability, outcomes) for ability, outcomes in tuned.outcomes.items()),
        definitions=(
            ("Quantities", tuple(term for name, term in TERMS.items() if name in present)),
            ("How to read them", _READING),
        ),
        notes=tuple(Counter(row.note for row in tuned.rows if row.note).most_common()),
        provenance=tuple(provenance(run)),
        failures=run.failures,
        footer=footer(run),
    )


def _figure(tuned: TuningRun, folder: Path) -> FigureFile | None:
    folder.mkdir(parents=True, exist_ok=True)
    with drawing_style():
        figure = losses_figure(tuned)
        return (
            save_figure(figure, folder, stem="held_out_loss", title="held-out loss", caption=_CAPTION)
            if figure
            else None
        )


def _what_was_run(run: RunFolder, tuned: TuningRun) -> str:
    labels = dict.fromkeys(one.label for one in tuned.learnings)
    return f"{counted(len(tuned.bases), 'model')}, tuned as {', '.join(labels) or 'nothing yet'}. {run.table.num_rows:,} measurements."


def _basis(tuned: TuningRun) -> str:
    compared = sum(
        one.change_p is not None
        for outcomes in tuned.outcomes.values()
        for outcome in outcomes
        for one in outcome.became
    )
    return (
        "Every number is of the test half, with a 95 % interval over groups of items; a change is paired with the untuned model's answers "
        f"to the same items. {counted(compared, 'comparison')} with an untuned model stand below, without correction for their number. "
        "Intervals cover the items alone: not another seed, and not another run of training."
    )


def _learned(tuned: TuningRun) -> SteeringTable:
    return SteeringTable(
        caption="What each tuning learned, and what it took",
        headers=("Model", *_LEARNED),
        rows=tuple(SteeringRow(name=one.base, cells=tuple(_cells(one))) for one in tuned.learnings),
    )


def _cells(one: Learning) -> Iterator[SteeringCell]:
    spent, sides = one.spent, one.sides
    yield SteeringCell(text=one.label)
    yield SteeringCell(text=f"{one.kept:,}", beside=f"of {spent['updates']:,}")
    yield _fall(one.losses, one.kept)
    yield _fall(one.documents, one.kept)
    documents = f" + {sides['rehearsed']:,} documents" if sides.get("rehearsed") else ""
    beside = f"held out: {sides['deciding']:,}{documents}" if sides else ""
    yield SteeringCell(text=f"{sides['learned']:,}" if sides else ABSENT, beside=beside)
    yield SteeringCell(text=f"{spent['trained']:,}", beside=f"of {spent['parameters']:,}")
    yield SteeringCell(text=f"{spent['flops']:.2g}", beside=f"{spent['training_tokens']:,} tokens")


def _fall(curve: Curve, kept: int) -> SteeringCell:
    """The loss at the kept update, and what it was before tuning."""
    if not curve:
        return SteeringCell(text=ABSENT)
    losses = dict(curve)
    return SteeringCell(text=shown(losses[kept]), beside=f"from {shown(losses[0])}")


def _table(ability: Ability, outcomes: tuple[Outcome, ...]) -> SteeringTable:
    return SteeringTable(
        caption=f"{ability.title} ({ability.method.replace('_', ' ')}), test half, with 95 % intervals",
        headers=("Model", "Tuned", "Value", "Change", "p", "n"),
        rows=tuple(row for outcome in outcomes if outcome.plain for row in _rows(ability, outcome)),
    )


def _rows(ability: Ability, outcome: Outcome) -> Iterator[SteeringRow]:
    absent = SteeringCell(text=ABSENT)
    untuned = (SteeringCell(text="as it is"), _value(outcome.plain), absent, absent, _n(outcome.plain))
    yield SteeringRow(name=outcome.base, cells=untuned)
    for one in outcome.became:
        cells = (
            SteeringCell(text=one.label),
            _value(one.value),
            _change(ability, one),
            _p(one.change_p),
            _n(one.value),
        )
        yield SteeringRow(name=outcome.base, cells=cells)


def _value(row: Measurement | None) -> SteeringCell:
    return SteeringCell(text=shown(row.value), beside=interval(row)) if row else SteeringCell(text=ABSENT)


def _change(ability: Ability, one: Became) -> SteeringCell:
    """A way is shown where the interval holds no zero and it is known which way is better."""
    row = one.change
    if row is None:
        return SteeringCell(text=ABSENT)
    ends = [ability.goodness(end) for end in (row.lower, row.upper)]
    is_told = ability.better != "neither" and all(map(math.isfinite, ends))
    way = 0 if not is_told else 1 if min(ends) > 0 else -1 if max(ends) < 0 else 0
    return SteeringCell(text=signed(row).partition(" ")[0], beside=interval(row), way=way)


def _p(row: Measurement | None) -> SteeringCell:
    return SteeringCell(text=f"{row.value:.2g}" if row is not None and math.isfinite(row.value) else ABSENT)


def _n(row: Measurement | None) -> SteeringCell:
    return SteeringCell(text=f"{row.n:,}", beside=f"{row.n_groups:,} groups") if row else SteeringCell(text=ABSENT)
