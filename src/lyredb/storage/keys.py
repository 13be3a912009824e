"""Record keys and index keys: bytes whose order is the order of the values.

A value is a tag byte and its content. Tags order the types: absent, null, false, true,
number, date, string, bytes, list, map. The forms are in
`docs/design/0001-stored-formats.md`.

* A number is the largest double that is not above it, eight bytes with flipped signs,
  then the remainder as an unsigned integer behind its length. So 2**53 and 2**53 + 1
  differ, and 1 and 1.0 are the same key.
* In a string or in bytes NUL is ``00 FF``; inside a list ``00`` ends the element.
* LMDB takes keys of at most 511 bytes. Up to 480 bytes are kept as they are; a longer
  record key is exactly 481 bytes (460 of the beginning, a mark, the length and a hash),
  a longer index value exactly 481 (480 of the beginning and a mark), so that neither
  can be taken for a short one.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from lyredb.errors import InvalidKey

if TYPE_CHECKING:
    from lyredb.storage.record import RecordHeader

KeyValue: TypeAlias = str | int | tuple[str | int, ...]
"""The id of a record. Lists are accepted where tuples are."""


class Absent(Enum):
    """The type of `ABSENT`: the record has no such attribute, unlike an explicit null."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT

TAG_ABSENT: Final = 0x00
TAG_NULL: Final = 0x10
TAG_FALSE: Final = 0x18
TAG_TRUE: Final = 0x19
TAG_NUMBER: Final = 0x20
TAG_DATE: Final = 0x28
TAG_STRING: Final = 0x30
TAG_BYTES: Final = 0x38
TAG_LIST: Final = 0x40
TAG_MAP: Final = 0x48
"""Maps have no order and no equality in an index: the reader looks at the record."""

LONGEST_NATURAL: Final = 480
SHORT_FORM_BYTES: Final = 481
KEY_PREFIX_BYTES: Final = 460
_MARK: Final = b"\xff"
_END: Final = b"\x00"
_TEXT: Final = bytes((TAG_STRING,))
_ESCAPED_NUL: Final = b"\x00\xff"
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_U64: Final = struct.Struct(">Q")
_DOUBLE: Final = struct.Struct(">d")
_NUMBER: Final = struct.Struct(">BQB")
_EXACT: Final = 1 << 53
"""Integers up to here are doubles."""


def encode_key(value: KeyValue | Sequence[str | int]) -> bytes:
    """Return the record key, at most 481 bytes, ordered as the ids are.

    Ids whose full form is longer than 480 bytes are ordered by their first 460 bytes.

    Raises:
        InvalidKey: The value is no string, integer or list of them, or an integer
            beyond the range of a double, or a string with a lone surrogate.
    """
    return shorten_key(encode_full_key(value))


def encode_full_key(value: KeyValue | Sequence[str | int]) -> bytes:
    """Return the key without a limit on its length; see `encode_key`."""
    if isinstance(value, str):
        return b"\x30" + _text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return b"\x40" + b"".join(_key_element(element) for element in value)
    raise InvalidKey(f"a key is a string, an integer or a list of them, not {_kind_of(value)}")


def shorten_key(full: bytes) -> bytes:
    """Return `full` itself up to 480 bytes, else its 481-byte short form."""
    if len(full) <= LONGEST_NATURAL:
        return full
    digest = hashlib.blake2b(full, digest_size=16).digest()
    return full[:KEY_PREFIX_BYTES] + _MARK + len(full).to_bytes(4, "big") + digest


def is_short_form(key: bytes) -> bool:
    """Tell whether the full id stands in the record, not in the key."""
    return len(key) == SHORT_FORM_BYTES


def decode_key(key: bytes) -> KeyValue:
    """Return the id of a full record key (of any length but not of a short form).

    Raises:
        InvalidKey: The bytes are no record key.
    """
    if key[:1] == _TEXT and _END not in key:  # most are texts without NUL
        try:
            return key[1:].decode()
        except UnicodeDecodeError as error:
            raise InvalidKey("the stored key is damaged") from error
    try:
        value, end = _decode_value(key + _END, 0)
    except (IndexError, ValueError, struct.error) as error:
        raise InvalidKey("the stored key is damaged") from error
    natural = end == (len(key) if key[0] == TAG_NUMBER else len(key) + 1)
    if not natural or not _is_key(value):
        raise InvalidKey("the stored key is damaged")
    return cast("KeyValue", value)


def record_key(key: bytes, header: RecordHeader) -> KeyValue:
    """Return the id of a stored record or grave from its key and its header."""
    return decode_key(header.full_id or key)


def encode_index_value(value: object) -> bytes:
    """Return the index key of one value, at most 481 bytes.

    A result of 481 bytes was cut: equal results do not prove equal values. Lists are
    encoded as lists; to index their elements see `index_entries`.

    Raises:
        InvalidKey: The value cannot be indexed (not finite, without time zone, unknown).
    """
    full = _encode_whole(value)
    return full if len(full) <= LONGEST_NATURAL else full[:LONGEST_NATURAL] + _MARK


def is_cut(encoded: bytes) -> bool:
    """Tell whether an index value was cut, so that the record must be looked at."""
    return len(encoded) == SHORT_FORM_BYTES


