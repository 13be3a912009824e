"""The stored form of a record and of a grave: a header, then the body.

``>Q`` version, ``>Q`` last_seq, ``>H`` node, ``>H`` flags; then, each only with its flag,
``>Q`` created, ``>Q`` expires, ``>H`` length and full id, ``>I`` length and metadata;
then the body. A grave is a header without a body. Byte tables:
``docs/design/0001-stored-formats.md``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import msgspec

from lyredb.errors import InvalidRecord
from lyredb.storage.body import load_body as load_body
from lyredb.storage.body import pack_body as pack_body
from lyredb.storage.body import unpack_body as unpack_body

OPAQUE: Final = 0x01
"""The body is the payload as received; its content type is in the metadata."""
HAS_CREATED: Final = 0x02
"""The first write was an earlier version, which follows."""
HAS_EXPIRES: Final = 0x04
HAS_METADATA: Final = 0x08
HAS_FULL_ID: Final = 0x10
DELETED: Final = 0x20
"""Of a grave: there was a record, and the version is that of its end."""
MESSAGED: Final = 0x40
"""The last log entry of the key is a message, so it does not hold the record's image."""
BLOBS: Final = 0x200
"""The body refers to files."""
QOS_SHIFT: Final = 7
"""Two bits: with which quality of service the record was published, 0 to 2."""
_KNOWN: Final = 0x3FF
_PARTS: Final = HAS_CREATED | HAS_EXPIRES | HAS_METADATA | HAS_FULL_ID
_BEFORE_BODY: Final = _PARTS | OPAQUE
_NOT_PLAIN: Final = 0xFFFF & ~(OPAQUE | HAS_CREATED | DELETED | MESSAGED | 3 << QOS_SHIFT)
"""Flags that `history_of` leaves to `decode_header`."""

_FIXED: Final = struct.Struct(">QQHH")
_WITH_CREATED: Final = struct.Struct(">QQHHQ")
_U64: Final = struct.Struct(">Q")
_U32: Final = struct.Struct(">I")
_U16: Final = struct.Struct(">H")
FIXED_BYTES: Final = _FIXED.size
EMPTY_BODY: Final = b"\x80"


class RecordHeader(msgspec.Struct, frozen=True, gc=False):
    """The header of a record or grave.

    Attributes:
        version: Stamp of the last write.
        last_seq: Position of the key's last log entry, messages included.
        node: Where it was written, 0 for this node.
        flags: `OPAQUE`, `DELETED`, `MESSAGED` and the flags of the optional parts.
        created: Version of the first write since the record was last absent.
        expires_ms: Deadline in ms since 1970, 0 for none.
        metadata_bytes: A MessagePack map, or empty.
        full_id: The full key when the key is its 481-byte short form, else empty.
        body_offset: Where the body begins.
    """

    version: int
    last_seq: int
    node: int
    flags: int
    created: int
    expires_ms: int
    metadata_bytes: bytes
    full_id: bytes
    body_offset: int

    @property
    def opaque(self) -> bool:
        """The body is a payload, no MessagePack map."""
        return bool(self.flags & OPAQUE)

    @property
    def qos(self) -> int:
        """The quality of service of the write; retained messages are sent with it at most."""
        return self.flags >> QOS_SHIFT & 3

    @property
    def metadata(self) -> dict[str, object] | None:
        """The metadata map, decoded at each call, or ``None``."""
        return decode_metadata(self.metadata_bytes) if self.metadata_bytes else None

    def is_expired(self, now_ms: int) -> bool:
        """Tell whether the deadline has passed."""
        return 0 < self.expires_ms <= now_ms


_metadata_decoder: Final = msgspec.msgpack.Decoder(dict[str, object])


def decode_metadata(metadata: bytes) -> dict[str, object]:
    """Return a metadata map.

    Raises:
        InvalidRecord: The bytes are no MessagePack map with string keys.
    """
    try:
        return _metadata_decoder.decode(metadata)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRecord("the metadata is no MessagePack map") from error


def decode_header(stored: bytes) -> RecordHeader:
    """Return the header of a stored record or grave.

    Raises:
        InvalidRecord: The bytes are cut off or have unknown flags.
    """
    try:
        version, last_seq, node, flags = _FIXED.unpack_from(stored)
        if not flags & _PARTS:
            if flags & ~_KNOWN:
                raise InvalidRecord("the stored record has unknown flags")
            return RecordHeader(version, last_seq, node, flags, version, 0, b"", b"", FIXED_BYTES)
        return _decode_parts(stored, version, last_seq, node, flags)
    except struct.error as error:
        raise InvalidRecord("the stored record is cut off") from error


def _decode_parts(
    stored: bytes, version: int, last_seq: int, node: int, flags: int
) -> RecordHeader:
    if flags & ~_KNOWN:
        raise InvalidRecord("the stored record has unknown flags")
    at = FIXED_BYTES
    created, expires_ms, full_id, metadata = version, 0, b"", b""
    if flags & HAS_CREATED:
        created = _U64.unpack_from(stored, at)[0]
        at += 8
    if flags & HAS_EXPIRES:
        expires_ms = _U64.unpack_from(stored, at)[0]
        at += 8
    if flags & HAS_FULL_ID:
        end = at + 2 + _U16.unpack_from(stored, at)[0]
        full_id = stored[at + 2 : end]
        at = end
    if flags & HAS_METADATA:
        end = at + 4 + _U32.unpack_from(stored, at)[0]
        metadata = stored[at + 4 : end]
        at = end
    if at > len(stored):
        raise InvalidRecord("the stored record is cut off")
    return RecordHeader(version, last_seq, node, flags, created, expires_ms, metadata, full_id, at)


