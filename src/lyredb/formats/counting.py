"""How many values a body stands for, counted before anything is made of it.

A decoder makes an object of each value, and the smallest take a byte or two of a body and 50
to 230 bytes of memory: four megabytes of ``[]`` would be a quarter of a gigabyte. So a body
that is long enough to matter is walked once, without decoding, and refused when there are
more than `MAX_VALUES`; the walk ends there too. Keys count as values, since they cost as much.
"""

from __future__ import annotations

import re
from typing import Final

from lyredb.errors import InvalidBody

MAX_VALUES: Final = 150_000
"""Values and keys of one body. As objects they take 16 MB at most, and to decode, check, encode
and write them takes 0.08 s, of all processes together. A megabyte of numbers of six digits
fits."""

_BETWEEN_VALUES: Final = re.compile(rb'[,:]|"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
"""What tells values apart, or a string, in which it does not."""


def check_json_count(data: bytes) -> None:
    """Refuse JSON with too many values.

    Raises:
        InvalidBody: It has more than `MAX_VALUES`.
    """
    # Each value but the first is behind a comma or a colon; more of them may be in strings.
    if len(data) <= MAX_VALUES or data.count(b",") + data.count(b":") < MAX_VALUES:
        return
    left = 2 * MAX_VALUES  # strings are met too, each is a value at most once
    between = 0
    for found in _BETWEEN_VALUES.finditer(data):
        left -= 1
        if data[found.start()] != 0x22:
            between += 1
        if not left or between >= MAX_VALUES:
            raise _too_many()


def check_msgpack_count(data: bytes) -> None:
    """Refuse MessagePack with too many values; what is no MessagePack is not found here.

    Raises:
        InvalidBody: It has more than `MAX_VALUES`.
    """
    _check_heads(data, _MSGPACK_SIZES, _MSGPACK_LENGTHS)


def msgpack_values(data: bytes) -> int:
    """Count the values of MessagePack that stand one after the other, not what is in them.

    What is no MessagePack is not found here; a value that is cut off counts.
    """
    at, end, found, inside = 0, len(data), 0, 0
    while at < end:
        code = data[at]
        found += not inside
        inside = max(0, inside - 1) + _children(data, at)
        width = _MSGPACK_LENGTHS[code]
        if width:
            at += int.from_bytes(data[at + 1 : at + 1 + width], "big")
        at += _MSGPACK_SIZES[code]
    return found


def _children(data: bytes, at: int) -> int:
    """How many values and names the value that begins there has in it."""
    code = data[at]
    if code < 0x80 or 0xA0 <= code < 0xDC or code > 0xDF:
        return 0
    if code < 0xA0:
        return (code & 15) << (code < 0x90)
    count = int.from_bytes(data[at + 1 : at + (3 if code in (0xDC, 0xDE) else 5)], "big")
    return count << (code >= 0xDE)


def check_cbor_count(data: bytes) -> None:
    """Refuse CBOR with too many values; what is no CBOR is not found here.

    Raises:
        InvalidBody: It has more than `MAX_VALUES`.
    """
    _check_heads(data, _CBOR_SIZES, _CBOR_LENGTHS)


def _check_heads(data: bytes, sizes: tuple[int, ...], lengths: tuple[int, ...]) -> None:
    """Go from head to head, each of which says how far it is to the next.

    Args:
        data: Of a format in which each value begins with such a byte.
        sizes: How far, by the first byte.
        lengths: How many bytes behind it hold a further distance.
    """
    at, end, left = 0, len(data), MAX_VALUES
    if end <= left:
        return
    while at < end:
        code = data[at]
        width = lengths[code]
        if width:
            at += int.from_bytes(data[at + 1 : at + 1 + width], "big")
        at += sizes[code]
        left -= 1
        if left < 0:
            raise _too_many()


def _too_many() -> InvalidBody:
    return InvalidBody(f"a body has at most {MAX_VALUES} values and names")


def _msgpack_tables() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Bytes of a value without its content, and of the length of that, by first byte."""
    sizes, lengths = [1] * 256, [0] * 256
    for code in range(0xA0, 0xC0):
        sizes[code] = 1 + (code & 31)
    for first, extra in ((0xC4, 0), (0xC7, 1), (0xD9, 0)):  # bin, ext, str: 8, 16, 32 bits
        for step, width in enumerate((1, 2, 4)):
            sizes[first + step] = 1 + width + extra
            lengths[first + step] = width
    fixed = {0xCA: 4, 0xCB: 8, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
    fixed |= {0xCC + step: 1 << step for step in range(4)}  # unsigned
    fixed |= {0xD0 + step: 1 << step for step in range(4)}  # signed
    fixed |= {0xD4 + step: 1 + (1 << step) for step in range(5)}  # ext of a fixed size
    for code, more in fixed.items():
        sizes[code] = 1 + more
    return tuple(sizes), tuple(lengths)


def _cbor_tables() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """As for MessagePack (RFC 8949 §3): only strings of bytes and text have a content."""
    sizes, lengths = [1] * 256, [0] * 256
    for code in range(256):
        major, info = code >> 5, code & 31
        width = 1 << (info - 24) if 24 <= info <= 27 else 0
        sizes[code] = 1 + width
        if major in (2, 3):
            lengths[code] = width
            sizes[code] += info if info < 24 else 0
    return tuple(sizes), tuple(lengths)


_MSGPACK_SIZES, _MSGPACK_LENGTHS = _msgpack_tables()
_CBOR_SIZES, _CBOR_LENGTHS = _cbor_tables()