def encode_ordered(value: object) -> bytes:
    """Return bytes of any length whose order is the order of the values.

    No value's are the beginning of another's, so that several can be joined.

    Raises:
        InvalidKey: As `encode_index_value`.
    """
    return _element(value)


def number_of(encoded: bytes) -> float:
    """Return the double in the index key of a number: the number, or just below it."""
    ordered = _U64.unpack_from(encoded, 1)[0]
    bits = ordered ^ _SIGN if ordered & _SIGN else ordered ^ _ALL
    return _DOUBLE.unpack(_U64.pack(bits))[0]  # type: ignore[no-any-return]  # struct


def index_entries(value: object) -> list[bytes]:
    """Return the index keys of an attribute: one, or one per distinct list element.

    An empty list stands in the index as the empty list, so that every record is found
    in each index of its table.
    """
    if isinstance(value, (list, tuple)) and value:
        return list(dict.fromkeys(encode_index_value(element) for element in value))
    return [encode_index_value(value)]


def _encode_whole(value: object) -> bytes:
    if isinstance(value, (list, tuple)):
        return b"\x40" + b"".join(_element(item) for item in value)
    encoded = _element(value)
    return encoded[:-1] if encoded[0] in (TAG_STRING, TAG_BYTES) else encoded


def _element(value: object) -> bytes:
    """Encode a value so that its end can be seen from its bytes."""
    if isinstance(value, str):
        return b"\x30" + _text(value) + _END
    if value is ABSENT:
        return b"\x00"
    if value is None:
        return b"\x10"
    if isinstance(value, bool):
        return b"\x19" if value else b"\x18"
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, datetime):
        return _date(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b"\x38" + bytes(value).replace(b"\x00", _ESCAPED_NUL) + _END
    if isinstance(value, (list, tuple)):
        return b"\x40" + b"".join(_element(item) for item in value) + _END
    if isinstance(value, dict):
        return b"\x48"
    raise InvalidKey(f"a value of type {_kind_of(value)} cannot be indexed")


def _key_element(value: object) -> bytes:
    if isinstance(value, str):
        return b"\x30" + _text(value) + _END
    if isinstance(value, int) and not isinstance(value, bool):
        return _number(value)
    raise InvalidKey(f"a list key has strings and integers, not {_kind_of(value)}")


def _text(value: str) -> bytes:
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidKey("a string key must be valid Unicode") from error
    return encoded.replace(b"\x00", _ESCAPED_NUL) if b"\x00" in encoded else encoded


def _number(value: float) -> bytes:
    if type(value) is float or -_EXACT <= value <= _EXACT:  # the common case: no remainder
        return _NUMBER.pack(TAG_NUMBER, _ordered(float(value)), 0)
    try:
        double = float(value)
    except OverflowError as error:
        raise InvalidKey("an integer must be within the range of a double") from error
    if int(double) > value:
        double = math.nextafter(double, -math.inf)
    remainder = int(value) - int(double)
    size = (remainder.bit_length() + 7) // 8
    return _NUMBER.pack(TAG_NUMBER, _ordered(double), size) + remainder.to_bytes(size, "big")


def _ordered(double: float) -> int:
    """Return the bits of a finite double such that their order is that of the values."""
    if not math.isfinite(double):
        raise InvalidKey("a number must be finite")
    bits: int = _U64.unpack(_DOUBLE.pack(double + 0.0))[0]  # + 0.0 makes -0.0 the zero
    return bits ^ _ALL if bits & _SIGN else bits | _SIGN


def _date(value: datetime) -> bytes:
    if value.tzinfo is None:
        raise InvalidKey("a date must have a time zone")
    microseconds = (value - _EPOCH) // _MICROSECOND
    return b"\x28" + _U64.pack(microseconds + _SIGN)


def _decode_value(data: bytes, at: int) -> tuple[object, int]:
    tag = data[at]
    if tag == TAG_STRING:
        end = _end_of_text(data, at + 1)
        return data[at + 1 : end].replace(_ESCAPED_NUL, b"\x00").decode(), end + 1
    if tag == TAG_NUMBER:
        return _decode_number(data, at + 1)
    if tag != TAG_LIST:
        raise ValueError("no tag of a record key")
    elements: list[object] = []
    at += 1
    while data[at]:
        element, at = _decode_value(data, at)
        elements.append(element)
    return tuple(elements), at + 1


def _end_of_text(data: bytes, at: int) -> int:
    while True:
        at = data.index(b"\x00", at)
        if data[at : at + 2] != _ESCAPED_NUL:
            return at
        at += 2


def _decode_number(data: bytes, at: int) -> tuple[int, int]:
    ordered = _U64.unpack_from(data, at)[0]
    bits = ordered ^ _SIGN if ordered & _SIGN else ordered ^ _ALL
    double = _DOUBLE.unpack(_U64.pack(bits))[0]
    size = data[at + 8]
    end = at + 9 + size
    if end > len(data) or not math.isfinite(double) or double != int(double):
        raise ValueError("no integer")
    return int(double) + int.from_bytes(data[at + 9 : end], "big"), end


def _is_key(value: object) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(element, (str, int)) for element in value)
    return isinstance(value, (str, int))


def _kind_of(value: object) -> str:
    return "null" if value is None else type(value).__name__
