"""The short way of messages makes what the way of every transaction makes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_struct

from lyredb.errors import FormatMismatch, InvalidKey, InvalidRecord, LyreError
from lyredb.storage import staging as stagings
from lyredb.storage.clock import Clock
from lyredb.storage.entry import decode_entry
from lyredb.storage.keys import encode_full_key, encode_key
from lyredb.storage.message_entry import decode_message
from lyredb.storage.message_staging import are_messages
from lyredb.storage.mutation import Applied, Kind, Mutation, Precondition
from lyredb.storage.overlay import Overlay, State
from lyredb.storage.staging import Staging
from tests.storage.store import SLOT, TABLE, message, put
from tests.storage.test_staging import HALF, NOW_MS, POSITION, Made, states

LONG = "x" * 600
KEYS = ("hall", "yard", LONG, "")


def stage(stored: dict[bytes, State], transaction: list[Mutation]) -> Made:
    """Stage a transaction over keys with these stored states."""
    staging = Staging(
        Overlay(lambda slot, key: stored.get(key, State(None, None))),
        {SLOT: TABLE},
        Clock(lambda: NOW_MS),
        position=POSITION,
        half=HALF,
        now_ms=NOW_MS,
        max_record_bytes=1_000_000,
    )
    result: Applied | str
    try:
        result = staging.stage(transaction)
    except LyreError as error:
        result = f"{error!r} {error.mutation}"
    return Made(result, staging.log, staging.addresses, staging.overlay.final, staging.position)


def one_by_one(transaction: list[Mutation]) -> list[Mutation]:
    """The same messages, a mutation each."""
    return [
        replace_struct(mutation, body=payload, more=())
        for mutation in transaction
        for payload in (mutation.body, *mutation.more)
    ]


def stage_generally(stored: dict[bytes, State], transaction: list[Mutation]) -> Made:
    """Stage it without the short way."""
    transaction = one_by_one(transaction)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stagings, "are_messages", lambda transaction: False)
        made = stage(stored, transaction)
    if isinstance(made.result, Applied):
        return replace(made, result=Applied(made.result.position, ()))
    return made


def key_of(name: str) -> bytes:
    return encode_key(name) if name else b""


payloads = st.sampled_from([b"", b"x", b"y" * 300])


@st.composite
def messages(draw: st.DrawFn) -> Mutation:
    name = draw(st.sampled_from(KEYS))
    return Mutation(
        SLOT,
        key_of(name),
        Kind.MESSAGE,
        body=draw(payloads),
        more=tuple(draw(st.lists(payloads, max_size=3))),
        metadata=draw(st.sampled_from([b"", b"\x80"])),
        full_id=encode_full_key(name) if name == LONG else b"",
        expires_ms=draw(st.sampled_from([0, NOW_MS + 1])),
        retain=draw(st.booleans()),
        qos=draw(st.integers(0, 2)),
        user=draw(st.sampled_from(["", "anna", "Björn"])),
        session=draw(st.sampled_from([0, 7, 2**63])),
    )


@settings(max_examples=200)
@given(
    st.fixed_dictionaries({}, optional={key_of(name): states for name in KEYS if name}),
    st.lists(messages(), min_size=1, max_size=6),
)
def test_messages_are_staged_byte_for_byte_as_all_others(
    stored: dict[bytes, State], transaction: list[Mutation]
) -> None:
    """Entries, states and positions are the same by both ways; there are no outcomes."""
    assert are_messages(transaction)
    assert stage(stored, transaction) == stage_generally(stored, transaction)


def test_the_root_topic_of_a_table_has_entries_and_no_state() -> None:
    """LMDB has no empty keys, and nobody needs the chain of what is no record."""
    made = stage({}, [Mutation(SLOT, b"", Kind.MESSAGE, b"x")] * 2)
    assert (len(made.log), made.final, made.position) == (2, {}, POSITION + 2)


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (Mutation(SLOT + 1, encode_key("hall"), Kind.MESSAGE), InvalidRecord),
        (Mutation(SLOT, b"k" * 500, Kind.MESSAGE), InvalidKey),
        (Mutation(SLOT, encode_key("hall"), Kind.MESSAGE, user="x" * 20_000), InvalidRecord),
    ],
)
def test_one_message_that_is_refused_keeps_all_of_them_out(
    refused: Mutation, error: type[LyreError]
) -> None:
    """The error says which; the log is not touched."""
    made = stage({}, [message("hall"), refused])
    assert made == stage_generally({}, [message("hall"), refused])
    assert str(made.result).endswith(" 1")
    assert error.__name__ in str(made.result)
    assert (made.log, made.final, made.position) == ([], {}, POSITION)


def test_what_has_other_mutations_or_conditions_goes_the_long_way() -> None:
    """It would be done in part."""
    conditional = Mutation(SLOT, b"k", Kind.MESSAGE, precondition=Precondition(must_exist=True))
    assert not are_messages([message("a"), put("a", value=1)])
    assert not are_messages([message("a"), conditional])
    assert not are_messages([])


@settings(max_examples=100)
@given(messages())
def test_what_is_told_of_a_message_is_read_as_by_the_long_way(mutation: Mutation) -> None:
    """And an entry that is cut off anywhere is refused."""
    ((_, stored),) = stage({}, one_by_one([mutation])[:1]).log
    whole, told = decode_entry(9, stored), decode_message(9, stored)
    assert told.flags == whole.flags
    assert (told.local_ms, told.version) == (whole.local_ms, whole.version)
    assert (told.session, told.expires_ms) == (whole.session, whole.expires_ms)
    assert (told.metadata, told.payload) == (whole.metadata, whole.payload)
    for length in range(len(stored)):
        with pytest.raises(FormatMismatch):
            decode_message(9, stored[:length])
