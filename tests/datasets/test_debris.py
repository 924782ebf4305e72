import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.datasets.debris import DEBRIS, has_mojibake

FOUND_IN = {
    "spreadsheet_escapes": ["one_x000D_two", "tab_x0009_"],
    "replacement_characters": ["caf\ufffd"],
    "mojibake": ["donâ€™t", "cafÃ©", "Â\xa0pad", "ItÃ¢â‚¬â„¢s", "FÃƒÂ¼hrer"],
    "control_characters": ["bell\x07", "next\x85line", "one\rtwo"],
    "literal_newlines": [r"one\ntwo", r"one\r"],
    "html_entities": ["you &amp; me", "it&#39;s", "&#x2014;"],
    "stray_spaces": [" one", "one\n", "one\xa0"],
}
CLEAN = [
    "plain",
    "café, naïve; El Niño",
    "“quoted” — it’s",
    "東京は大きい",
    "a\tb\nc",
    "R&D; AT&T",
    "snake_case_x000",
    "C:\\temp",
    "Ünïcödé Ý",
    "…",
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND_IN.items() for text in texts])
def test_each_kind_of_debris_is_found(kind, text):
    assert DEBRIS[kind][1](text)


@pytest.mark.parametrize("kind", DEBRIS)
def test_clean_text_holds_no_debris(kind):
    assert [text for text in CLEAN if DEBRIS[kind][1](text)] == []


def test_every_kind_of_debris_has_an_example():
    assert set(FOUND_IN) == set(DEBRIS)


@given(st.text(st.characters(min_codepoint=0xA1, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cn"]), min_size=1))
def test_text_that_was_read_with_the_wrong_codec_is_always_found(text):
    wrongly_read = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in text.encode())
    assert has_mojibake(wrongly_read)
