"""Bytes made wrong: at random, and along the structure of the format that they are in."""

import json
import math
import struct
from collections.abc import Callable
from random import Random
from typing import Any

Mutation = Callable[[Random, bytes], bytes]

ODD_TEXTS = (
    "",
    " ",
    "\0",
    "..",
    "../../../etc/passwd",
    "/etc/passwd",
    "C:\\x",
    "a/b",
    "\ud800",
    "\u2028",
    "\u202etxt",
    "nan",
    "1e999",
    "${HOME}",
    "${NO_SUCH_VARIABLE}",
    "<script>alert(1)</script>",
    "=cmd()|x",
    "{{ 7 * 7 }}",
    "main",
    "block_0",
    "block_99999999999999999999",
    "x" * 5000,
)
ODD_NUMBERS = (0, -1, 1, 2, 3, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e308, math.nan, math.inf, -math.inf)
_TOKENS = (
    *(
        b"\0",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"\x80",
        b"\n",
        b"\r\n",
        b"\r",
        b'"',
        b"'",
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\t",
        b"\\",
    ),
    *(
        b"null",
        b"NaN",
        b"Infinity",
        b"true",
        b"1e999",
        b"-0",
        b"9" * 5000,
        b"\\ud800",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"PK\x03\x04",
    ),
    *(
        b"[" * 2000,
        b'{"a":' * 2000,
        b"- " * 500,
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!python/object/apply:os.system [id]\n",
        b"!!binary x",
        b"? ",
    ),
    *(
        b"2001-99-99",
        b"!!timestamp 1",
        b"!!int x",
        b"0x",
        b"1:99",
        b"%YAML 9.9\n",
        b"---\n",
        b"|\n",
        b">-\n",
        b"!!set {a}",
        b"!!omap [a]",
    ),
)


def of_bytes(rng: Random, content: bytes) -> bytes:
    """One to six random changes."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(found) + 1)
        to = min(len(found), at + rng.choice((1, 1, 2, 4, 8, 64, 512)))
        match rng.randrange(7):
            case 0 if found:
                found[at % len(found)] ^= 1 << rng.randrange(8)
            case 1:
                found[at:to] = rng.choice(_TOKENS)
            case 2:
                del found[at:to]
            case 3:
                found[at:at] = rng.choice(_TOKENS)
            case 4:
                found[at:at] = found[at:to] * rng.choice((1, 2, 50))
            case 5:
                del found[at:]
            case _:
                found[at:to] = rng.randbytes(to - at)
    return bytes(found)


def of_json(rng: Random, content: bytes) -> bytes:
    """A node of the document changed, taken away or added; now and then the bytes themselves."""
    if rng.random() < 0.15:
        return of_bytes(rng, content)
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        document = _changed(rng, document)
    return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def of_json_lines(rng: Random, content: bytes) -> bytes:
    """One line changed as a document, or lines taken away, repeated or run together."""
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            return of_bytes(rng, content)
        case 1:
            del lines[at]
        case 2:
            lines[at:at] = [rng.choice((b"", b"null", b"1", b"[]", b"{}", b'"x"', b"\xff", lines[at]))]
        case _ if lines[at]:
            lines[at] = of_json(rng, lines[at])
    return b"\n".join(lines)


def of_cells(rng: Random, content: bytes) -> bytes:
    """One cell of a CSV file changed; now and then the bytes themselves."""
    if rng.random() < 0.3:
        return of_bytes(rng, content)
    rows = [line.split(b",") for line in content.split(b"\n")]
    row = rng.choice(rows)
    odd = rng.choice(ODD_TEXTS).encode("utf-8", "surrogatepass")
    match rng.randrange(4):
        case 0:
            row[rng.randrange(len(row))] = odd
        case 1:
            row.insert(rng.randrange(len(row) + 1), odd)
        case 2:
            row.pop()
        case _:
            row[rng.randrange(len(row))] = b'"' + odd
    return b"\n".join(b",".join(row) for row in rows)


def of_tensors(rng: Random, content: bytes) -> bytes:
    """The header of a safetensors file changed as a document, its length told wrongly, or the bytes themselves."""
    if rng.random() < 0.3 or len(content) < 8:
        return of_bytes(rng, content)
    length = struct.unpack("<Q", content[:8])[0]
    header, numbers = content[8 : 8 + length], content[8 + length :]
    if rng.random() < 0.8:
        header = of_json(rng, header)
    told = len(header) if rng.random() < 0.8 else rng.choice((0, 1, 2**32, 10**12, 2**63, 2**64 - 1, len(header) + 1))
    return (
        struct.pack("<Q", told)
        + header
        + (numbers if rng.random() < 0.9 else numbers[: rng.randrange(len(numbers) + 1)])
    )


def _changed(rng: Random, document: Any) -> Any:
    """`document` with one node another one; where that is no matter of its insides, another document."""
    if not isinstance(document, dict | list) or not document or rng.random() < 0.08:
        return odd_value(rng, document)
    places: list[Any] = list(document) if isinstance(document, dict) else list(range(len(document)))
    at = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del document[at]
        case 1:
            document[at] = odd_value(rng, document[at])
        case 2 if isinstance(document, dict):
            document[rng.choice(ODD_TEXTS)] = odd_value(rng, None)
        case 2:
            document.insert(at, odd_value(rng, document[at]))
        case 3 if isinstance(document, dict):
            document[rng.choice(places)] = document[at]
        case _:
            document[at] = _changed(rng, document[at])
    return document


def odd_value(rng: Random, value: Any) -> Any:
    """Something that is seldom where `value` was."""
    match rng.randrange(9):
        case 0:
            return rng.choice(ODD_NUMBERS)
        case 1:
            return rng.choice(ODD_TEXTS)
        case 2:
            return rng.choice((None, True, False, [], {}, [[]], [None], {"": None}))
        case 3:
            return [value, value]
        case 4:
            return {"x": value}
        case 5:
            return str(value)[:2000]
        case 6 if isinstance(value, str) and value:
            at = rng.randrange(len(value))
            return value[:at] + rng.choice(ODD_TEXTS)[:50] + value[at + 1 :]
        case 7 if isinstance(value, int | float):
            return -value
        case _:
            return _nested(rng.choice((3, 50, 2000 if rng.random() < 0.02 else 90)))


def _nested(depth: int) -> Any:
    found: Any = "x"
    for level in range(depth):
        found = [found] if level % 2 else {"a": found}
    return found
