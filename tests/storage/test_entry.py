from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.errors import FormatMismatch
from lyredb.storage.entry import (
    EXISTED,
    LAST,
    RETAIN,
    Entry,
    address_of,
    decode_entry,
    encode_entry,
    version_of,
)
from lyredb.storage.mutation import DeleteReason, Kind

u64 = st.integers(0, 2**64 - 1)
u16 = st.integers(0, 65535)
short = st.binary(max_size=12)
entries = st.builds(
    Entry,
    seq=u64,
    kind=st.sampled_from(Kind),
    flags=st.sampled_from([0, LAST, RETAIN | 0x10, EXISTED | 0x20]),
    delete_reason=st.sampled_from(DeleteReason),
    slot=u16,
    node=u16,
    local_ms=u64,
    version=u64,
    prev_seq=u64,
    index=st.integers(0, 2**32 - 1),
    key=st.binary(min_size=1, max_size=481),
    image=short,
    before=short,
    operations=short,
    payload=short,
    metadata=short,
    origin_seq=u64,
    session=u64,
    expires_ms=u64,
    user=st.text(max_size=5),
    full_id=short,
)


@given(entries)
def test_an_entry_comes_back_as_it_went_in(entry: Entry) -> None:
    """Every field, and the short ways to address and version."""
    stored = encode_entry(entry)
    decoded = decode_entry(entry.seq, stored)
    for name in entry.__struct_fields__:
        if name != "flags":
            assert getattr(decoded, name) == getattr(entry, name), name
    assert (decoded.is_last, decoded.retain, decoded.qos, decoded.existed) == (
        entry.is_last,
        entry.retain,
        entry.qos,
        entry.existed,
    )
    assert address_of(stored) == (entry.slot, entry.key)
    assert version_of(stored) == entry.version


@given(entries)
def test_an_entry_that_is_cut_off_or_longer_is_refused(entry: Entry) -> None:
    """At every place, with a typed error."""
    stored = encode_entry(entry)
    for damaged in (*(stored[:end] for end in range(len(stored))), stored + b"x"):
        with pytest.raises(FormatMismatch):
            decode_entry(1, damaged)


@given(st.binary(max_size=80))
def test_any_bytes_are_an_entry_or_a_typed_error(data: bytes) -> None:
    """A damaged log is told, not guessed at."""
    try:
        decode_entry(1, b"\x01" + data)
    except FormatMismatch:
        return


def test_an_entry_of_a_later_format_is_refused() -> None:
    """The first byte decides."""
    entry = Entry(1, Kind.PUT, 0, DeleteReason.NONE, 16, 0, 1, 1, 0, 0, b"k")
    with pytest.raises(FormatMismatch):
        decode_entry(1, b"\x02" + encode_entry(entry)[1:])
