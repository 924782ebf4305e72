import pytest

from trustrace.report.palette import DARK, FLOOR_DASHES, LIGHT, depth_colours


def _luminance(colour):
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(first, second):
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_lines_stand_out_from_the_page(palette):
    for text in (palette.ink, palette.muted, palette.deep, palette.focus):
        assert _contrast(text, palette.page) >= 4.5
    for mark in (palette.floor, palette.edge):
        assert _contrast(mark, palette.page) >= 3


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_depth_runs_evenly_from_shallow_to_deep_and_away_from_the_page(palette):
    ramp = depth_colours(7, palette)
    assert (ramp[0], ramp[-1]) == (palette.shallow, palette.deep)
    contrasts = [_contrast(colour, palette.page) for colour in ramp]
    assert contrasts == sorted(contrasts)
    assert depth_colours(1, palette) == [palette.shallow]


def test_floors_are_told_apart_without_colour():
    assert len(set(FLOOR_DASHES.values())) == len(FLOOR_DASHES)
