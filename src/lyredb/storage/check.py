"""Checks that records, graves, indexes and log agree; what follows a crash in tests.

Reads everything: O(data). Every problem is a sentence for the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from lyredb.errors import WriteConflict
from lyredb.storage import directory as directories
from lyredb.storage import meta
from lyredb.storage.blob_check import check_blobs
from lyredb.storage.blob_files import BlobFiles
from lyredb.storage.entry import Entry, decode_entry
from lyredb.storage.indexing import IndexExtractor
from lyredb.storage.layout import TableLayout
from lyredb.storage.logx import SegmentIndex, stored_offsets
from lyredb.storage.mutation import Kind
from lyredb.storage.record import (
    MESSAGED,
    decode_header,
    last_seq_of,
    with_last_seq,
)
from lyredb.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

_READ: Final = 2000


def check(
    engine: Engine, on_progress: Callable[[int, int], None] = lambda done, all: None
) -> list[str]:
    """Return what does not agree, as of one snapshot; empty when all is well.

    Also beside a process that writes. The snapshot lives as long as the check, and no
    page is reused meanwhile, so the data file of a busy server grows.

    Args:
        engine: What to check.
        on_progress: Gets how many parts are done, and of how many.

    Raises:
        WriteConflict: Tables were made or changed since the engine was opened.
    """
    with BlobFiles(engine.path).held(), engine.snapshot() as snapshot:
        if _shape_of(snapshot) != (engine.layouts, engine.building):
            raise WriteConflict("the tables were changed meanwhile; open it again")
        steps = 3 + len(engine.layouts)
        newest: dict[tuple[int, bytes], int] = {}
        problems = list(_check_directory(snapshot))
        on_progress(1, steps)
        problems += _check_log(snapshot, newest)
        on_progress(2, steps)
        for done, layout in enumerate(engine.layouts.values(), 3):
            problems += _check_table(snapshot, layout, newest)
            problems += _check_indexes(snapshot, layout, engine.building)
            on_progress(done, steps)
        problems += _check_log_index(snapshot, newest)
        problems += check_blobs(snapshot, BlobFiles(engine.path), engine.layouts.values())
        on_progress(steps, steps)
    return problems


def _shape_of(snapshot: Snapshot) -> tuple[Mapping[int, TableLayout], frozenset[int]]:
    """The tables and the incomplete indexes as the snapshot has them."""
    layouts = (meta.decode_layout(*row) for row in snapshot.scan_meta(meta.TABLE_PREFIX))
    building = snapshot.scan_meta(meta.BUILD_PREFIX)
    return (
        {layout.slot: layout for layout in layouts},
        meta.slots_in((name for name, _ in building), meta.BUILD_PREFIX),
    )


def _check_directory(snapshot: Snapshot) -> Iterator[str]:
    for segment in snapshot.directory:
        last = segment.last_seq or snapshot.position
        if snapshot.log_count(directories.ring_slot(segment)) != last + 1 - segment.first_seq:
            yield f"log segment {segment.number} has other entries than its own"
    for left, right in pairwise(snapshot.directory):
        if right.number != left.number + 1 or right.first_seq != left.last_seq + 1:
            yield f"log segment {right.number} does not follow segment {left.number}"
        if right.first_ms < left.last_ms:
            yield f"log segment {right.number} begins before segment {left.number} ends"


def _check_log(snapshot: Snapshot, newest: dict[tuple[int, bytes], int]) -> Iterator[str]:
    """Check that positions have no gap and versions grow; note each key's last entry."""
    position, version, last = snapshot.floor - 1, 0, True
    while position < snapshot.position:
        rows = snapshot.raw_entries(position, limit=_READ)
        for seq, stored in rows:
            entry = decode_entry(seq, stored)
            if seq != position + 1:
                yield f"the log has a gap between {position} and {seq}"
            if entry.version <= version:
                yield f"log entry {seq} is stamped earlier than the one before it"
            if (entry.index == 0) != last:
                yield f"log entry {seq} is not where its transaction has it"
            if entry.kind not in (Kind.SCHEMA, Kind.ACCESS):
                newest[entry.slot, entry.key] = seq
            position, version, last = seq, entry.version, entry.is_last
    if not last:
        yield "the last transaction of the log is not whole"
    row = snapshot.meta_row(meta.POSITION)
    assert row is not None, "written together with the format"
    if version > meta.decode_position(row)[1]:
        yield "the clock is behind the log"


