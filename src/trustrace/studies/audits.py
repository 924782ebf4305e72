"""Audits: what the rows of a dataset say about it, and how far text alone gets on its labels."""

import json
from pathlib import Path

from trustrace.core.statements import Statements
from trustrace.datasets.audit import audit
from trustrace.datasets.findings import AuditReport
from trustrace.measures.config import ProbingConfig
from trustrace.measures.floors import text_floors
from trustrace.runs.files import replacing


def audit_with_floors(statements: Statements, *, seed: int) -> AuditReport:
    """The audit of `statements`, with what classifiers that never see a model reach by grouped folds."""
    floors = text_floors(statements, config=ProbingConfig(), protocol="rigorous", seed=seed)
    return audit(statements).with_floors(floors)


def write_audit(report: AuditReport, path: Path) -> None:
    """Write the findings as JSON, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
