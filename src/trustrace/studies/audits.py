"""Audits: what the rows of a dataset say about it, and how far text alone gets on its labels."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

from trustrace.core.errors import MeasurementError
from trustrace.core.measurements import Protocol
from trustrace.core.statements import Statements
from trustrace.datasets.audit import audit
from trustrace.datasets.findings import AuditReport, Finding
from trustrace.measures.config import ProbingConfig
from trustrace.measures.floors import text_floors
from trustrace.runs.files import replacing


def audit_with_floors(statements: Statements, *, seed: int) -> AuditReport:
    """The audit of `statements`, with what classifiers that never see a model reach by grouped folds and in the order of the file.

    Rows that allow no fair folds, such as groups on both sides of a given split, still have an audit, which says why there are no floors.
    """
    report = audit(statements)
    for protocol in get_args(Protocol):
        try:
            report = report.with_floors(text_floors(statements, config=ProbingConfig(), protocol=protocol, seed=seed))
        except MeasurementError as error:
            report = replace(report, findings=(*report.findings, _without_floors(protocol, error, n=len(statements))))
    return report


def _without_floors(protocol: Protocol, error: MeasurementError, *, n: int) -> Finding:
    sentence = f"What the text alone gives away cannot be measured under the protocol {protocol}: {error}"
    return Finding(check=f"floors_{protocol}", severity="error", count=n, of=n, sentence=sentence)


def write_audit(report: AuditReport, path: Path) -> None:
    """Write the findings as JSON, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
