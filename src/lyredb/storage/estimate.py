"""About how many entries lie between two keys, without reading them.

LMDB tells how many entries a database has and how many duplicates a key has, but not how
many lie in a range. So the first entries are counted: a small range is then known exactly, and
so is one of few values.
Of a larger one the share is taken that it has of the way from the first to the last key
of its type, as if the keys were spread evenly (numbers by their value, texts by their
bytes). Wrong by a factor where they are not; only speed depends on it.
"""

from __future__ import annotations

from itertools import islice, takewhile
from typing import Final

from lyredb.storage.environment import Cursor
from lyredb.storage.keys import TAG_NUMBER, number_of

COUNTED_ENTRIES: Final = 16
"""Entries that are counted one by one: some µs."""
COUNTED_KEYS: Final = 32
"""Distinct keys whose duplicates are counted where the first entries are of few: some 10 µs."""
_FEW_KEYS: Final = 4
_DIGITS: Final = 12
"""Bytes that are looked at behind what the first and the last key have in common."""
_NOTHING: Final = (b"\x00", b"\x10")
"""Index keys of what is absent and of null: often many, and no part of any way."""


def estimate_range(
    cursor: Cursor, entries: int, start: bytes, stop: bytes | None, *, has_duplicates: bool
) -> int:
    """Return about how many entries have ``start <= key < stop``.

    Exact up to 16 entries, for one key, and for a few keys with many duplicates.

    Args:
        cursor: Of the database; moved.
        entries: How many it has.
        start: First key.
        stop: First key that is out, ``None`` for the end.
        has_duplicates: It is an index.
    """
    if has_duplicates and stop == start + b"\x00":
        return cursor.count() if cursor.set_key(start) else 0
    if not entries or not (cursor.set_range(start) if start else cursor.first()):
        return 0
    low = cursor.key()
    below = iter(cursor) if stop is None else takewhile((stop,).__gt__, cursor)
    first_keys = [key for key, _ in islice(below, COUNTED_ENTRIES)]
    counted = len(first_keys)
    if counted < COUNTED_ENTRIES:
        return counted
    if has_duplicates and len(set(first_keys)) < _FEW_KEYS:
        counted, is_all = _by_keys(cursor, start, stop)
        if is_all:
            return counted
    if has_duplicates:
        entries -= sum(cursor.count() for value in _NOTHING if cursor.set_key(value))
    high = _last_below(cursor, stop)
    tag = low[:1]
    if high[:1] != tag:  # several types: their shares are not known, so none is left out
        return max(counted, entries)
    cursor.set_range(tag)
    first = cursor.key()
    last = _last_below(cursor, bytes((tag[0] + 1,)))
    return max(counted, min(entries, round(entries * _share(first, last, low, high))))


def _by_keys(cursor: Cursor, start: bytes, stop: bytes | None) -> tuple[int, bool]:
    """Entries of the first keys, and whether those are all; for keys with many duplicates."""
    if not (cursor.set_range(start) if start else cursor.first()):
        return 0, True
    counted = 0
    for _ in range(COUNTED_KEYS):
        if stop is not None and cursor.key() >= stop:
            return counted, True
        counted += cursor.count()
        if not cursor.next_nodup():
            return counted, True
    return counted, False


def _last_below(cursor: Cursor, stop: bytes | None) -> bytes:
    behind = stop is not None and cursor.set_range(stop)
    return cursor.key() if (cursor.prev() if behind else cursor.last()) else b""


def _share(first: bytes, last: bytes, low: bytes, high: bytes) -> float:
    """How much of the way from the first to the last key lies between two others."""
    if first[0] == TAG_NUMBER:
        begin, end, left, right = map(number_of, (first, last, low, high))
        way = end / 2 - begin / 2  # halves, so that none is beyond a double
        return (right / 2 - left / 2) / way if way else 1.0
    common = 0
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        common += 1
    ends = [
        int.from_bytes(key[common : common + _DIGITS].ljust(_DIGITS, b"\x00"), "big")
        for key in (first, last, low, high)
    ]
    return (ends[3] - ends[2]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 1.0
