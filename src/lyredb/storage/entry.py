"""One entry of the log: what happened to one key, with its images.

The key of a row is the position (``>Q``). The value is a fixed header, the key, the
optional parts announced by the flags, and the after-image as the rest. The first byte
is the format, so that entries of an older format can be read beside newer ones. Byte
table: ``docs/design/0001-stored-formats.md``.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from lyredb.errors import FormatMismatch
from lyredb.storage.mutation import PUT, DeleteReason, Kind, Mutation

ENTRY_FORMAT: Final = 1

LAST: Final = 0x0001
"""The last entry of its transaction."""
HAS_BEFORE: Final = 0x0002
HAS_OPERATIONS: Final = 0x0004
RETAIN: Final = 0x0008
QOS_SHIFT: Final = 4
"""Two bits: the QoS of the write or message."""
HAS_PAYLOAD: Final = 0x0040
HAS_METADATA: Final = 0x0080
HAS_ORIGIN: Final = 0x0100
HAS_SESSION: Final = 0x0200
HAS_EXPIRES: Final = 0x0400
HAS_USER: Final = 0x0800
HAS_FULL_ID: Final = 0x1000
EXISTED: Final = 0x2000
"""A record was stored before (live or past its deadline)."""
_KNOWN: Final = 0x3FFF
NOT_IN_MESSAGES: Final = ~_KNOWN | HAS_BEFORE | HAS_OPERATIONS
"""What the entry of a message never has, and what nobody knows."""
_PARTS: Final = (
    HAS_BEFORE
    | HAS_OPERATIONS
    | HAS_PAYLOAD
    | HAS_METADATA
    | HAS_ORIGIN
    | HAS_SESSION
    | HAS_EXPIRES
    | HAS_USER
    | HAS_FULL_ID
)

FIXED: Final = struct.Struct(">BBHBHHQQQIIH")
"""Format, kind, flags, reason, slot, node, local_ms, version, prev_seq, index, lengths of image
and key."""
_HEAD: Final = struct.Struct(">xB3xH34xH")
"""Of `FIXED`: kind, slot, and size of the key."""
_U64: Final = struct.Struct(">Q")
_U32: Final = struct.Struct(">I")
_U16: Final = struct.Struct(">H")
_KINDS: Final = {int(kind): kind for kind in Kind}
_REASONS: Final = {int(reason): reason for reason in DeleteReason}


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry of the log.

    Attributes:
        seq: Its position.
        kind: What happened.
        flags: As stored; see the properties.
        delete_reason: Why, for a delete or an invalidation.
        slot: The table.
        node: Where it was made, 0 for this node.
        local_ms: The wall clock of this node at the commit; for people.
        version: The stamp. It grows with seq for the entries made here.
        prev_seq: Position of the key's entry before this one, 0 when there is none.
        index: Place in its transaction, from 0.
        key: The record key.
        image: The record as stored after a put or patch, else empty.
        before: The record as stored before, if it is inlined, else empty.
        operations: Of a patch: a MessagePack array of the map of attributes it set and the
            map of numbers it added; else empty.
        payload: What a message or a schema or access entry carries.
        metadata: Of a message: a MessagePack map, or empty.
        origin_seq: The sequence at the node where it was made, 0 for this node.
        session: Origin session for no-local, 0 for none.
        expires_ms: Deadline in ms since 1970, 0 for none.
        user: Who, or empty.
        full_id: The full key beside a short-form key, else empty.
    """

    seq: int
    kind: Kind
    flags: int
    delete_reason: DeleteReason
    slot: int
    node: int
    local_ms: int
    version: int
    prev_seq: int
    index: int
    key: bytes
    image: bytes = b""
    before: bytes = b""
    operations: bytes = b""
    payload: bytes = b""
    metadata: bytes = b""
    origin_seq: int = 0
    session: int = 0
    expires_ms: int = 0
    user: str = ""
    full_id: bytes = b""

    @property
    def is_last(self) -> bool:
        """The last entry of its transaction."""
        return bool(self.flags & LAST)

    @property
    def retain(self) -> bool:
        """The write came as a retained message."""
        return bool(self.flags & RETAIN)

    @property
    def qos(self) -> int:
        """The QoS of the write or message, 0 to 2."""
        return self.flags >> QOS_SHIFT & 3

    @property
    def existed(self) -> bool:
        """A record was stored before this entry."""
        return bool(self.flags & EXISTED)

    @property
    def changes_record(self) -> bool:
        """The entry says what the record is from here on: an image or none."""
        return self.kind <= Kind.DELETE or self.kind is Kind.INVALIDATE


