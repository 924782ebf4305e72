"""What datasets there are, and what is in them, as rows for a table."""

from collections import Counter
from typing import Any

from trustrace.core.statements import Statements
from trustrace.datasets import catalog

SHOWN_ROWS = 6

_FORMS = {
    "published": "the paper's own file, row for row",
    "defined": "built from the original files, with the label that the paper defines",
    "world": "the controlled world: generated, its truth known exactly",
}


def list_catalogue() -> list[dict[str, Any]]:
    """The shipped datasets, a row each."""
    return [
        {"name": name, "source": _FORMS[name.partition("/")[2]], "parameters": _parameters(name)}
        for name in catalog.names()
    ]


def describe_statements(statements: Statements) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What `statements` are, and a few of their rows."""
    labels, splits = Counter(statements.labels), Counter(statements.splits)
    facts = {
        "dimension": statements.dimension,
        "label 1": f"{statements.meaning.one} ({labels[1]} rows)",
        "label 0": f"{statements.meaning.zero} ({labels[0]} rows)",
        "desired label": statements.meaning.desired,
        "rows": len(statements),
        "groups": len(set(statements.groups)),
        "split": ", ".join(f"{name} {count}" for name, count in sorted(splits.items())),
        "scored": "on the test rows" if statements.scheme == "held_out" else "out of fold, on every row",
        "source": statements.source.title,
        "url": statements.source.url,
        "commit": statements.source.commit,
        "licence": statements.source.licence,
        "note": statements.source.note,
        "fingerprint": statements.fingerprint,
    }
    columns = zip(statements.labels, statements.groups, statements.splits, statements.texts, strict=True)
    rows = [
        {"label": label, "group": group, "split": split, "statement": text} for label, group, split, text in columns
    ]
    return [{"what": what, "value": str(value)} for what, value in facts.items()], rows[:SHOWN_ROWS]


def _parameters(name: str) -> str:
    fields = catalog.parameters_of(name).model_fields
    return ", ".join(f"{key}={field.default}" for key, field in fields.items())
