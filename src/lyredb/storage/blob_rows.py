"""Which file belongs to which record: the rows of the database ``unref``.

=================================  ====================================================
``F`` id                           ``R``, table slot ``>H``, record key: the record's
``F`` id                           ``D``, ``>Q`` position: dropped by that log entry
``D`` ``>Q`` position, id          empty; the same, in the order of the log
=================================  ====================================================

A file without a row has no commit behind it. All rows are written by the writer, in the
commit of the record; so what a file is needed for is never in doubt, whatever is killed.
A dropped file stays until the log's floor has passed the entry: entries before it, and the
image of before that it may hold, refer to the file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, TypeAlias

from lyredb.errors import InvalidRecord
from lyredb.storage.blob import ID_BYTES, PackedBlob

BlobRows: TypeAlias = dict[bytes, bytes | None]
"""Rows to put, or with ``None`` to delete."""

FILE: Final = b"F"
DROPPED: Final = b"D"
_OWNED: Final = b"R"
_SLOT: Final = struct.Struct(">H")
_SEQ: Final = struct.Struct(">Q")
DROPPED_ROW_BYTES: Final = 1 + _SEQ.size + ID_BYTES


def owner_row(slot: int, key: bytes) -> bytes:
    """Return the value of the row of a file that a record has."""
    return _OWNED + _SLOT.pack(slot) + key


def owner_of(row: bytes) -> tuple[int, bytes] | None:
    """Return table slot and key of the record that has a file, ``None`` of a dropped one."""
    if row[:1] != _OWNED:
        return None
    return _SLOT.unpack_from(row, 1)[0], row[1 + _SLOT.size :]


def dropped_at(row: bytes) -> int:
    """Return the position at which a file was dropped, 0 of one that a record has."""
    return int(_SEQ.unpack_from(row, 1)[0]) if row[:1] == DROPPED else 0


def put_dropped(rows: BlobRows, id: bytes, seq: int) -> None:
    """Note that a log entry drops a file."""
    rows[FILE + id] = DROPPED + _SEQ.pack(seq)
    rows[dropped_row_name(seq, id)] = b""


def dropped_row_name(seq: int, id: bytes) -> bytes:
    """Return the name of the row by which dropped files are found in their order."""
    return DROPPED + _SEQ.pack(seq) + id


def read_dropped(name: bytes) -> tuple[int, bytes]:
    """Return position and id of such a name."""
    return int(_SEQ.unpack_from(name, 1)[0]), name[1 + _SEQ.size :]


def note_change(
    rows: BlobRows,
    old: frozenset[PackedBlob],
    new: frozenset[PackedBlob],
    *,
    made: tuple[bytes, ...],
    slot: int,
    key: bytes,
    seq: int,
    live: bool,
) -> None:
    """Note what a write of a record does to files.

    Args:
        rows: Gets the rows.
        old: What the record referred to before.
        new: What it refers to now.
        made: The ids of files that were written for this.
        slot: The table.
        key: The record.
        seq: The position of the entry.
        live: The record before was there, not expired.

    Raises:
        InvalidRecord: It refers to a file that is another record's, or nobody's.
    """
    kept = {blob.id for blob in new & old} if live else set()
    for blob in new:
        if blob.id in kept:
            continue
        if blob.id not in made:
            raise InvalidRecord(
                "a blob belongs to one record, and this reference is not one that the record "
                "has: send the content"
            )
        rows[FILE + blob.id] = owner_row(slot, key)
    for blob in old:
        if blob.id not in kept:
            put_dropped(rows, blob.id, seq)


def merged(before: Mapping[bytes, bytes | None], rows: BlobRows) -> BlobRows:
    """Return two sets of rows as one; the later count."""
    return {**before, **rows}
