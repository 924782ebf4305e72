"""What an audit says: findings in plain words, each with its count and a few rows to look at."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from trustrace.core.errors import DataError
from trustrace.core.measurements import Measurement
from trustrace.core.statements import Statements

Severity = Literal["info", "warning", "error"]
"""``info``: good to know, or nothing found. ``warning``: weakens what is measured. ``error``: a plain reading of the numbers is wrong."""

MAX_EXAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row to look at; `row` counts from 0 in the order of the statements."""

    row: int
    label: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        check: The name of the check, such as ``exact_duplicates``.
        severity: How much it matters.
        count: How many were found; the sentence says of what.
        of: How many could have been.
        sentence: The finding in plain words.
        examples: The first rows that show it, at most five.
    """

    check: str
    severity: Severity
    count: int
    of: int
    sentence: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """All findings about one set of statements, clean checks among them, in a fixed order."""

    dataset: str
    fingerprint: str
    n: int
    n_groups: int
    findings: tuple[Finding, ...]

    def __getitem__(self, check: str) -> Finding:
        """The finding of the check called `check`.

        Raises:
            DataError: no check has that name.
        """
        found = {finding.check: finding for finding in self.findings}
        if check not in found:
            raise DataError(f"the audit of {self.dataset} has no check {check!r}; it has {', '.join(found)}")
        return found[check]

    def with_floors(self, measurements: Iterable[Measurement]) -> "AuditReport":
        """The same report and what the text alone gives away, read from the floors among `measurements`.

        Floor accuracies that were taken on this dataset without a model become one finding each, set against the majority class under
        the same protocol; all other rows are left out.
        """
        floors = [row for row in measurements if _is_text_floor(row) and row.dataset == self.dataset]
        majority = {row.protocol: row.value for row in floors if row.method == "majority"}
        learned = [row for row in floors if row.method != "majority"]
        added = tuple(_floor_finding(row, majority=majority.get(row.protocol, 0.5)) for row in learned)
        return replace(self, findings=self.findings + added)

    def to_json(self) -> dict[str, Any]:
        """The report as plain dicts, lists, numbers and strings."""
        return {**asdict(self), "findings": [_plain(finding) for finding in self.findings]}

    def as_rows(self) -> list[dict[str, Any]]:
        """One flat dict for each finding, for a table; examples stay behind."""
        columns = ("check", "severity", "count", "of", "sentence")
        return [
            {"dataset": self.dataset, **{name: getattr(finding, name) for name in columns}} for finding in self.findings
        ]


def examples_of(statements: Statements, rows: Sequence[int]) -> tuple[Example, ...]:
    """The first few of the given rows."""
    return tuple(
        Example(row=int(row), label=statements.labels[row], text=statements.texts[row]) for row in rows[:MAX_EXAMPLES]
    )


def _is_text_floor(row: Measurement) -> bool:
    return row.role == "floor" and row.quantity == "accuracy" and not row.site and not row.checkpoint


def _floor_finding(row: Measurement, *, majority: float) -> Finding:
    known = {
        "length_and_case": "length and case counts",
        "word_ngrams": "word n-grams",
        "char_ngrams": "character n-grams",
    }
    what = known.get(row.method, row.method.replace("_", " "))
    return Finding(
        check=f"floor_{row.method}_{row.protocol}",
        severity=_floor_severity(row, majority=majority),
        count=round(row.value * row.n),
        of=row.n,
        sentence=f"Without any model, {what} alone reach {row.value:.3f} accuracy [{row.lower:.3f}, {row.upper:.3f}] under the protocol "
        f"{row.protocol}, where the majority class reaches {majority:.3f}.{_reading(row, majority=majority)}",
    )


def _floor_severity(row: Measurement, *, majority: float) -> Severity:
    if _is_inverted(row) or row.value >= NEARLY_SOLVED:
        return "error"
    return "warning" if row.lower > majority else "info"


def _is_inverted(row: Measurement) -> bool:
    """Well below a coin toss: the training rows teach the opposite of what is scored."""
    return row.upper < 0.5 - NOTABLE_LIFT


def _reading(row: Measurement, *, majority: float) -> str:
    if _is_inverted(row):
        return " Far below a coin toss: training rows carry the same words as test rows under the opposite label, so the split misleads."
    if row.value >= NEARLY_SOLVED:
        return " The labels can be read off the surface of the text; a probe's accuracy says nothing about the concept."
    if row.lower > majority:
        return " Only what a probe reaches beyond this can be credited to a model."
    return ""


NEARLY_SOLVED = 0.9
"""From this accuracy on, a rule that ignores meaning is said to solve a set."""

NOTABLE_LIFT = 0.05
"""A rule that ignores meaning is worth a warning when it beats the majority class by this much."""


def _plain(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "examples": [asdict(example) for example in finding.examples]}
