"""Texts in the cells of tables that other programs open, kept texts there."""

import re

_FORMULA = re.compile(r"^[=+\-@\t\r]")
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


def csv_cell(value: object) -> object:
    """`value` as a cell that a spreadsheet shows and never computes: a text that would begin a formula stands behind an apostrophe.

    Example:
        >>> [csv_cell(value) for value in ("=cmd()", "-0.5", -0.5, "a=b")]
        ["'=cmd()", '-0.5', -0.5, 'a=b']
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.match(value):
        return f"'{value}"
    return value


def markdown_cell(text: str) -> str:
    r"""`text` as one cell of a Markdown table: its breaks are spaces, and what would be a cell's end or markup is a sign of its own.

    Underscores inside words are none of these, and stay.

    Example:
        >>> markdown_cell("a|b\nblock_1 <script>")
        'a\\|b block_1 \\<script\\>'
    """
    return re.sub(r"[\\|`*<>\[\]]", r"\\\g<0>", _BREAKS.sub(" ", text))
