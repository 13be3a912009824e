"""Blobs in a record's body: a reference to a file, or bytes with a content type.

Extension type 2 of the body, whose data is a MessagePack array: ``[content type, bytes]``
for what stands in the record, ``[content type, size, id]`` for what stands in a file. Text
and bytes without a content type of their own are plain strings and bytes, not this.

What is read is a mapping, so that everybody who handles values can handle it: conditions
on ``picture.size`` work, and every format can show it. What is written is a `PackedBlob`,
which nobody but the check of an attribute of type Blob makes: a mapping that looks like one
is data anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

BLOB: Final = 2
"""Extension code."""
ID_BYTES: Final = 16
REFERENCE: Final = "blob"
"""In what is shown of a file: its id, 32 hexadecimal digits."""
CONTENT_TYPE: Final = "contentType"
DATA: Final = "data"
SIZE: Final = "size"
LONGEST_TYPE: Final = 255
"""Of a content type, in characters."""


class StoredBlob(dict[str, object]):
    """What was read of a blob that is more than text or bytes.

    In the record: ``contentType`` and ``data``. In a file: ``contentType``, ``size`` and
    ``blob``, its id.
    """

    __slots__ = ()

    @property
    def packed(self) -> PackedBlob:
        """The same, as it is written."""
        packed = packed_of(self)
        assert packed is not None, "it was decoded from one"
        return packed


class PackedBlob(msgspec.Struct, frozen=True):
    """A blob as it goes into a body.

    Attributes:
        content_type: As it was sent, printable ASCII.
        data: When it stands in the record.
        id: Of its file, 16 bytes; empty when it stands in the record.
        size: Of its file, in bytes.
    """

    content_type: str
    data: bytes = b""
    id: bytes = b""
    size: int = 0

    def encode(self) -> msgspec.msgpack.Ext:
        """Return its form in a body."""
        row: tuple[object, ...] = (self.content_type, self.data)
        if self.id:
            row = (self.content_type, self.size, self.id)
        return msgspec.msgpack.Ext(BLOB, _encoder.encode(row))


_encoder: Final = msgspec.msgpack.Encoder()
_rows: Final = msgspec.msgpack.Decoder(tuple[object, ...])


def decode_blob(data: memoryview) -> StoredBlob:
    """Return the value of extension type 2.

    Raises:
        ValueError: It is none.
    """
    row = _rows.decode(data)
    match row:
        case (str() as kind, bytes() as content):
            return StoredBlob({CONTENT_TYPE: kind, DATA: content})
        case (str() as kind, int() as size, bytes() as id) if len(id) == ID_BYTES:
            return StoredBlob({CONTENT_TYPE: kind, SIZE: size, REFERENCE: id.hex()})
    raise ValueError("the blob in the body is damaged")


def packed_of(shown: Mapping[str, object]) -> PackedBlob | None:
    """Return the reference or the bytes that a mapping shows, ``None`` when it shows neither."""
    match shown:
        case {"contentType": str() as kind, "size": int() as size, "blob": str() as text}:
            try:
                id = bytes.fromhex(text)
            except ValueError:
                return None
            if len(id) != ID_BYTES or size < 0 or size is True or not is_type(kind):
                return None
            return PackedBlob(kind, id=id, size=size)
        case {"contentType": str() as kind, "data": bytes() as data} if is_type(kind):
            return PackedBlob(kind, data)
    return None


def is_type(text: str) -> bool:
    """Tell whether a content type may stand in a header, and so be kept."""
    return 0 < len(text) <= LONGEST_TYPE and text.isascii() and text.isprintable()


def files_in(body: Mapping[str, object]) -> frozenset[PackedBlob]:
    """Return the references to files in a body; they stand at its top level only."""
    return frozenset(
        value.packed for value in body.values() if type(value) is StoredBlob and REFERENCE in value
    )


def has_blob(body: Mapping[str, object]) -> bool:
    """Tell whether extension type 2 stands at the top level of a body."""
    return any(type(value) is StoredBlob for value in body.values())
