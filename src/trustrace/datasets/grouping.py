"""Groups: which rows share a source, so that they must stay on one side of every split."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

RUN_OF_WORDS = 8
"""Two texts with this many words in a row in common are near-duplicates. Below six words stock phrases chain most of ToxiGen into one
group; at eight its largest group is 2 % of the rows, and the copies with a changed ending are still caught."""

_WORD = re.compile(r"\w+")


def normalise(text: str) -> str:
    r"""`text` without what a reader would not call a difference: compatibility forms (NFKC), case, and the amount of white space.

    Example:
        >>> normalise(" The  Same\nline")
        'the same line'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def runs(text: str, *, words: int = RUN_OF_WORDS) -> tuple[str, ...]:
    """Every run of `words` consecutive words of the normalised `text`; all of it where it is shorter.

    Example:
        >>> runs("a b c d", words=3)
        ('a b c', 'b c d')
    """
    normal = normalise(text)
    found = _WORD.findall(normal)
    if len(found) <= words:
        return (" ".join(found) or normal,)
    return tuple(" ".join(found[start : start + words]) for start in range(len(found) - words + 1))


def connected(keys: Sequence[Iterable[str]]) -> tuple[str, ...]:
    """One group for all rows that are linked by shared keys, directly or through other rows.

    Args:
        keys: The keys of each row, at least one each.

    Returns:
        The group of each row, named after the smallest key in it, so that names do not depend on the order of rows.
    """
    columns = [tuple(row) for row in keys]
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, column in enumerate(columns):
        for key in column:
            rows_of[key].append(row)
    groups: dict[int, str] = {}
    for start in range(len(columns)):
        if start not in groups:
            members, linked = _component(start, columns, rows_of)
            groups |= dict.fromkeys(members, min(linked))
    return tuple(groups[row] for row in range(len(columns)))


def _component(
    start: int, columns: Sequence[tuple[str, ...]], rows_of: Mapping[str, Sequence[int]]
) -> tuple[set[int], set[str]]:
    """All rows that can be reached from `start` by shared keys, and those keys."""
    members: set[int] = set()
    linked: set[str] = set()
    pending = [start]
    while pending:
        row = pending.pop()
        members.add(row)
        for key in columns[row]:
            if key not in linked:
                linked.add(key)
                pending.extend(rows_of[key])
    return members, linked
