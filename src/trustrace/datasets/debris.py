"""Encoding debris: what broken exports leave inside texts."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

_FOREIGN = re.compile(r"[^\x00-\x7f]{2,}")
_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{2,6}|#x[0-9a-fA-F]{2,6});")
_LITERAL_NEWLINE = re.compile(r"\\[nr]")
_SPREADSHEET_ESCAPE = re.compile(r"_x00[01][0-9A-Fa-f]_")


def has_spreadsheet_escape(text: str) -> bool:
    """Whether a spreadsheet's escaped carriage return (``_x000D_`` and its kind) stands in the text."""
    return _SPREADSHEET_ESCAPE.search(text) is not None


def has_replacement_character(text: str) -> bool:
    """Whether a decoder has already given up on a byte (U+FFFD)."""
    return "\ufffd" in text


def has_mojibake(text: str) -> bool:
    """Whether some run of foreign characters is UTF-8 that was read as Windows-1252, such as ``Ã©`` for ``é``.

    The test is a proof, not a list: the run, written back as Windows-1252 bytes, must itself be valid UTF-8. Genuine text passes it only
    by a rare accident, since a byte that opens a UTF-8 sequence must be followed by bytes that continue one.
    """
    return any(_decodes_as_utf8(run) for run in _FOREIGN.findall(text))


def _decodes_as_utf8(run: str) -> bool:
    try:
        b"".join(_windows_byte(character) for character in run).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _windows_byte(character: str) -> bytes:
    """The Windows-1252 byte of a character; the five bytes it leaves undefined pass through as Latin-1, as readers do in practice."""
    try:
        return character.encode("cp1252")
    except UnicodeEncodeError:
        return character.encode("latin-1")


def has_control_character(text: str) -> bool:
    """Whether a control character other than tab and line feed stands in the text."""
    return any(unicodedata.category(character) == "Cc" and character not in "\t\n" for character in text)


def has_literal_newline(text: str) -> bool:
    r"""Whether a line break was written out as a backslash and a letter (``\n``, ``\r``)."""
    return _LITERAL_NEWLINE.search(text) is not None


def has_html_entity(text: str) -> bool:
    """Whether a character was written as an HTML entity (``&amp;``, ``&#39;``)."""
    return _ENTITY.search(text) is not None


def has_stray_space(text: str) -> bool:
    """Whether white space stands before the first or after the last character."""
    return text != text.strip()


DEBRIS: Mapping[str, tuple[str, Callable[[str], bool]]] = MappingProxyType(
    {
        "spreadsheet_escapes": ("hold a spreadsheet's escape such as _x000D_", has_spreadsheet_escape),
        "replacement_characters": (
            "hold U+FFFD, the mark of a byte that could not be decoded",
            has_replacement_character,
        ),
        "mojibake": ("hold UTF-8 that was read as Windows-1252, such as â€™ for an apostrophe", has_mojibake),
        "control_characters": ("hold a control character other than tab and line feed", has_control_character),
        "literal_newlines": (r"hold a line break written out as \n or \r", has_literal_newline),
        "html_entities": ("hold an HTML entity such as &amp;", has_html_entity),
        "stray_spaces": ("begin or end with white space", has_stray_space),
    }
)
"""Each kind of debris: what rows that have it do, in words, and how it is told."""
