"""What there is: datasets, their content, and series of checkpoints, as rows for a table."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from trustrace.core.errors import ConfigError
from trustrace.core.statements import Statements
from trustrace.datasets import catalog
from trustrace.models.selection import Selection
from trustrace.models.selection import select as choose
from trustrace.models.sources import open_source

SHOWN_ROWS = 6

_FORMS = {
    "published": "the paper's own file, row for row",
    "defined": "built from the original files, with the label that the paper defines",
    "world": "the controlled world: generated, its truth known exactly",
}


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A series of checkpoints as rows, and what a user should know of it."""

    rows: list[dict[str, Any]]
    notices: tuple[str, ...]


def list_series(source: str, *, select: str) -> Listing:
    """The checkpoints at `source` that `select` keeps (``all``, a pattern, ``every:N`` or ``log:N``)."""
    series = open_source(source)
    rows = [
        {"revision": one.revision, "step": one.step, "tokens_seen": one.tokens_seen, "commit": one.commit[:12]}
        for one in choose(series.checkpoints(), _selection(select))
    ]
    return Listing(rows=rows, notices=series.notices)


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


def _selection(select: str) -> Selection:
    match = re.fullmatch(r"(every|log):(\d+)", select)
    if match is None:
        if ":" in select:
            raise ConfigError(f"--select {select}: expected all, a pattern such as 'step*', every:N or log:N")
        return select
    return {"every" if match[1] == "every" else "log_spaced": int(match[2])}