def encode_entry(entry: Entry) -> bytes:
    """Return the stored form; the flags of the parts are set from the parts."""
    flags = entry.flags & ~_PARTS
    parts = [b"", entry.key]
    if entry.origin_seq:
        flags |= HAS_ORIGIN
        parts.append(_U64.pack(entry.origin_seq))
    if entry.session:
        flags |= HAS_SESSION
        parts.append(_U64.pack(entry.session))
    if entry.expires_ms:
        flags |= HAS_EXPIRES
        parts.append(_U64.pack(entry.expires_ms))
    if entry.user:
        flags |= HAS_USER
        user = entry.user.encode()
        parts += (_U16.pack(len(user)), user)
    if entry.full_id:
        flags |= HAS_FULL_ID
        parts += (_U16.pack(len(entry.full_id)), entry.full_id)
    for flag, part in (
        (HAS_BEFORE, entry.before),
        (HAS_OPERATIONS, entry.operations),
        (HAS_METADATA, entry.metadata),
        (HAS_PAYLOAD, entry.payload),
    ):
        if part:
            flags |= flag
            parts += (_U32.pack(len(part)), part)
    parts[0] = FIXED.pack(
        ENTRY_FORMAT,
        entry.kind,
        flags,
        entry.delete_reason,
        entry.slot,
        entry.node,
        entry.local_ms,
        entry.version,
        entry.prev_seq,
        entry.index,
        len(entry.image),
        len(entry.key),
    )
    parts.append(entry.image)
    return b"".join(parts)


def encode_plain_put(
    mutation: Mutation,
    flags: int,
    local_ms: int,
    version: int,
    prev_seq: int,
    image: bytes,
    before: bytes,
) -> bytes:
    """Return what `encode_entry` does for the entry of a put alone in its transaction.

    In half of the time that an `Entry` and its encoding take.

    Args:
        mutation: Has neither deadline nor full id.
        flags: Without those of the parts.
        local_ms: As in `Entry`.
        version: As in `Entry`.
        prev_seq: As in `Entry`.
        image: As in `Entry`.
        before: As in `Entry`.
    """
    parts = b""
    if mutation.session:
        flags |= HAS_SESSION
        parts = _U64.pack(mutation.session)
    if mutation.user:
        flags |= HAS_USER
        user = mutation.user.encode()
        parts += _U16.pack(len(user)) + user
    if before:
        flags |= HAS_BEFORE
        parts += _U32.pack(len(before)) + before
    key = mutation.key
    fixed = FIXED.pack(
        ENTRY_FORMAT,
        PUT,
        flags,
        DeleteReason.NONE,
        mutation.slot,
        0,
        local_ms,
        version,
        prev_seq,
        0,
        len(image),
        len(key),
    )
    return fixed + key + parts + image


def decode_entry(seq: int, stored: bytes) -> Entry:
    """Return the entry at position `seq`.

    Raises:
        FormatMismatch: The bytes are of an unknown format, cut off or damaged.
    """
    try:
        (
            form,
            kind,
            flags,
            reason,
            slot,
            node,
            ms,
            version,
            prev,
            index,
            image_bytes,
            size,
        ) = FIXED.unpack_from(stored)
        if form != ENTRY_FORMAT or flags & ~_KNOWN:
            raise FormatMismatch(f"log entry {seq} has a format that this version cannot read")
        at = FIXED.size + size
        image_at = len(stored) - image_bytes
        fixed = (
            seq,
            _KINDS[kind],
            flags,
            _REASONS[reason],
            slot,
            node,
            ms,
            version,
            prev,
            index,
            stored[FIXED.size : at],
        )
        if flags & _PARTS:
            return _decode_parts(fixed, stored, at, image_at)
        if at != image_at:
            raise FormatMismatch(f"log entry {seq} is cut off")
        return Entry(*fixed, stored[at:])
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise FormatMismatch(f"log entry {seq} is damaged") from error


_Fixed = tuple[int, Kind, int, DeleteReason, int, int, int, int, int, int, bytes]


def _decode_parts(fixed: _Fixed, stored: bytes, at: int, image_at: int) -> Entry:
    seq, flags = fixed[0], fixed[2]
    origin_seq = session = expires_ms = 0
    if flags & HAS_ORIGIN:
        origin_seq = _U64.unpack_from(stored, at)[0]
        at += 8
    if flags & HAS_SESSION:
        session = _U64.unpack_from(stored, at)[0]
        at += 8
    if flags & HAS_EXPIRES:
        expires_ms = _U64.unpack_from(stored, at)[0]
        at += 8
    short: list[bytes] = []
    for flag in (HAS_USER, HAS_FULL_ID):
        end = at + 2 + _U16.unpack_from(stored, at)[0] if flags & flag else at
        short.append(stored[at + 2 : end])
        at = end
    long: list[bytes] = []
    for flag in (HAS_BEFORE, HAS_OPERATIONS, HAS_METADATA, HAS_PAYLOAD):
        end = at + 4 + _U32.unpack_from(stored, at)[0] if flags & flag else at
        long.append(stored[at + 4 : end])
        at = end
    if at != image_at:
        raise FormatMismatch(f"log entry {seq} is cut off")
    before, operations, metadata, payload = long
    return Entry(
        *fixed,
        stored[at:],
        before,
        operations,
        payload,
        metadata,
        origin_seq,
        session,
        expires_ms,
        short[0].decode(),
        short[1],
    )


def address_of(stored: bytes) -> tuple[int, bytes]:
    """Return slot and key alone, for what indexes the log."""
    return head_of(stored)[1]


def head_of(stored: bytes) -> tuple[int, tuple[int, bytes]]:
    """Return the number of the kind, and slot and key, for what passes most entries by."""
    kind, slot, size = _HEAD.unpack_from(stored)
    return kind, (slot, stored[FIXED.size : FIXED.size + size])


def version_of(stored: bytes) -> int:
    """Return the version alone, for what looks for a time in the log."""
    return int.from_bytes(stored[17:25], "big")