def encode_record(
    body: bytes,
    *,
    version: int,
    last_seq: int,
    node: int = 0,
    flags: int = 0,
    created: int = 0,
    expires_ms: int = 0,
    metadata: bytes = b"",
    full_id: bytes = b"",
) -> bytes:
    """Return the stored form of a record; of a grave when the body is empty.

    Args:
        body: A MessagePack map, or any payload with the flag `OPAQUE`.
        version: Stamp of this write.
        last_seq: Position of its log entry.
        node: 0 for this node, else its number in the node dictionary.
        flags: `OPAQUE`, `DELETED`, `MESSAGED`, `BLOBS`, the quality of service shifted by
            `QOS_SHIFT`; flags of the parts are set here.
        created: Version of the first write; 0 means this one.
        expires_ms: 0 for none.
        metadata: A MessagePack map, or empty.
        full_id: At most 65,535 bytes, only beside a short-form key.
    """
    parts = [b""]
    if created and created != version:
        flags |= HAS_CREATED
        parts.append(_U64.pack(created))
    if expires_ms:
        flags |= HAS_EXPIRES
        parts.append(_U64.pack(expires_ms))
    if full_id:
        flags |= HAS_FULL_ID
        parts.append(_U16.pack(len(full_id)) + full_id)
    if metadata:
        flags |= HAS_METADATA
        parts.append(_U32.pack(len(metadata)) + metadata)
    parts[0] = _FIXED.pack(version, last_seq, node, flags)
    parts.append(body)
    return b"".join(parts)


def encode_plain_record(
    body: bytes, version: int, last_seq: int, flags: int, created: int
) -> bytes:
    """Return what `encode_record` does for a record without deadline, metadata and full id.

    In a third of the time; most records have none of the three.
    """
    if created == version:
        return _FIXED.pack(version, last_seq, 0, flags) + body
    return _WITH_CREATED.pack(version, last_seq, 0, flags | HAS_CREATED, created) + body


def history_of(stored: bytes, now_ms: int) -> tuple[int, int, int]:
    """Return what a write that replaces a record needs of it, decoding no more than needed.

    Returns:
        Position of the last log entry; flags; version of the first write, 0 when the
        deadline has passed, so that there is no record any more.

    Raises:
        InvalidRecord: The bytes are cut off or have unknown flags.
    """
    try:
        version, last_seq, _, flags = _FIXED.unpack_from(stored)
        if not flags & _NOT_PLAIN:
            if not flags & HAS_CREATED:
                return last_seq, flags, version
            return last_seq, flags, _U64.unpack_from(stored, FIXED_BYTES)[0]
    except struct.error as error:
        raise InvalidRecord("the stored record is cut off") from error
    header = decode_header(stored)
    return last_seq, flags, 0 if header.is_expired(now_ms) else header.created


def with_last_seq(stored: bytes, last_seq: int, *, add_flags: int = 0) -> bytes:
    """Return the record or grave with another last_seq and flags added."""
    version, _, node, flags = _FIXED.unpack_from(stored)
    return _FIXED.pack(version, last_seq, node, flags | add_flags) + stored[FIXED_BYTES:]


def version_of(stored: bytes) -> int:
    """Return the version alone, without decoding the rest."""
    return int.from_bytes(stored[:8], "big")


def last_seq_of(stored: bytes) -> int:
    """Return the last_seq alone, without decoding the rest."""
    return int.from_bytes(stored[8:16], "big")


def body_offset_of(stored: bytes) -> int:
    """Return where the body begins, decoding no more of the header than needed."""
    parts = stored[19] & _PARTS
    if parts & ~HAS_CREATED:
        return decode_header(stored).body_offset
    return FIXED_BYTES + 8 if parts else FIXED_BYTES


def bodies_of(rows: Iterable[tuple[bytes, bytes]]) -> list[bytes] | None:
    """Return the bodies of stored keys and records; ``None`` when one of them is opaque."""
    bodies = []
    for _, stored in rows:
        flags = stored[19] & _BEFORE_BODY
        if not flags:  # the common case, without a call
            bodies.append(stored[FIXED_BYTES:])
        elif flags & OPAQUE:
            return None
        else:
            bodies.append(stored[body_offset_of(stored) :])
    return bodies


def has_files(stored: bytes) -> bool:
    """Tell whether the record refers to files."""
    return bool(stored[18] & BLOBS >> 8)


def has_deadline(stored: bytes) -> bool:
    """Tell whether the record goes away by itself."""
    return bool(stored[19] & HAS_EXPIRES)


def is_expired(stored: bytes, now_ms: int) -> bool:
    """Tell whether the record's deadline has passed, decoding no more than needed."""
    flags = stored[19]
    if not flags & HAS_EXPIRES:
        return False
    at = FIXED_BYTES + (8 if flags & HAS_CREATED else 0)
    return _U64.unpack_from(stored, at)[0] <= now_ms  # type: ignore[no-any-return]  # struct
