"""Everything the page of a steering run says in words and tables."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trustrace.report.axis import label
from trustrace.report.contents import counted, footer, provenance
from trustrace.report.figures import FigureFile
from trustrace.report.glossary import Term
from trustrace.report.run_folder import RunFolder
from trustrace.report.steering_figures import SteeringFigures
from trustrace.report.steering_findings import Finding
from trustrace.report.steering_folder import SteeringFolder
from trustrace.report.steering_glossary import definitions
from trustrace.report.steering_runs import P_VALUE, SteeringRun
from trustrace.report.steering_samples import ItemText, item_texts
from trustrace.report.steering_sentences import claim, details, strength, verdict
from trustrace.report.steering_tables import (
    SteeringTable,
    everything_table,
    methods_table,
    sources_table,
    trade_offs,
)


@dataclass(frozen=True, kw_only=True)
class FindingText:
    """One target and one aim: in words, and everything that stands under its figures."""

    title: str
    target: str
    verdict: str
    is_good: bool
    claim: str
    details: tuple[str, ...]
    methods: SteeringTable
    everything: SteeringTable
    items: tuple[ItemText, ...]
    files: tuple[FigureFile, ...]


@dataclass(frozen=True, kw_only=True)
class TradeText:
    """What vectors do beside what they aim at, in one target."""

    table: SteeringTable
    file: FigureFile | None = None


@dataclass(frozen=True, kw_only=True)
class SteeringPage:
    """Everything the page says; the template arranges it and changes nothing."""

    title: str
    what_was_run: str
    basis: tuple[str, ...]
    findings: tuple[FindingText, ...]
    trade_offs: tuple[TradeText, ...]
    sources: SteeringTable | None
    notes: tuple[tuple[str, int], ...]
    definitions: tuple[tuple[str, tuple[Term, ...]], ...]
    provenance: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    failures: tuple[dict[str, object], ...]
    footer: str


def steering_contents(
    run: RunFolder, steered: SteeringRun, found: Sequence[Finding], beside: SteeringFolder, drawn: SteeringFigures
) -> SteeringPage:
    """What the page of `run` says; `drawn` are the figures beside it."""
    files = drawn.of_findings or ((),) * len(found)
    return SteeringPage(
        title=run.title,
        what_was_run=_what_was_run(run, steered),
        basis=tuple(_basis(steered, found)),
        findings=tuple(_finding_text(steered, finding, beside, own) for finding, own in zip(found, files, strict=True)),
        trade_offs=tuple(_trade_offs(steered, found, drawn)),
        sources=sources_table(steered, found) if any(finding.vectors for finding in found) else None,
        notes=_notes(steered),
        definitions=definitions({row.quantity for row in steered.rows}),
        provenance=tuple(provenance(run)),
        failures=run.failures,
        footer=footer(run),
    )


def _what_was_run(run: RunFolder, steered: SteeringRun) -> str:
    if not steered.rows:
        return "No measurement yet."
    sources = counted(len(steered.sources), "source checkpoint")
    if steered.sources:
        ends = dict.fromkeys(label(source) for source in (steered.sources[0], steered.sources[-1]))
        sources += f" ({' to '.join(ends)})"
    asked = run.study
    said = [
        f"{name} {_asked(value)}"
        for name, value in (
            (name, asked.get(name)) for name in ("sites", "alphas", "unit", "positions", "protocol", "seed")
        )
        if value is not None
    ]
    return (
        f"Steered: {', '.join(steered.targets) or 'nothing yet'}. Vectors from {sources}, for {counted(len(steered.aims), 'contrast')}. "
        f"{'; '.join(said).capitalize()}. {run.table.num_rows:,} measurements."
    )


def _asked(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return ", ".join(strength(one) if isinstance(one, float) else str(one) for one in values)


def _basis(steered: SteeringRun, found: Sequence[Finding]) -> Iterator[str]:
    """How to read the findings, and how many comparisons stand behind them."""
    if not found:
        return
    yield (
        "Site and strength of every vector were chosen on the development half, within a bound on perplexity; every number below is of the "
        "test half unless it says otherwise. The vector told of is the one that is best on the development half. Brackets are 95 % "
        "intervals over groups of items; they do not cover another run of training."
    )
    compared = sum(sum(choice.effect.p is not None for choice in finding.vectors) for finding in found)
    every = sum(row.quantity.endswith(P_VALUE) and row.dataset.endswith("/test") for row in steered.rows)
    yield (
        f"{counted(compared, 'vector')} {'was' if compared == 1 else 'were'} compared with the unsteered model on what "
        f"{'it is' if compared == 1 else 'they are'} to improve, and {counted(every, 'p-value')} of the test half "
        f"{'stands' if every == 1 else 'stand'} in the table. They are shown as they are, without correction for their number: of many, "
        "some are small by chance, and a p-value that counts must be small against their number too."
    )


def _finding_text(
    steered: SteeringRun, finding: Finding, beside: SteeringFolder, files: Sequence[FigureFile]
) -> FindingText:
    return FindingText(
        title=finding.aim.title,
        target=finding.target if len(steered.targets) > 1 else "",
        verdict=verdict(finding),
        is_good=finding.verdict == "better",
        claim=claim(finding),
        details=tuple(details(steered, finding)),
        methods=methods_table(steered, finding),
        everything=everything_table(steered, finding),
        items=item_texts(steered, finding, beside),
        files=tuple(files),
    )


def _trade_offs(steered: SteeringRun, found: Sequence[Finding], drawn: SteeringFigures) -> Iterator[TradeText]:
    for target in steered.targets:
        own = [finding for finding in found if finding.target == target]
        if any(finding.best for finding in own):
            yield TradeText(table=trade_offs(steered, own), file=(drawn.of_targets or {}).get(target))


def _notes(steered: SteeringRun) -> tuple[tuple[str, int], ...]:
    """Every note of the table and how many numbers carry it, and what had to be left out."""
    tally = Counter(row.note for row in steered.rows if row.note)
    if steered.n_doubled:
        tally["names a place that another row of the table holds; that one is shown"] = steered.n_doubled
    return tuple(sorted(tally.items(), key=lambda item: (-item[1], item[0])))
