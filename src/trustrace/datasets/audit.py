"""An audit reads a set of statements before any model does, and says what would spoil a probe on it.

It finds repeated and contradictory texts, encoding debris, lop-sided labels, rows that one split shares with another, twins that do not
differ, labels that length or letter case give away, and published labels that are not what the paper defines. What word and character
n-grams give away takes a fitted model; :mod:`trustrace.measures.floors` measures it and :meth:`AuditReport.with_floors` adds it.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np

from trustrace.core.statements import Statements
from trustrace.datasets.debris import DEBRIS
from trustrace.datasets.findings import NEARLY_SOLVED, NOTABLE_LIFT, AuditReport, Finding, Severity, examples_of
from trustrace.datasets.grouping import normalise
from trustrace.datasets.sources import PAPER_COMMIT
from trustrace.datasets.surface import SURFACE_COUNTS, best_threshold, rank_auroc, surface_counts

ORDERED_TRAIN_SHARE = 0.8
"""The published scripts train on the first 80 % of the rows in file order and score the rest."""

LABEL_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "toxicity/published": "The sign is reversed: the paper defines 0 = toxic and 1 = benign, the published file holds 1 where the "
        "toxicity score is above 2 and 0 elsewhere.",
        "fairness/published": "No stereotype is in it: the paper defines 1 = stereotypical and 0 = not, the published file holds 1 = the "
        "anti-stereotype and 0 = a sentence unrelated to its context, of the race domain alone. It measures coherence.",
    }
)
"""Where a published file holds another label than the paper defines. What a set holds is stated by its own `meaning`; that it differs from
the paper is a judgement about it, and stands here. The tests prove each against the original files."""


def audit(statements: Statements) -> AuditReport:
    """Run every check on `statements`; a clean check reports a count of 0."""
    return AuditReport(
        dataset=statements.name,
        fingerprint=statements.fingerprint,
        n=len(statements),
        n_groups=len(set(statements.groups)),
        findings=tuple(check(statements) for check in CHECKS),
    )


def _fault(statements: Statements) -> str | None:
    """Known by what the labels hold and where the rows come from, since a study may call a set by another name."""
    published = statements.source.commit == PAPER_COMMIT
    return LABEL_FAULTS.get(f"{statements.dimension}/published") if published else None


def _label_meaning(statements: Statements) -> Finding:
    meaning, fault = statements.meaning, _fault(statements)
    holds = f"1 means {meaning.one}; 0 means {meaning.zero}; {meaning.desired} is desired."
    return Finding(
        check="label_meaning",
        severity="error" if fault else "info",
        count=len(statements) if fault else 0,
        of=len(statements),
        sentence=f"{holds} {fault}" if fault else holds,
        examples=examples_of(statements, range(len(statements))) if fault else (),
    )


def _label_balance(statements: Statements) -> Finding:
    n, ones = len(statements), sum(statements.labels)
    majority = max(ones, n - ones) / n
    return Finding(
        check="label_balance",
        severity="error" if majority == 1 else "warning" if majority > 0.8 else "info",
        count=ones,
        of=n,
        sentence=f"{ones} of {n} rows are labelled 1; always answering the larger class scores {majority:.1%}.",
    )


def _exact_duplicates(statements: Statements) -> Finding:
    return _duplicates(statements, statements.texts, check="exact_duplicates", how="exactly")


def _normalised_duplicates(statements: Statements) -> Finding:
    how = (
        "up to white space and Unicode form"
        if _are_twins(statements)
        else "up to letter case, white space and Unicode form"
    )
    return _duplicates(statements, _keys(statements), check="normalised_duplicates", how=how)


def _duplicates(statements: Statements, keys: Sequence[str], *, check: str, how: str) -> Finding:
    places = _places(keys)
    repeats = sorted(row for rows in places.values() for row in rows[1:])
    repeated = sum(len(rows) > 1 for rows in places.values())
    return Finding(
        check=check,
        severity="warning" if repeats else "info",
        count=len(repeats),
        of=len(statements),
        sentence=f"{len(repeats)} of {len(statements)} rows repeat an earlier row {how}; {repeated} texts occur more than once.",
        examples=examples_of(statements, repeats),
    )


def _contradictory_duplicates(statements: Statements) -> Finding:
    places = _places(_keys(statements))
    both = [rows for rows in places.values() if len({statements.labels[row] for row in rows}) > 1]
    rows = [row for group in both for row in group]
    return Finding(
        check="contradictory_duplicates",
        severity="error" if both else "info",
        count=len(both),
        of=len(places),
        sentence=f"{len(both)} of {len(places)} different texts occur with both labels, in {len(rows)} rows; "
        "whatever is answered, some of them are scored wrong.",
        examples=examples_of(statements, rows),
    )


def _identical_twins(statements: Statements) -> Finding:
    """Twins differ in letter case alone and carry opposite labels; a twin that was never touched has a label without a cause."""
    if not _are_twins(statements):
        return Finding(
            check="identical_twins", severity="info", count=0, of=0, sentence="The rows are not twins by letter case."
        )
    pairs = [rows for rows in _places([normalise(text) for text in statements.texts]).values() if len(rows) > 1]
    identical = [rows for rows in pairs if len({statements.texts[row] for row in rows}) < len(rows)]
    touched_in_name_only = [row for rows in identical for row in rows if statements.labels[row] == 1]
    return Finding(
        check="identical_twins",
        severity="error" if identical else "info",
        count=len(identical),
        of=len(pairs),
        sentence=f"{len(pairs)} texts occur twice, apart in letter case and labelled apart; {len(identical)} of the perturbed rows equal "
        "their twin to the letter.",
        examples=examples_of(statements, touched_in_name_only),
    )


def _debris(statements: Statements, *, check: str) -> Finding:
    does, is_found = DEBRIS[check]
    rows = [row for row, text in enumerate(statements.texts) if is_found(text)]
    return Finding(
        check=check,
        severity="warning" if rows else "info",
        count=len(rows),
        of=len(statements),
        sentence=f"{len(rows)} of {len(statements)} rows {does}.",
        examples=examples_of(statements, rows),
    )


def _group_leakage(statements: Statements) -> Finding:
    rows = _straddling(statements.groups, statements.splits)
    straddling = len({statements.groups[row] for row in rows})
    n_groups = len(set(statements.groups))
    return Finding(
        check="group_leakage",
        severity="error" if rows else "info",
        count=straddling,
        of=n_groups,
        sentence=f"{straddling} of {n_groups} groups have rows in more than one of train, validation and test.",
        examples=examples_of(statements, rows),
    )


def _text_leakage(statements: Statements) -> Finding:
    """Equal texts that the column of groups does not tie together."""
    keys = _keys(statements)
    rows = _straddling(keys, statements.splits)
    straddling = len({keys[row] for row in rows})
    return Finding(
        check="text_leakage",
        severity="error" if rows else "info",
        count=straddling,
        of=len(set(keys)),
        sentence=f"{straddling} of {len(set(keys))} different texts stand in more than one of train, validation and test.",
        examples=examples_of(statements, rows),
    )


def _straddling(keys: Sequence[str], sides: Sequence[object]) -> list[int]:
    """The rows whose key occurs on more than one side."""
    places = _places(keys)
    return sorted(row for rows in places.values() if len({sides[row] for row in rows}) > 1 for row in rows)


def _ordered_split_leakage(statements: Statements) -> Finding:
    """Test rows of the scripts' split that have a row of their own group in training, and what copying that row's label would score."""
    n_train = int(len(statements) * ORDERED_TRAIN_SHARE)
    seen = defaultdict[str, list[int]](list)
    for group, label in zip(statements.groups[:n_train], statements.labels[:n_train], strict=True):
        seen[group].append(label)
    tested = range(n_train, len(statements))
    leaked = [row for row in tested if statements.groups[row] in seen]
    copied = sum(
        seen[statements.groups[row]].count(statements.labels[row]) / len(seen[statements.groups[row]]) for row in leaked
    )
    share = len(leaked) / max(len(tested), 1)
    copying = f"; copying its label would be right for {copied / len(leaked):.1%} of them" if leaked else ""
    return Finding(
        check="ordered_split_leakage",
        severity="error" if share > 0.1 else "warning" if leaked else "info",
        count=len(leaked),
        of=len(tested),
        sentence=f"Under the published scripts' split (first 80% of the rows train), {len(leaked)} of {len(tested)} test rows have "
        f"a row of their own group among the training rows{copying}.",
        examples=examples_of(statements, leaked),
    )


def _separability(statements: Statements, *, check: str, counts: tuple[str, ...]) -> Finding:
    """How far the best of `counts` tells the labels apart by one threshold, chosen on these same rows."""
    labels = np.asarray(statements.labels)
    surface = surface_counts(statements.texts)
    columns = {name: surface[:, SURFACE_COUNTS.index(name)] for name in counts}
    rules = {name: best_threshold(column, labels) for name, column in columns.items()}
    best = max(rules, key=lambda name: rules[name].correct)
    rule, accuracy, majority = rules[best], rules[best].correct / len(labels), max(labels.mean(), 1 - labels.mean())
    wrong = np.flatnonzero(np.where(columns[best] >= rule.at_least, rule.above, 1 - rule.above) != labels)
    beside = f"AUROC of {best}: {rank_auroc(columns[best], labels):.3f}; majority: {majority:.1%}"
    return Finding(
        check=check,
        severity=_separability_severity(accuracy, majority=float(majority)),
        count=rule.correct,
        of=len(labels),
        sentence=f"Labelling {rule.above} every statement whose count of {best} is {rule.at_least:.0f} or more, and {1 - rule.above} "
        f"every other, is right for {accuracy:.1%} of the rows ({beside}).",
        examples=examples_of(statements, wrong.tolist()) if accuracy >= NEARLY_SOLVED else (),
    )


def _separability_severity(accuracy: float, *, majority: float) -> Severity:
    lift = accuracy - majority
    if accuracy >= NEARLY_SOLVED and lift >= NOTABLE_LIFT:
        return "error"
    return "warning" if lift >= NOTABLE_LIFT else "info"


def _keys(statements: Statements) -> list[str]:
    """What makes two texts the same text. Among twins letter case is what the label is about, so there it counts."""
    if _are_twins(statements):
        return [_spaced(text) for text in statements.texts]
    return [normalise(text) for text in statements.texts]


def _are_twins(statements: Statements) -> bool:
    """Whether at least half the rows have a counterpart that is labelled otherwise and differs in letter case at most."""
    places = _places([normalise(text) for text in statements.texts]).values()
    paired = sum(len(rows) for rows in places if len({statements.labels[row] for row in rows}) > 1)
    return 2 * paired >= len(statements)


def _spaced(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _places(keys: Sequence[str]) -> dict[str, list[int]]:
    """The rows at which each key stands, in order."""
    places = defaultdict[str, list[int]](list)
    for row, key in enumerate(keys):
        places[key].append(row)
    return dict(places)


CHECKS: tuple[Callable[[Statements], Finding], ...] = (
    _label_meaning,
    _label_balance,
    _exact_duplicates,
    _normalised_duplicates,
    _contradictory_duplicates,
    _identical_twins,
    *(partial(_debris, check=check) for check in DEBRIS),
    _group_leakage,
    _text_leakage,
    _ordered_split_leakage,
    partial(_separability, check="length_separability", counts=("characters", "words")),
    partial(_separability, check="case_separability", counts=("capitals",)),
)
"""Every check, in the order in which a report shows them."""
