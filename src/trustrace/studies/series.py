"""What checkpoints there are in a series, as rows for a table."""

import re
from dataclasses import dataclass
from typing import Any

from trustrace.core.errors import ConfigError
from trustrace.models.selection import Selection
from trustrace.models.selection import select as choose
from trustrace.models.sources import open_source


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


def _selection(select: str) -> Selection:
    match = re.fullmatch(r"(every|log):(\d+)", select)
    if match is None:
        if ":" in select:
            raise ConfigError(f"--select {select}: expected all, a pattern such as 'step*', every:N or log:N")
        return select
    return {"every" if match[1] == "every" else "log_spaced": int(match[2])}
