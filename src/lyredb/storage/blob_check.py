"""Checks that records, the rows about files and the files agree, both ways."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final

from lyredb.storage.blob import PackedBlob, files_in
from lyredb.storage.blob_files import BlobFiles
from lyredb.storage.blob_rows import (
    DROPPED,
    FILE,
    dropped_at,
    dropped_row_name,
    owner_of,
    owner_row,
    read_dropped,
)
from lyredb.storage.blob_sweep import ORPHAN_AGE_S
from lyredb.storage.body import load_body
from lyredb.storage.layout import TableLayout
from lyredb.storage.record import body_offset_of, has_files
from lyredb.storage.snapshot import Snapshot

_OLD_S: Final = 3 * ORPHAN_AGE_S
"""Files without a row are swept when they are that much younger, while a server runs."""


def check_blobs(
    snapshot: Snapshot, files: BlobFiles, layouts: Iterable[TableLayout]
) -> Iterator[str]:
    """Yield a sentence for each thing that does not agree.

    The files must be held meanwhile (`BlobFiles.held`), from before the snapshot on.
    """
    for layout in layouts:
        yield from _check_records(snapshot, files, layout)
    yield from _check_rows(snapshot, files)
    yield from _check_files(snapshot, files)


def files_of(stored: bytes) -> frozenset[PackedBlob]:
    """Return the files that a stored record refers to."""
    return files_in(load_body(stored[body_offset_of(stored) :])) if has_files(stored) else _NONE


_NONE: Final[frozenset[PackedBlob]] = frozenset()


def _check_records(snapshot: Snapshot, files: BlobFiles, layout: TableLayout) -> Iterator[str]:
    for key, stored in snapshot.scan_stored(layout.slot):
        for blob in files_of(stored):
            if snapshot.unref_row(FILE + blob.id) != owner_row(layout.slot, key):
                yield f"{layout.name}: record {key.hex()} refers to file {blob.id.hex()}, not its"
            size = files.size_of(blob.id)
            if size < 0:
                yield f"{layout.name}: the file {blob.id.hex()} of record {key.hex()} is missing"
            elif size != blob.size:
                yield (
                    f"{layout.name}: the file {blob.id.hex()} of record {key.hex()} has {size} "
                    f"bytes, not {blob.size}"
                )


def _check_rows(snapshot: Snapshot, files: BlobFiles) -> Iterator[str]:
    for name, row in snapshot.scan_unref(FILE):
        id = name[len(FILE) :]
        owner = owner_of(row)
        if owner is None:
            seq = dropped_at(row)
            if snapshot.unref_row(dropped_row_name(seq, id)) is None:
                yield f"file {id.hex()} was dropped, and will never be removed"
            if seq >= snapshot.floor and files.size_of(id) < 0:
                yield f"file {id.hex()} was dropped at {seq}, and removed too early"
            continue
        stored = snapshot.stored(*owner)
        if stored is None or id not in {blob.id for blob in files_of(stored)}:
            yield f"file {id.hex()} is that of record {owner[1].hex()}, which has it not"
    for name, _ in snapshot.scan_unref(DROPPED):
        seq, id = read_dropped(name)
        found = snapshot.unref_row(FILE + id)
        if found is None or dropped_at(found) != seq:
            yield f"file {id.hex()} is to be removed, though nothing dropped it"


def _check_files(snapshot: Snapshot, files: BlobFiles) -> Iterator[str]:
    before_s = time.time() - _OLD_S
    for file in files.list():
        if file.modified_s < before_s and snapshot.unref_row(FILE + file.id) is None:
            yield f"file {file.id.hex()} belongs to no record; a start of the server removes it"
