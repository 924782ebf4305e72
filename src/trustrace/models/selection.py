"""Which checkpoints of a series are looked at."""

import difflib
import fnmatch
import math
from collections.abc import Mapping, Sequence

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ConfigError

Selection = str | Sequence[str] | Mapping[str, int]
"""``all``; a revision or a glob such as ``step*000``; a list of revisions; ``{"every": n}``; ``{"log_spaced": n}``."""


def select(checkpoints: Sequence[Checkpoint], how: Selection) -> tuple[Checkpoint, ...]:
    """Some of a series' checkpoints, in order of training.

    Args:
        checkpoints: The series.
        how: ``"all"``; a revision or a glob over revisions; a list of revisions; ``{"every": n}`` for every n-th, counted back from the
            last, which is always among them; ``{"log_spaced": n}`` for about n that are evenly spaced in the logarithm of tokens (or
            steps) seen, first and last among them.

    Returns:
        The selected checkpoints, each once.

    Raises:
        ConfigError: the selection cannot be understood, names a revision that is absent, or selects nothing.
    """
    series = tuple(sorted(checkpoints))
    if isinstance(how, str):
        chosen = series if how == "all" else tuple(one for one in series if fnmatch.fnmatchcase(one.revision, how))
        return chosen if chosen else _refuse(how, series)
    if isinstance(how, Mapping):
        return _by_rule(series, how)
    absent = [revision for revision in how if revision not in {one.revision for one in series}]
    if absent or not how:
        return _refuse(absent[0] if absent else "(an empty list)", series)
    return tuple(one for one in series if one.revision in set(how))


def _by_rule(series: tuple[Checkpoint, ...], rule: Mapping[str, int]) -> tuple[Checkpoint, ...]:
    if len(rule) == 1:
        [(name, n)] = rule.items()
        if isinstance(n, int) and not isinstance(n, bool) and n >= 1:
            if name == "every":
                return series[::-1][::n][::-1]
            if name == "log_spaced":
                return _log_spaced(series, n)
    raise ConfigError(
        f"cannot select checkpoints by {dict(rule)!r}; use {{'every': n}} or {{'log_spaced': n}} with n a whole number of at least 1"
    )


def _log_spaced(series: tuple[Checkpoint, ...], n: int) -> tuple[Checkpoint, ...]:
    """For each of n evenly spaced marks the checkpoint nearest to it in log(1 + progress); two marks may share one."""
    if len(series) <= n:
        return series
    marks = log_progress(series)
    targets = [marks[-1]] if n == 1 else [marks[0] + (marks[-1] - marks[0]) * i / (n - 1) for i in range(n)]
    nearest = {min(range(len(marks)), key=lambda i: (abs(marks[i] - target), i)) for target in targets}
    return tuple(series[i] for i in sorted(nearest))


def log_progress(series: Sequence[Checkpoint]) -> list[float]:
    """log(1 + progress), where progress is tokens if all have them, else steps; ``main`` of unknown place stands just behind the last.

    Raises:
        ConfigError: a checkpoint has neither.
    """
    for field in ("tokens_seen", "step"):
        known = [getattr(one, field) for one in series]
        if known[-1] is None and len(known) > 1 and known[-2] is not None:
            known[-1] = known[-2] + 1
        if None not in known:
            return [math.log1p(value) for value in known]
    unknown = [one.revision for one in series if one.step is None]
    raise ConfigError(
        f"log_spaced needs the tokens or the step of every checkpoint, which {len(unknown)} lack, among them {unknown[0]!r}; "
        "select by 'every', a glob or a list"
    )


def _refuse(wanted: str, series: tuple[Checkpoint, ...]) -> tuple[Checkpoint, ...]:
    revisions = [one.revision for one in series]
    near = difflib.get_close_matches(wanted, revisions, n=3, cutoff=0.4)
    shown = near or revisions[:3]
    raise ConfigError(
        f"no checkpoint {wanted!r} among {len(revisions)}; {'near it' if near else 'the first'}: {', '.join(map(repr, shown)) or '(none)'}"
    )
