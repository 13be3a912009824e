from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.errors import InvalidKey
from lyredb.storage.keys import (
    ABSENT,
    KeyValue,
    decode_key,
    encode_full_key,
    encode_index_value,
    encode_key,
    index_entries,
    is_cut,
    is_short_form,
    record_key,
)
from lyredb.storage.record import decode_header, encode_record

texts = st.text(max_size=40)
integers = st.integers(-(2**70), 2**70)
key_values: st.SearchStrategy[KeyValue] = st.one_of(
    texts, integers, st.lists(st.one_of(texts, integers), max_size=4).map(tuple)
)
numbers = st.one_of(integers, st.floats(allow_nan=False, allow_infinity=False))
dates = st.datetimes(timezones=st.just(UTC))


@given(key_values)
def test_a_key_decodes_to_its_id(value: KeyValue) -> None:
    """No two ids share a key, and ids are not stored beside it."""
    assert decode_key(encode_full_key(value)) == value


@given(texts, texts)
def test_string_keys_are_ordered_as_their_utf8(left: str, right: str) -> None:
    """Scans by key give strings in code point order, NUL included."""
    assert (encode_key(left) < encode_key(right)) == (left.encode() < right.encode())


@given(numbers, numbers)
def test_numbers_are_ordered_by_value(left: float, right: float) -> None:
    """Integers beyond 2**53 neither collide with doubles nor leave their place."""
    assert (encode_index_value(left) < encode_index_value(right)) == (left < right)
    assert (encode_index_value(left) == encode_index_value(right)) == (left == right)


@given(st.lists(st.one_of(texts, integers)), st.lists(st.one_of(texts, integers)))
def test_list_keys_are_ordered_element_by_element(
    left: list[str | int], right: list[str | int]
) -> None:
    """A shorter list stands before its extensions, whatever bytes the elements have."""

    def order(value: list[str | int]) -> list[tuple[int, object]]:
        return [(0, item) if isinstance(item, int) else (1, item.encode()) for item in value]

    expected = order(left) < order(right)
    assert (encode_full_key(tuple(left)) < encode_full_key(tuple(right))) == expected


@given(dates, dates)
def test_dates_are_ordered_by_time(left: datetime, right: datetime) -> None:
    """Also before 1970."""
    assert (encode_index_value(left) < encode_index_value(right)) == (left < right)


def test_types_are_ordered_as_the_format_says() -> None:
    """Absent, null, false, true, number, date, string, bytes, list, map."""
    date = datetime(2020, 1, 1, tzinfo=UTC)
    values: list[object] = [
        ABSENT,
        None,
        False,
        True,
        -math.pi,
        5,
        date,
        "",
        "a",
        b"",
        b"a",
        [],
        [1],
        {},
    ]
    encoded = [encode_index_value(value) for value in values]
    assert encoded == sorted(encoded)
    assert len(set(encoded)) == len(values)


def test_equal_numbers_have_one_index_key() -> None:
    """1 and 1.0 are found alike, and so are the two zeros."""
    assert encode_index_value(1) == encode_index_value(1.0)
    assert encode_index_value(-0.0) == encode_index_value(0)


@pytest.mark.parametrize("value", [None, True, 1.5, b"x", [None], [["a"]], 10**400, "\ud800"])
def test_what_is_no_id_is_refused(value: object) -> None:
    """The error is typed, whatever came in."""
    with pytest.raises(InvalidKey):
        encode_key(value)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, datetime(2020, 1, 1), object(), 10**400],
)
def test_what_cannot_be_indexed_is_refused(value: object) -> None:
    """Not finite, without time zone, unknown."""
    with pytest.raises(InvalidKey):
        encode_index_value(value)


@given(st.binary(max_size=60))
def test_any_bytes_decode_to_an_id_or_a_typed_error(data: bytes) -> None:
    """A damaged key neither crashes nor decodes to an id with another key."""
    try:
        value = decode_key(data)
    except InvalidKey:
        return
    assert encode_full_key(value) == data or data[0] in (0x20, 0x40)


def test_the_longest_natural_key_and_the_first_short_form() -> None:
    """479 characters fit beside the tag; one more is hashed, and its id is in the header."""
    assert encode_key("x" * 479) == encode_full_key("x" * 479)
    long = "x" * 480
    key = encode_key(long)
    assert is_short_form(key)
    header = decode_header(
        encode_record(b"\x80", version=1, last_seq=1, full_id=encode_full_key(long))
    )
    assert record_key(key, header) == long


def test_long_ids_with_one_beginning_have_different_keys() -> None:
    """The hash and the length are over the whole id."""
    ids = ["x" * 480, "x" * 481, "x" * 480 + "y", "x" * 460 + "y" * 60]
    keys = {encode_key(value) for value in ids}
    assert len(keys) == len(ids)
    assert all(len(key) <= 511 for key in keys)


def test_a_long_index_value_is_cut_and_says_so() -> None:
    """The reader must look at the record then."""
    assert not is_cut(encode_index_value("x" * 479))
    assert is_cut(encode_index_value("x" * 480))
    assert encode_index_value("x" * 500) == encode_index_value("x" * 600)


def test_a_list_is_indexed_once_per_distinct_element() -> None:
    """Two equal elements are one entry; an empty list still stands in the index."""
    assert index_entries([1, 1.0, "a", "a"]) == [encode_index_value(1), encode_index_value("a")]
    assert index_entries([]) == [encode_index_value([])]
    assert index_entries(ABSENT) == [encode_index_value(ABSENT)]
