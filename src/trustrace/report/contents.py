"""Everything the page says in words: the run, its findings, its audits, its definitions and where it all comes from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from trustrace.report import glossary
from trustrace.report.axis import label
from trustrace.report.figures import FigureFile
from trustrace.report.findings import CHOSEN, DEFAULT_METHOD, Finding, finding
from trustrace.report.grids import Trace, View
from trustrace.report.information_contents import InformationText, information_text
from trustrace.report.information_contents import definitions as information_definitions
from trustrace.report.phase_sentences import course
from trustrace.report.run_folder import RunFolder
from trustrace.report.sentences import claim, details
from trustrace.report.sparks import Spark, spark, spark_limits
from trustrace.report.tables import TextTable, best_sites, floors, notes, unmeasured


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One dataset in words."""

    title: str
    claim: str
    details: tuple[str, ...]
    spark: Spark | None


@dataclass(frozen=True, kw_only=True)
class Section:
    """One dataset's place among the figures."""

    name: str
    title: str
    meaning: str
    missing: tuple[str, ...]
    files: tuple[FigureFile, ...]


@dataclass(frozen=True, kw_only=True)
class AuditText:
    """One dataset's audit: what was found, and the names of the checks that found nothing."""

    title: str
    size: str
    findings: tuple[dict[str, Any], ...]
    clean: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything the page says in words; the template arranges it and changes nothing. It links to the page `dynamics`, if any."""

    title: str
    what_was_run: str
    summary_basis: str
    summaries: tuple[Summary, ...]
    sections: tuple[Section, ...]
    overviews: tuple[FigureFile, ...]
    information: InformationText | None
    tables: tuple[TextTable, ...]
    notes: tuple[tuple[str, int], ...]
    audits: tuple[AuditText, ...]
    definitions: tuple[tuple[str, tuple[glossary.Term, ...]], ...]
    provenance: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    failures: tuple[dict[str, Any], ...]
    footer: str
    dynamics: str = ""


def page_contents(run: RunFolder, trace: Trace, drawn: Sequence[FigureFile]) -> Page:
    """What the page of `run` says; `drawn` are the figures beside it."""
    found = _default_findings(trace)
    return Page(
        title=run.title,
        what_was_run=_what_was_run(run, trace),
        summary_basis=_summary_basis(found),
        summaries=tuple(_summaries(trace, found)),
        sections=tuple(_sections(run, trace, drawn)),
        overviews=tuple(file for file in drawn if not file.dataset),
        information=information_text(trace, drawn),
        tables=(best_sites(trace), floors(trace)),
        notes=notes(trace),
        audits=tuple(map(_audit_text, run.audits)),
        definitions=tuple(_definitions(trace)),
        provenance=tuple(provenance(run)),
        failures=run.failures,
        footer=footer(run),
    )


def footer(run: RunFolder) -> str:
    """What wrote the page, and from what."""
    return (
        f"Written by trustrace {version('trustrace')} from {run.table.num_rows:,} measurements. This page holds everything it shows, "
        "loads nothing and sends nothing."
    )


def _default_findings(trace: Trace) -> list[Finding]:
    """What the logistic probe says about each dataset, in the view that is shown unasked."""
    shown: dict[str, View] = {}
    for view in trace.views:
        shown.setdefault(view.dataset, view)
    found = (finding(trace, view, method=DEFAULT_METHOD) for view in shown.values())
    return [at for at in found if at is not None]


def _what_was_run(run: RunFolder, trace: Trace) -> str:
    views = (*trace.views, *trace.information_views)
    if not views:
        return f"{run.table.num_rows:,} measurements, none of them of a model."
    models = "; ".join(_series_text(trace, name) for name in trace.series)
    said = {part: sorted({str(getattr(view, part)) for view in views}) for part in ("protocol", "position", "seed")}
    return (
        f"{models}. {counted(len(trace.datasets), 'dataset')}, {' and '.join(said['protocol'])} protocol, "
        f"token position {' and '.join(said['position'])}, seed {' and '.join(said['seed'])}; {run.table.num_rows:,} measurements."
    )


def _series_text(trace: Trace, model: str) -> str:
    series = trace.series[model]
    sites = counted(len(series.sites), "site")
    if not series.checkpoints:
        return f"{model}: no trained checkpoint, {sites}"
    ends = dict.fromkeys(label(checkpoint) for checkpoint in (series.checkpoints[0], series.checkpoints[-1]))
    return f"{model}: {counted(len(series.checkpoints), 'checkpoint')} ({' to '.join(ends)}), {sites}"


def counted(count: int, noun: str) -> str:
    """``1 site``, ``1,200 sites``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _summary_basis(found: Sequence[Finding]) -> str:
    if not found:
        return ""
    view = found[0].view
    return (
        f"Accuracy of the logistic probe under the {view.protocol} protocol, {view.position} token, seed {view.seed}. A dataset counts as "
        "readable at a checkpoint when the 95 % interval of the best site lies above every floor; the best site is chosen inside the "
        "training rows of each fold. Each checkpoint is judged on its own, without correction for their number."
    )


