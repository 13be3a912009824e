"""The short way of plain puts makes what the way of every transaction makes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lyredb.errors import InvalidRecord, LyreError, RecordTooLarge
from lyredb.storage import staging as stagings
from lyredb.storage.clock import Clock
from lyredb.storage.keys import encode_key
from lyredb.storage.mutation import Applied, Kind, Mutation, Precondition
from lyredb.storage.overlay import Overlay, State
from lyredb.storage.record import (
    DELETED,
    FIXED_BYTES,
    MESSAGED,
    OPAQUE,
    QOS_SHIFT,
    encode_plain_record,
    encode_record,
)
from lyredb.storage.staging import Staging, is_plain_put
from tests.storage.store import SLOT, TABLE, put

NOW_MS = 1_700_000_000_000
VERSION = NOW_MS << 12
POSITION, HALF = 500, 250
KEY = encode_key("hall")


@dataclass(frozen=True)
class Made:
    """What staging one transaction came to, errors included."""

    result: Applied | str
    log: list[tuple[bytes, bytes]]
    addresses: list[tuple[int, bytes]]
    final: dict[tuple[int, bytes], State]
    position: int


def stage(stored: State, mutation: Mutation, *, max_record_bytes: int = 1_000_000) -> Made:
    """Stage a mutation of a key with this stored state."""
    staging = Staging(
        Overlay(lambda slot, key: stored),
        {SLOT: TABLE},
        Clock(lambda: NOW_MS),
        position=POSITION,
        half=HALF,
        now_ms=NOW_MS,
        max_record_bytes=max_record_bytes,
    )
    result: Applied | str
    try:
        result = staging.stage([mutation])
    except LyreError as error:
        result = repr(error)
    return Made(result, staging.log, staging.addresses, staging.overlay.final, staging.position)


def stage_generally(stored: State, mutation: Mutation, **limits: int) -> Made:
    """Stage it without the short way."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stagings, "is_plain_put", lambda transaction: False)
        return stage(stored, mutation, **limits)


records = st.builds(
    encode_record,
    st.sampled_from([b"\x80", b"\x81\xa1a\x01"]),
    version=st.just(VERSION - 5),
    last_seq=st.sampled_from([1, HALF - 1, HALF, POSITION]),
    flags=st.sampled_from([0, OPAQUE, MESSAGED, 2 << QOS_SHIFT, OPAQUE | MESSAGED]),
    created=st.sampled_from([0, VERSION - 9]),
    expires_ms=st.sampled_from([0, NOW_MS, NOW_MS + 1]),
    metadata=st.sampled_from([b"", b"\x80"]),
)
graves = st.builds(
    encode_record,
    st.just(b""),
    version=st.just(VERSION - 5),
    last_seq=st.sampled_from([1, POSITION]),
    flags=st.sampled_from([DELETED, MESSAGED]),
)
states = st.one_of(
    st.just(State(None, None)),
    st.builds(State, records, st.none()),
    st.builds(State, st.none(), graves),
)
conditions = st.one_of(
    st.none(),
    st.builds(
        Precondition,
        any_of=st.sampled_from([None, frozenset((VERSION - 5,)), frozenset((1,))]),
        must_exist=st.booleans(),
        must_be_absent=st.booleans(),
    ),
)
puts = st.builds(
    Mutation,
    st.just(SLOT),
    st.just(KEY),
    st.just(Kind.PUT),
    body=st.sampled_from([b"\x80", b"\x81\xa1a\x02", b"\xde\x00\x00"]),
    opaque=st.booleans(),
    precondition=conditions,
    retain=st.booleans(),
    qos=st.integers(0, 2),
    user=st.sampled_from(["", "anna", "Björn"]),
    session=st.sampled_from([0, 7, 2**63]),
)


@settings(max_examples=200)
@given(states, puts)
def test_plain_puts_are_staged_byte_for_byte_as_all_others(
    stored: State, mutation: Mutation
) -> None:
    """Entries, records, positions, outcomes and refusals are the same by both ways."""
    assert is_plain_put([mutation])
    assert stage(stored, mutation) == stage_generally(stored, mutation)


def test_a_plain_put_that_is_too_large_leaves_nothing() -> None:
    """It is refused as on the other way, and the group goes on without it."""
    large = put("hall", text="x" * 100)
    made = stage(State(None, None), large, max_record_bytes=50)
    assert made == stage_generally(State(None, None), large, max_record_bytes=50)
    assert (made.log, made.final, made.position) == ([], {}, POSITION)
    assert RecordTooLarge.__name__ in str(made.result)


def test_a_put_into_a_table_that_is_gone_is_refused() -> None:
    """The table may have been dropped while the write was on its way."""
    made = stage(State(None, None), put("hall", SLOT + 1, value=1))
    assert InvalidRecord.__name__ in str(made.result)
    assert made == stage_generally(State(None, None), put("hall", SLOT + 1, value=1))


@pytest.mark.parametrize(
    "special",
    [
        {"expires_ms": NOW_MS + 1},
        {"metadata": b"\x80"},
        {"kind": Kind.PATCH},
        {"key": b""},
        {"body": b""},
        {"body": b"\x01"},
        {"full_id": b"\x30abc"},
        {"user": "x" * 20_000},
    ],
)
def test_what_has_more_to_it_is_no_plain_put(special: dict[str, object]) -> None:
    """The short way knows nothing of deadlines and the like, and refuses nothing itself."""

    assert not is_plain_put([replace(put("hall", value=1), **special)])


def test_a_plain_record_of_a_first_write_has_no_time_of_creation() -> None:
    """It would say the version again: 8 bytes for each record that was written once."""
    assert len(encode_plain_record(b"", VERSION, 1, 0, VERSION)) == FIXED_BYTES
