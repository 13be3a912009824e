"""Walks over the databases of LMDB: where a cursor begins, and where it ends.

They give C's iterators wherever they can: a step of Python's for each entry would cost as
much as the entry. A range begins at ``start`` and ends before ``stop``, at the end of the
database for ``None``; ``after`` is what was read last of it, in the direction of the walk,
whether it is still there or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from lyredb.storage.environment import Cursor


def forwards(
    cursor: Cursor, start: bytes, stop: bytes | None, after: bytes | None
) -> Iterator[tuple[bytes, bytes]]:
    """Return the pairs with ``start <= key < stop`` in order, behind a key if one is given."""
    first = start if after is None else max(start, after + b"\x00")
    if not (cursor.set_range(first) if first else cursor.first()):
        return iter(())
    return _below(cursor, stop)


def _below(cursor: Cursor, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """What comes from where the cursor is, up to a key; without a step of Python's for each."""
    # A pair is below (stop,) if its key is below stop: a longer tuple comes behind its beginning.
    return iter(cursor) if stop is None else takewhile((stop,).__gt__, cursor)


def backwards(
    cursor: Cursor, start: bytes, stop: bytes | None, after: bytes | None
) -> Iterator[tuple[bytes, bytes]]:
    """Return the same pairs from the last to the first."""
    bounds = [bound for bound in (stop, after) if bound is not None]
    behind = bool(bounds) and cursor.set_range(min(bounds))
    if not (cursor.prev() if behind else cursor.last()):
        return iter(())
    return takewhile((start,).__le__, cursor.iterprev())


def values_up(
    cursor: Cursor, start: bytes, stop: bytes, after: tuple[bytes, bytes] | None
) -> Iterator[tuple[bytes, bytes]]:
    """Return the pairs of an index in order, behind a pair if one is given."""
    if after is None:
        found = cursor.set_range(start)
    else:
        found = cursor.set_range_dup(*after)
        if not found:  # the rest of the value's keys is gone, or the value is
            found = cursor.set_range(after[0] + b"\x00")
        elif cursor.item() == after:
            found = cursor.next()
    return _below(cursor, stop) if found else iter(())


def values_down(
    cursor: Cursor, start: bytes, stop: bytes, after: tuple[bytes, bytes] | None
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the pairs of an index; values descend, the keys of one ascend."""
    if after is not None:
        encoded, last = after
        if cursor.set_range_dup(encoded, last):
            for key in cursor.iternext_dup():
                if key > last:
                    yield encoded, key
        stop = encoded
    behind = cursor.set_range(stop)
    while cursor.prev_nodup() if behind else cursor.last():
        behind = True
        encoded = cursor.key()
        if encoded < start:
            return
        cursor.first_dup()
        for key in cursor.iternext_dup():
            yield encoded, key