def _check_table(
    snapshot: Snapshot, layout: TableLayout, newest: dict[tuple[int, bytes], int]
) -> Iterator[str]:
    seen = 0
    graves = dict(snapshot.scan_graves(layout.slot))
    for key, stored in snapshot.scan_stored(layout.slot):
        header = decode_header(stored)
        if key in graves:
            yield f"{layout.name}: key {key.hex()} has a record and a grave"
        if not _is_last(snapshot, layout.slot, key, header.last_seq, newest):
            yield f"{layout.name}: record {key.hex()} does not point to its last log entry"
        elif header.last_seq >= snapshot.floor:
            seen += 1
            image = _image_of(snapshot, header.last_seq)
            if image is not None and not _same_record(image, stored):
                yield f"{layout.name}: record {key.hex()} differs from its log entry"
    for key, grave in graves.items():
        if not _is_last(snapshot, layout.slot, key, last_seq_of(grave), newest):
            yield f"{layout.name}: grave {key.hex()} does not point to its last log entry"
        seen += last_seq_of(grave) >= snapshot.floor
    # The root topic of a table has messages and no record.
    logged = sum(slot == layout.slot and key != b"" for slot, key in newest)
    if seen != logged:
        yield f"{layout.name}: {logged} keys are in the log, {seen} of them in the table"


def _is_last(
    snapshot: Snapshot, slot: int, key: bytes, seq: int, newest: dict[tuple[int, bytes], int]
) -> bool:
    if seq > snapshot.position:
        return False
    return newest.get((slot, key), 0) == (seq if seq >= snapshot.floor else 0)


def _image_of(snapshot: Snapshot, seq: int) -> bytes | None:
    """Return the newest image in the log, ``None`` when it is below the floor."""
    entry: Entry | None = snapshot.entry(seq)
    while entry is not None and entry.kind is Kind.MESSAGE:
        entry = snapshot.entry(entry.prev_seq)
    return None if entry is None else entry.image


def _same_record(image: bytes, stored: bytes) -> bool:
    """Compare without last_seq and the mark that a message leaves."""
    return with_last_seq(image, 0, add_flags=MESSAGED) == with_last_seq(
        stored, 0, add_flags=MESSAGED
    )


def _check_indexes(
    snapshot: Snapshot, layout: TableLayout, building: frozenset[int]
) -> Iterator[str]:
    wanted: dict[int, set[tuple[bytes, bytes]]] = {index.slot: set() for index in layout.indexes}
    extractor = IndexExtractor(layout)
    for key, stored in snapshot.scan_stored(layout.slot):
        for slot, encoded in extractor.entries(stored):
            wanted[slot].add((encoded, key))
    for slot, pairs in wanted.items():
        found = set(snapshot.scan_index(slot))
        for encoded, key in found - pairs:
            yield f"{layout.name}: index {slot} has {encoded.hex()} for {key.hex()}, not so"
        if slot not in building:
            for encoded, key in pairs - found:
                yield f"{layout.name}: index {slot} lacks {encoded.hex()} for {key.hex()}"


def _check_log_index(snapshot: Snapshot, newest: dict[tuple[int, bytes], int]) -> Iterator[str]:
    """Compare each written index with one made from the log again."""
    slots = {slot for slot, _ in newest}
    for segment in snapshot.directory:
        if not segment.indexed:
            continue
        index = SegmentIndex(segment)
        while not index.catch_up(snapshot, segment.last_seq):
            continue
        for slot in slots:
            if list(stored_offsets(snapshot, segment, slot, None)) != list(index.of_slot(slot)):
                yield f"the index of log segment {segment.number} differs for table slot {slot}"
        for slot, key in newest:
            if list(stored_offsets(snapshot, segment, slot, key)) != list(index.of_key(slot, key)):
                yield f"the index of log segment {segment.number} differs for {key.hex()}"
