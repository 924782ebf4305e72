"""Few colours, the same on paper and on screen.

Depth is a ramp of one blue, the site in focus is orange (the pair that every common colour blindness keeps apart), everything that is not a
measurement is grey, and floors differ by dash. Maps use cividis, which is even in lightness and reads alike with and without colour vision.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of one theme."""

    page: str
    ink: str
    muted: str
    floor: str
    ghost: str
    grid: str
    missing: str
    rule: str
    edge: str
    focus: str
    shallow: str
    deep: str


LIGHT = Palette(
    page="#ffffff",
    ink="#1b1f24",
    muted="#59626c",
    floor="#7b858f",
    ghost="#d3d8de",
    grid="#eceff2",
    missing="#e6e8eb",
    rule="#e2e6ea",
    edge="#8b949e",
    focus="#c2500a",
    shallow="#b9cfe6",
    deep="#1d4f8b",
)
DARK = Palette(
    page="#14181c",
    ink="#e8eaed",
    muted="#a3adb8",
    floor="#89939e",
    ghost="#3d454e",
    grid="#282e35",
    missing="#2b3138",
    rule="#2a3037",
    edge="#69737e",
    focus="#ff9a4d",
    shallow="#34516f",
    deep="#9cc8f5",
)

FLOOR_DASHES: dict[str, tuple[int, tuple[float, ...]]] = {
    "majority": (0, (1, 1.6)),
    "length_and_case": (0, (3, 2)),
    "word_ngrams": (0, (6, 2)),
    "char_ngrams": (0, (6, 1.5, 1, 1.5)),
    "input_embedding": (0, (2.5, 1, 1, 1, 1, 1)),
    "random_initialisation": (0, (9, 2.5)),
}
"""Offset and lengths, in line widths, of drawn and left-out stretches."""


def depth_colours(count: int, palette: Palette) -> list[str]:
    """`count` colours from shallow to deep."""
    return [_between(palette.shallow, palette.deep, place / max(count - 1, 1)) for place in range(count)]


def _between(first: str, last: str, share: float) -> str:
    pairs = zip(_channels(first), _channels(last), strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
