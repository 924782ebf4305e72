"""What the defined forms remove before they count rows: encoding debris, duplicates, contradictions."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from trustrace.datasets.grouping import normalise

_DEBRIS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A spreadsheet's escape of a carriage return, and line breaks that were escaped once or more and never restored.
    (re.compile(r"_x000[dD]_|\\+[nr]"), " "),
    # Runs of escaped tabs; a single one before a letter is more often a stray backslash.
    (re.compile(r"\\+t(?=\\|$)"), " "),
    (re.compile(r"\\+(?=['\"])"), ""),
)
_ESCAPED_CHARACTER = re.compile(r"\\+u([0-9a-fA-F]{4})")
_END_MARKS = (".", "!", "?", '."', '!"', '?"')


def mend(text: str) -> str:
    r"""`text` on one line, without what broken exports left in it.

    Line breaks (``_x000D_``, a literal ``\n`` or ``\r``) and runs of literal tabs become spaces, escaped quotes quotes and ``\u2019`` its
    character; white space is collapsed and stripped. Case, spelling and everything else stay.
    """
    for pattern, replacement in _DEBRIS:
        text = pattern.sub(replacement, text)
    text = _ESCAPED_CHARACTER.sub(lambda match: chr(int(match[1], 16)), text)
    return " ".join(text.split())


def as_sentence(text: str) -> str:
    """`text` on one line, ending in a mark: a full stop is added where there is none, so that the last token tells no classes apart."""
    line = " ".join(text.split())
    return line if line.endswith(_END_MARKS) else f"{line}."


@dataclass(frozen=True)
class Distinct:
    """Which rows remain when each text is to occur once, and what was dropped for it.

    Attributes:
        kept: The rows that remain, in order: the first of each text, where all its rows agree on the label.
        duplicates: Rows dropped because an earlier row has the same normalised text and label.
        contradictions: Rows dropped because rows of the same normalised text have both labels.
    """

    kept: tuple[int, ...]
    duplicates: int
    contradictions: int


def distinct(texts: Sequence[str], labels: Sequence[int]) -> Distinct:
    """Each normalised text once, and none that has both labels."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows[normalise(text)].append(row)
    agreed = [same for same in rows.values() if len({labels[row] for row in same}) == 1]
    kept = tuple(same[0] for same in agreed)
    duplicates = sum(len(same) - 1 for same in agreed)
    return Distinct(kept, duplicates, len(texts) - len(kept) - duplicates)
