"""The body of a record: a MessagePack map of attributes.

Three extension types: −1 is an aware datetime (MessagePack's own timestamp), 1 is an
integer beyond 64 bits (two's complement, big-endian, as short as possible), 2 a blob. What goes in
is nested at most 64 deep and has finite numbers only; what comes out was checked on its
way in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from lyredb.errors import InvalidRecord
from lyredb.storage.blob import BLOB, PackedBlob, decode_blob

MAX_DEPTH: Final = 64
BIG_INTEGER: Final = 1
"""Extension code of an integer beyond 64 bits."""
_BIGGEST: Final = int(1.7976931348623157e308)
_LEAVES: Final = frozenset((str, int, bool, type(None), bytes))

_encoder: Final = msgspec.msgpack.Encoder()


def decode_extension(code: int, data: memoryview) -> object:
    """Return the value of an extension type; the hook of every decoder of bodies.

    Raises:
        ValueError: The code is unknown.
    """
    if code == BIG_INTEGER and 0 < len(data) <= 129:
        return int.from_bytes(data, "big", signed=True)
    if code == BLOB:
        return decode_blob(data)
    raise ValueError(f"unknown MessagePack extension {code}")


_decoder: Final = msgspec.msgpack.Decoder(dict[str, object], ext_hook=decode_extension)


def pack_body(record: Mapping[str, object]) -> bytes:
    """Return the body of a record.

    Args:
        record: Values are None, bool, int, finite float, str, bytes, aware datetime,
            `PackedBlob`, and lists and dicts of them; at most 64 levels, the record being
            the first.

    Raises:
        InvalidRecord: A value is none of these.
    """
    big = _check(record, 1)
    try:
        return _encoder.encode(_with_extensions(record) if big else record)
    except (UnicodeEncodeError, TypeError) as error:
        raise InvalidRecord("a string must be valid Unicode") from error


def pack_value(value: object) -> bytes:
    """Return one value as `pack_body` would pack it inside a record."""
    big = _check(value, 1)
    return _encoder.encode(_with_extensions(value) if big else value)


def unpack_body(body: bytes) -> dict[str, object]:
    """Return the attributes of a body that nobody has checked yet.

    Raises:
        InvalidRecord: No MessagePack map with string keys, nested deeper than 64,
            a number that is not finite, or an unknown extension.
    """
    record = load_body(body)
    _check(record, 1)
    return record


def load_body(body: bytes) -> dict[str, object]:
    """Return the attributes of a stored body, whose values were checked on the way in.

    Raises:
        InvalidRecord: The bytes are damaged.
    """
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, OverflowError, ValueError) as error:
        raise InvalidRecord("the body is no MessagePack map of attributes") from error


def load_bodies(bodies: Iterable[bytes]) -> list[dict[str, object]]:
    """Return what `load_body` does of each."""
    decode = _decoder.decode
    try:
        return [decode(body) for body in bodies]
    except (msgspec.DecodeError, RecursionError, OverflowError, ValueError) as error:
        raise InvalidRecord("the body is no MessagePack map of attributes") from error


def _check(value: object, depth: int) -> bool:
    """Refuse what a body cannot hold; tell whether something needs an extension type of ours."""
    if depth > MAX_DEPTH:
        raise InvalidRecord(f"values may be nested at most {MAX_DEPTH} deep")
    big = False
    if type(value) is dict or isinstance(value, Mapping):
        for name, item in value.items():
            if type(name) is not str:
                raise InvalidRecord("names of attributes must be strings")
            kind = type(item)
            if kind is str or (kind is int and -(1 << 63) <= item < 1 << 64):
                continue  # the common cases, without a call
            big |= _check_item(item, depth)
    elif isinstance(value, (list, tuple)):
        for item in value:
            big |= _check_item(item, depth)
    else:
        big = _check_leaf(value)
    return big


def _check_item(item: object, depth: int) -> bool:
    kind = type(item)
    if kind in _LEAVES:  # the common case, without a further call
        return kind is int and _is_big(item)  # type: ignore[arg-type]  # it is one
    if kind is float and math.isfinite(item):  # type: ignore[arg-type]  # it is one
        return False
    if isinstance(item, (Mapping, list, tuple)):
        return _check(item, depth + 1)
    return _check_leaf(item)


def _check_leaf(value: object) -> bool:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidRecord("numbers must be finite")
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidRecord("a date must have a time zone")
    elif isinstance(value, int):
        return _is_big(value)
    elif isinstance(value, PackedBlob):
        return True
    elif value is not None and not isinstance(value, (str, bytes)):
        raise InvalidRecord(f"a record cannot hold a value of type {type(value).__name__}")
    return False


def _is_big(value: int) -> bool:
    if -(1 << 63) <= value < (1 << 64):
        return False
    if abs(value) > _BIGGEST:
        raise InvalidRecord("an integer must be within the range of a double")
    return True


def _with_extensions(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _with_extensions(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_extensions(item) for item in value]
    if isinstance(value, PackedBlob):
        return value.encode()
    if isinstance(value, int) and not -(1 << 63) <= value < (1 << 64):
        size = value.bit_length() // 8 + 1
        return msgspec.msgpack.Ext(BIG_INTEGER, value.to_bytes(size, "big", signed=True))
    return value
