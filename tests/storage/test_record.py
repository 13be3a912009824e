from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.errors import InvalidRecord
from lyredb.storage.body import MAX_DEPTH, load_body, pack_body, unpack_body
from lyredb.storage.record import (
    MESSAGED,
    OPAQUE,
    decode_header,
    encode_record,
    is_expired,
    last_seq_of,
    with_last_seq,
)

u64 = st.integers(0, 2**64 - 1)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**200), 2**200),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=10),
    st.binary(max_size=10),
    st.datetimes(timezones=st.just(UTC)),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
bodies = st.dictionaries(st.text(max_size=8), values, max_size=5)


@given(bodies)
def test_a_body_comes_back_as_it_went_in(record: dict[str, object]) -> None:
    """Dates and integers beyond 64 bits included."""
    packed = pack_body(record)
    assert unpack_body(packed) == record
    assert load_body(packed) == record


@given(bodies)
def test_a_body_that_is_cut_off_is_refused(record: dict[str, object]) -> None:
    """At every place, with a typed error."""
    packed = pack_body(record)
    for end in range(len(packed)):
        with pytest.raises(InvalidRecord):
            unpack_body(packed[:end])


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("-inf"),
        datetime(2020, 1, 1),
        object(),
        {1: 2},
        10**400,
        "\ud800",
        {1, 2},
    ],
)
def test_what_a_body_cannot_hold_is_refused(value: object) -> None:
    """Also inside of lists and maps."""
    for record in ({"a": value}, {"a": [value]}, {"a": {"b": value}}):
        with pytest.raises(InvalidRecord):
            pack_body(record)


def test_values_nest_up_to_the_limit_and_no_deeper() -> None:
    """The record is the first level."""

    def nested(depth: int) -> dict[str, object]:
        value: object = []
        for _ in range(depth - 2):
            value = [value]
        return {"a": value}

    assert unpack_body(pack_body(nested(MAX_DEPTH)))
    with pytest.raises(InvalidRecord):
        pack_body(nested(MAX_DEPTH + 1))
    deep = b"\x81\xa1a" + b"\x91" * (MAX_DEPTH + 1) + b"\xc0"
    with pytest.raises(InvalidRecord):
        unpack_body(deep)
    with pytest.raises(InvalidRecord):
        unpack_body(b"\x81\xa1a" + b"\x91" * 5000 + b"\xc0")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_body_or_a_typed_error(data: bytes) -> None:
    """What a client sends as MessagePack never crashes the worker."""
    try:
        unpack_body(data)
    except InvalidRecord:
        return


headers = st.fixed_dictionaries(
    {
        "version": u64,
        "last_seq": u64,
        "node": st.integers(0, 65535),
        "flags": st.sampled_from([0, OPAQUE, MESSAGED]),
        "created": u64,
        "expires_ms": u64,
        "metadata": st.one_of(st.just(b""), st.just(pack_body({"contentType": "text/plain"}))),
        "full_id": st.binary(max_size=600),
    }
)


@given(headers, st.binary(max_size=30))
def test_a_header_comes_back_as_it_went_in(header: dict[str, int | bytes], body: bytes) -> None:
    """Every combination of optional parts."""
    stored = encode_record(body, **header)  # type: ignore[arg-type]  # drawn by name
    decoded = decode_header(stored)
    assert decoded.created == (header["created"] or header["version"])
    assert decoded.expires_ms == header["expires_ms"]
    assert decoded.metadata_bytes == header["metadata"]
    assert decoded.full_id == header["full_id"]
    assert stored[decoded.body_offset :] == body
    assert last_seq_of(stored) == header["last_seq"]


@given(headers)
def test_a_header_that_is_cut_off_is_refused(header: dict[str, int | bytes]) -> None:
    """At every place before the body."""
    stored = encode_record(b"", **header)  # type: ignore[arg-type]  # drawn by name
    for end in range(len(stored)):
        with pytest.raises(InvalidRecord):
            decode_header(stored[:end])


@given(headers, u64)
def test_last_seq_changes_alone(header: dict[str, int | bytes], seq: int) -> None:
    """A message moves last_seq and leaves all else."""
    stored = encode_record(b"body", **header)  # type: ignore[arg-type]  # drawn by name
    moved = with_last_seq(stored, seq)
    assert last_seq_of(moved) == seq
    assert with_last_seq(moved, last_seq_of(stored)) == stored


@given(headers, u64)
def test_expiry_is_read_without_decoding_the_header(
    header: dict[str, int | bytes], now_ms: int
) -> None:
    """The short way and the long way agree."""
    stored = encode_record(b"", **header)  # type: ignore[arg-type]  # drawn by name
    assert is_expired(stored, now_ms) == decode_header(stored).is_expired(now_ms)


def test_unknown_flags_are_refused() -> None:
    """A later version's record is not misread."""
    stored = bytearray(encode_record(b"\x80", version=1, last_seq=1))
    stored[18] = 0x80
    with pytest.raises(InvalidRecord):
        decode_header(bytes(stored))
