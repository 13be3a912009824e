"""Entries of messages, made and read without an `Entry`: the hot path of the log.

Their bytes are those of `lyredb.storage.entry`.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from lyredb.errors import FormatMismatch
from lyredb.storage.entry import (
    ENTRY_FORMAT,
    FIXED,
    HAS_EXPIRES,
    HAS_FULL_ID,
    HAS_METADATA,
    HAS_ORIGIN,
    HAS_PAYLOAD,
    HAS_SESSION,
    HAS_USER,
    LAST,
    NOT_IN_MESSAGES,
)
from lyredb.storage.mutation import Mutation

_U64: Final = struct.Struct(">Q")
_U32: Final = struct.Struct(">I")
_U16: Final = struct.Struct(">H")


def encode_message(
    mutation: Mutation, flags: int, local_ms: int, version: int, prev_seq: int, index: int
) -> bytes:
    """Return what `encode_entry` does for the entry of a message, in a third of the time.

    Args:
        mutation: Of the kind MESSAGE.
        flags: Without those of the parts.
        local_ms: As in `Entry`.
        version: As in `Entry`.
        prev_seq: As in `Entry`.
        index: As in `Entry`.
    """
    slot, key, payload = mutation.slot, mutation.key, mutation.body
    more, parts = _parts_of(mutation)
    flags |= more
    if payload:
        flags |= HAS_PAYLOAD
        parts += _U32.pack(len(payload)) + payload
    fixed = FIXED.pack(
        ENTRY_FORMAT, 4, flags, 0, slot, 0, local_ms, version, prev_seq, index, 0, len(key)
    )
    return fixed + key + parts


def encode_run(
    mutation: Mutation,
    flags: int,
    local_ms: int,
    version: int,
    prev_seq: int,
    index: int,
    *,
    seq: int,
) -> list[bytes]:
    """Return what `encode_message` does for a message, and for each of its ``more`` behind it.

    Args:
        mutation: Of the kind MESSAGE.
        flags: As there; all of them get these, but LAST is for the last one.
        local_ms: As there.
        version: As there, of the first.
        prev_seq: As there, of the first.
        index: As there, of the first.
        seq: The position of the first.
    """
    slot, key = mutation.slot, mutation.key
    more, parts = _parts_of(mutation)
    last = index + len(mutation.more) if flags & LAST else -1
    flags = (flags | more) & ~LAST
    parts = key + parts
    size, pack, pack_size = len(key), FIXED.pack, _U32.pack
    rows: list[bytes] = []
    for payload in (mutation.body, *mutation.more):
        its, rest = flags | LAST if index == last else flags, parts
        if payload:
            its |= HAS_PAYLOAD
            rest = parts + pack_size(len(payload)) + payload
        fixed = pack(ENTRY_FORMAT, 4, its, 0, slot, 0, local_ms, version, prev_seq, index, 0, size)
        rows.append(fixed + rest)
        if key:  # the root topic of a table has no chain
            prev_seq = seq
        seq += 1
        version += 1
        index += 1
    return rows


def _parts_of(mutation: Mutation) -> tuple[int, bytes]:
    """Return what a message's entry has between key and payload, and the flags for it."""
    flags, parts = 0, b""
    if mutation.session:
        flags = HAS_SESSION
        parts = _U64.pack(mutation.session)
    if mutation.expires_ms:
        flags |= HAS_EXPIRES
        parts += _U64.pack(mutation.expires_ms)
    if mutation.user:
        flags |= HAS_USER
        user = mutation.user.encode()
        parts += _U16.pack(len(user)) + user
    if mutation.full_id:
        flags |= HAS_FULL_ID
        parts += _U16.pack(len(mutation.full_id)) + mutation.full_id
    if mutation.metadata:
        flags |= HAS_METADATA
        parts += _U32.pack(len(mutation.metadata)) + mutation.metadata
    return flags, parts


class MessageEntry(NamedTuple):
    """What of a message's entry is told; see `Entry`."""

    flags: int
    local_ms: int
    version: int
    session: int
    expires_ms: int
    metadata: bytes
    payload: bytes


def decode_message(seq: int, stored: bytes) -> MessageEntry:
    """Return what is told of the entry of a message, in half of the time of `decode_entry`.

    Raises:
        FormatMismatch: As `decode_entry`.
    """
    try:
        form, _, flags, _, _, _, ms, version, _, _, image_bytes, size = FIXED.unpack_from(stored)
        if form != ENTRY_FORMAT or flags & NOT_IN_MESSAGES:
            raise FormatMismatch(f"log entry {seq} has a format that this version cannot read")
        at = FIXED.size + size
        session = expires_ms = 0
        if flags & HAS_ORIGIN:
            at += 8
        if flags & HAS_SESSION:
            session = _U64.unpack_from(stored, at)[0]
            at += 8
        if flags & HAS_EXPIRES:
            expires_ms = _U64.unpack_from(stored, at)[0]
            at += 8
        if flags & HAS_USER:
            at += 2 + _U16.unpack_from(stored, at)[0]
        if flags & HAS_FULL_ID:
            at += 2 + _U16.unpack_from(stored, at)[0]
        metadata = payload = b""
        if flags & HAS_METADATA:
            end = at + 4 + _U32.unpack_from(stored, at)[0]
            metadata = stored[at + 4 : end]
            at = end
        if flags & HAS_PAYLOAD:
            end = at + 4 + _U32.unpack_from(stored, at)[0]
            payload = stored[at + 4 : end]
            at = end
    except struct.error as error:
        raise FormatMismatch(f"log entry {seq} is damaged") from error
    if at + image_bytes != len(stored):
        raise FormatMismatch(f"log entry {seq} is cut off")
    return MessageEntry(flags, ms, version, session, expires_ms, metadata, payload)
