"""The record that describes a session, and its rows, as they are read and written.

Every write of a description, and every commit of progress, names the version of the
description that its owner knows: whoever has lost the session to another owner writes
nothing any more, however late it comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from lyredb.errors import FormatMismatch
from lyredb.sessions.terms import CLIENT_PREFIX, NEVER_EXPIRES_S, Description
from lyredb.storage.apply import Rows
from lyredb.storage.keys import encode_full_key, encode_key, is_short_form
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.mutation import DeleteReason, Kind, Mutation, Precondition
from lyredb.storage.record import decode_header
from lyredb.storage.session_row import (
    SessionProgress,
    decode_mark,
    decode_progress,
    fence_name,
    inbound_names,
    packet_id_of,
    progress_name,
    receipt_names,
    receipt_seq,
)
from lyredb.storage.snapshot import Snapshot

_decoder: Final = msgspec.msgpack.Decoder(Description)
_encoder: Final = msgspec.msgpack.Encoder()
FIRST_KEY: Final = encode_key(CLIENT_PREFIX)
STOP_KEY: Final = FIRST_KEY + b"\xff"
"""Behind the keys of all clients' sessions: 0xFF cannot stand in UTF-8."""


@dataclass(frozen=True, slots=True)
class Found:
    """A description in the store.

    Attributes:
        key: Of its record.
        version: Of its record.
        expires_ms: Its deadline, 0 for none.
        description: What it says.
    """

    key: bytes
    version: int
    expires_ms: int
    description: Description

    def is_over(self, now_ms: int) -> bool:
        """Its deadline has passed: it counts as absent everywhere."""
        return 0 < self.expires_ms <= now_ms


def key_of(client_id: str) -> bytes:
    """The key of a client's session.

    Raises:
        InvalidKey: The identifier is too long to have one.
    """
    return encode_key(CLIENT_PREFIX + client_id)


def find(snapshot: Snapshot, client_id: str) -> Found | None:
    """Return a client's description, one whose deadline has passed included.

    Raises:
        InvalidKey: As `key_of`.
        FormatMismatch: The record is damaged.
    """
    key = key_of(client_id)
    stored = snapshot.stored(SESSION_SLOT, key)
    return None if stored is None else read(key, stored)


def read(key: bytes, stored: bytes) -> Found:
    """Return what a record of a client's session says.

    Raises:
        FormatMismatch: The record is damaged.
    """
    header = decode_header(stored)
    try:
        description = _decoder.decode(memoryview(stored)[header.body_offset :])
    except msgspec.DecodeError as error:
        raise FormatMismatch("the record of a session is damaged") from error
    return Found(key, header.version, header.expires_ms, description)


def creation_of(description: Description) -> Mutation:
    """Return what writes the description of a session that is not there, or is over."""
    return _put(description, Precondition(must_be_absent=True))


def replacement_of(description: Description, version: int) -> Mutation:
    """Return what writes a description over the version that its owner knows."""
    return _put(description, Precondition(any_of=frozenset((version,))))


def _put(description: Description, precondition: Precondition) -> Mutation:
    key = key_of(description.client_id)
    return Mutation(
        SESSION_SLOT,
        key,
        Kind.PUT,
        _encoder.encode(description),
        precondition=precondition,
        full_id=_full_id(key, description.client_id),
        expires_ms=deadline_of(description),
    )


def check_of(client_id: str, version: int) -> Mutation:
    """Return what holds a transaction to the version that its owner knows."""
    key = key_of(client_id)
    return Mutation(
        SESSION_SLOT,
        key,
        Kind.CHECK,
        precondition=Precondition(any_of=frozenset((version,))),
        full_id=_full_id(key, client_id),
    )


def removal_of(client_id: str, version: int) -> Mutation:
    """Return what removes a description that has this version."""
    key = key_of(client_id)
    return Mutation(
        SESSION_SLOT,
        key,
        Kind.DELETE,
        precondition=Precondition(any_of=frozenset((version,))),
        full_id=_full_id(key, client_id),
    )


def expiration_of(found: Found) -> Mutation:
    """Return what removes a description if its deadline has passed by the commit."""
    client_id = found.description.client_id
    return Mutation(
        SESSION_SLOT,
        found.key,
        Kind.DELETE,
        full_id=_full_id(found.key, client_id),
        reason=DeleteReason.EXPIRED,
    )


def deadline_of(description: Description) -> int:
    """When a session ends by itself, epoch milliseconds; 0 while that is not known."""
    if description.connected or description.expiry_s == NEVER_EXPIRES_S:
        return 0
    return description.since_ms + description.expiry_s * 1_000


def _full_id(key: bytes, client_id: str) -> bytes:
    return encode_full_key(CLIENT_PREFIX + client_id) if is_short_form(key) else b""


def progress_in(snapshot: Snapshot, number: int) -> SessionProgress | None:
    """Return the progress of a session with all inbound identifiers, ``None`` without any.

    In that of a group, what its members have taken is done.

    Raises:
        FormatMismatch: A row is damaged.
    """
    row = snapshot.session_row(progress_name(number))
    if row is None:
        return None
    progress = decode_progress(row)
    inbound = set(progress.inbound)
    for name, each in snapshot.session_rows(*inbound_names(number)):
        mark = decode_mark(each)
        if mark.epoch != progress.epoch:
            continue  # of an owner that had lost the session by then
        (inbound.add if mark.is_received else inbound.discard)(packet_id_of(name))
    progress = msgspec.structs.replace(progress, inbound=tuple(sorted(inbound)))
    taken = {receipt_seq(name) for name, _ in snapshot.session_rows(*receipt_names(number))}
    return _without(progress, taken) if taken else progress


def _without(progress: SessionProgress, taken: set[int]) -> SessionProgress:
    done = {*progress.acknowledged, *(seq for seq in taken if seq > progress.position)}
    in_flight = tuple(one for one in progress.in_flight if one.seq not in taken)
    return msgspec.structs.replace(progress, acknowledged=tuple(sorted(done)), in_flight=in_flight)


def single_removals(snapshot: Snapshot, number: int) -> Rows:
    """Return what removes the rows of single inbound identifiers and receipts on disk."""
    ranges = inbound_names(number), receipt_names(number)
    return [(name, None) for each in ranges for name, _ in snapshot.session_rows(*each)]


def removal_of_rows(snapshot: Snapshot, number: int) -> Rows:
    """Return what removes all rows of a session."""
    return [
        (progress_name(number), None),
        (fence_name(number), None),
        *single_removals(snapshot, number),
    ]
