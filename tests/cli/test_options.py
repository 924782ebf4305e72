"""Options that are read before anything else is done."""

import pytest

from trustrace.cli.options import parse_bytes
from trustrace.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "count"),
    [("60GB", 60 * 10**9), ("1.5 tb", 15 * 10**11), ("500mb", 5 * 10**8), ("20kB", 20_000), ("7", 7), ("7B", 7)],
)
def test_an_amount_of_bytes_is_read_with_its_unit(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "60 gigs", "1e9", "6_0GB"])
def test_what_is_no_amount_of_bytes_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="expected an amount of bytes such as 60GB"):
        parse_bytes(text)


def test_no_amount_is_none() -> None:
    assert parse_bytes(None) is None
