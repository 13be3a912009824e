"""Packet identifiers of many frames at once: written into them, and read from their answers.

An outbox gives out identifiers one after the other, and a client answers in the order in which
it was asked [MQTT-4.6.0-2]. So the bytes of whole stretches are known beforehand, and are
copied and compared without a look at each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FEWEST: Final = 8
"""Frames from which on this is faster than one after the other."""
_ALL: Final = 65_536
_HIGH: Final = b"".join(bytes((high,)) * 256 for high in range(256))
_LOW: Final = bytes(range(256)) * 256


def _pubacks() -> bytes:
    found = bytearray(b"\x40\x02\x00\x00" * _ALL)
    found[2::4], found[3::4] = _HIGH, _LOW
    return bytes(found)


_PUBACKS: Final = _pubacks()


def write_ids(out: bytearray, offsets: Sequence[int], start: int, number: int) -> bool:
    """Write identifiers into frames that are equally far apart.

    Args:
        out: The frames.
        offsets: Where each has its identifier, ``start`` before its place in ``out``.
        start: What is to be taken off.
        number: The first identifier; the others follow it.

    Returns:
        False when nothing was written: there are few of them, they are not equally far apart,
        or identifiers begin again among them.
    """
    count = len(offsets)
    if count < FEWEST or number + count > _ALL:
        return False
    first = offsets[0]
    step = offsets[1] - first
    last = first + step * (count - 1)
    if (
        first <= 0
        or step <= 0
        or offsets[-1] != last
        or offsets != list(range(first, last + 1, step))
    ):
        return False
    out[first - start : last - start + 1 : step] = _HIGH[number : number + count]
    out[first - start + 1 : last - start + 2 : step] = _LOW[number : number + count]
    return True


def plain_answers(data: bytes, position: int, first: int) -> tuple[list[int], int]:
    """Read the plain PUBACKs, PUBRECs or PUBCOMPs that stand at a place.

    Args:
        data: What came.
        position: The place.
        first: Their first byte, which says which of them.

    Returns:
        Their identifiers, and where the first byte stands that is none of theirs: another
        kind, one with a reason code, or with an identifier of 0, which is malformed.
    """
    found: list[int] = []
    last = len(data) - 4
    while position <= last and data[position] == first and data[position + 1] == 2:
        packet_id = data[position + 2] << 8 | data[position + 3]
        if not packet_id:
            break
        found.append(packet_id)
        position += 4
    return found, position


def begins_with_pubacks(data: bytes, position: int, first: int, count: int) -> bool:
    """Tell whether plain PUBACKs of so many identifiers, from ``first`` on, stand there."""
    if first + count > _ALL:
        return False
    return data.startswith(_PUBACKS[4 * first : 4 * (first + count)], position)
