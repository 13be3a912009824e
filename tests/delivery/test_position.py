"""Position tokens: opaque to clients, one text per place, nonsense refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.delivery.position import Position, format_position, parse_position
from lyredb.errors import InvalidHeader
from tests.delivery.world import error_of

LOG = "00ff0badcafe1234"


@given(
    st.binary(min_size=1, max_size=32),
    st.integers(0, 10**18),
    st.none() | st.tuples(st.integers(0, 65_535), st.binary(max_size=481)),
)
def test_tokens_read_back_as_what_they_say(
    log: bytes, seq: int, place: tuple[int, bytes] | None
) -> None:
    slot, key = place or (None, None)
    token = format_position(log.hex(), seq, slot, key)
    assert parse_position(token) == Position(log.hex(), seq, slot, key)
    assert token.isascii()
    assert not set(token) & set(' \r\n",;')


@given(st.text(max_size=40) | st.from_regex(r"ff\.[0-9]{1,3}(~[0-9]\.[A-Za-z0-9_-]{0,4})?"))
def test_whatever_is_taken_is_the_one_text_of_its_place(text: str) -> None:
    """No two tokens name one place; everything else raises `InvalidHeader` only."""
    if error_of(lambda: parse_position(text)) is None:
        found = parse_position(text)
        assert format_position(found.log_id, found.seq, found.slot, found.key) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "ff.",
        ".1",
        "f.1",
        "FF.1",
        "ff.01",
        "ff.-1",
        "ff.1~",
        "ff.1~2",
        "ff.1~2.=",
        "ff.1~2.A",
        "ff.1~2.AB",
        "ff.1\n",
        "ff.٣",
        "f" * 2000 + ".1",
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidHeader):
        parse_position(text)


def test_the_forms_are_those_that_are_documented() -> None:
    assert format_position(LOG, 42) == "00ff0badcafe1234.42"
    assert format_position(LOG, 42, 16, b"\x30ab") == "00ff0badcafe1234.42~16.MGFi"