def _summaries(trace: Trace, found: Sequence[Finding]) -> Iterator[Summary]:
    limits = spark_limits(trace, found)
    for at in found:
        yield Summary(
            title=glossary.dataset_title(at.view.dataset),
            claim=claim(at),
            details=(*details(at), *_course(trace, at)),
            spark=spark(trace, at, limits=limits),
        )


def _course(trace: Trace, at: Finding) -> Iterator[str]:
    """How accuracy went over training at the sites that folds choose, or else at the site that is best in the end."""
    told = {
        phase.site: phase
        for phase in trace.courses
        if (phase.view, phase.quantity, phase.method) == (at.view, "accuracy", at.method)
    }
    site = CHOSEN if CHOSEN in told else at.final.site if at.final else ""
    if site in told:
        where = "the sites that folds choose" if site == CHOSEN else site
        yield f"Over the whole course of training, accuracy at {where} {course(told[site])}."


def _sections(run: RunFolder, trace: Trace, drawn: Sequence[FigureFile]) -> Iterator[Section]:
    for name in dict.fromkeys(view.dataset for view in trace.views):
        yield Section(
            name=name,
            title=glossary.dataset_title(name),
            meaning=_meaning(run.label_meaning(name)),
            missing=tuple(_missing(trace, name)),
            files=tuple(file for file in drawn if file.dataset == name and file.part == "probes"),
        )


def _meaning(meaning: Mapping[str, Any]) -> str:
    if not {"one", "zero", "desired"} <= set(meaning):
        return ""
    return f"1 means {meaning['one']}; 0 means {meaning['zero']}; {meaning['desired']} is desired."


def _missing(trace: Trace, dataset: str) -> Iterator[str]:
    for view in trace.views:
        absent, places = unmeasured(trace, view, method=DEFAULT_METHOD)
        if view.dataset == dataset and absent:
            yield f"{absent:,} of {places:,} places (checkpoint and site) were not measured under the {view.protocol} protocol."


def _audit_text(audit: Mapping[str, Any]) -> AuditText:
    found = list(audit.get("findings") or ())
    clean = [
        str(at.get("check", "")).replace("_", " ")
        for at in found
        if not at.get("count") and at.get("severity") == "info"
    ]
    shown = [at for at in found if at.get("count") or at.get("severity") != "info"]
    size = f"{audit['n']:,} rows in {audit['n_groups']:,} groups." if {"n", "n_groups"} <= set(audit) else ""
    return AuditText(
        title=glossary.dataset_title(str(audit.get("dataset", "unnamed"))),
        size=size,
        findings=tuple(_finding_text(at) for at in sorted(shown, key=_urgency)),
        clean=tuple(clean),
    )


def _urgency(found: Mapping[str, Any]) -> int:
    order = ("error", "warning", "info")
    return order.index(found["severity"]) if found.get("severity") in order else len(order)


def _finding_text(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "severity": str(found.get("severity", "info")),
        "sentence": str(found.get("sentence", found.get("check", ""))),
        "examples": [_example_text(example) for example in found.get("examples") or ()],
    }


def _example_text(example: Any) -> str:
    if isinstance(example, Mapping) and {"row", "label", "text"} <= set(example):
        return f"row {example['row']}, label {example['label']}: {example['text']}"
    return str(example)


def _definitions(trace: Trace) -> Iterator[tuple[str, tuple[glossary.Term, ...]]]:
    quantities = {address.quantity for address in trace.grids} | {row.quantity for row in trace.text_floors}
    methods = {address.method for address in trace.grids}
    yield "Quantities", tuple(_described(quantities, glossary.QUANTITIES, glossary.quantity))
    yield "Probes", tuple(_described(methods, glossary.METHODS, glossary.method))
    yield from information_definitions(trace)
    yield (
        "Floors",
        tuple(
            _described(
                {row.method for row in trace.text_floors} | set(glossary.FLOORS), glossary.FLOORS, glossary.floor
            )
        ),
    )
    protocols = {view.protocol for view in (*trace.views, *trace.information_views)}
    yield "Protocols", tuple(term for term in glossary.PROTOCOLS.values() if term.name in protocols)


def _described(names: set[str], known: Mapping[str, glossary.Term], term: Any) -> list[glossary.Term]:
    return [known[name] for name in known if name in names] + [term(name) for name in sorted(names - set(known))]


def provenance(run: RunFolder) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """The study and the manifest as names and values."""
    yield "The study, as asked for", tuple(_flat(run.study))
    manifest = {name: value for name, value in run.manifest.items() if name not in {"failures", "units"}}
    if "units" in run.manifest:
        finished = list(dict(run.manifest["units"]).values())
        manifest["units"] = f"{sum(map(bool, finished)):,} of {len(finished):,} finished"
    yield "The manifest: what it ran on", tuple(_flat(manifest))


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as dotted names and text."""
    if isinstance(content, Mapping) and content:
        for name, value in content.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(content, list) and any(isinstance(value, Mapping | list) for value in content):
        for place, value in enumerate(content):
            yield from _flat(value, f"{prefix}[{place}]")
    else:
        yield prefix, content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
