"""Changes to the shape of the store: tables, and indexes that are added or removed.

A table's layout is a row in ``meta``. An index that is added to a table with records
has a progress row until `build_index` has come to the end; the writer keeps it up to
date from its first moment, so that build and writes may alternate.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from lyredb.errors import StorageError
from lyredb.storage import meta
from lyredb.storage.directory import RING_SEGMENTS
from lyredb.storage.environment import (
    FIXED_NAMES,
    MAX_DATABASES,
    Transaction,
    grave_name,
    index_name,
    record_name,
)
from lyredb.storage.indexing import IndexExtractor
from lyredb.storage.layout import FIRST_FREE_SLOT, MAX_SLOT, IndexLayout, TableLayout
from lyredb.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

STEP_MS: Final = 10.0
"""How long one step of a build may hold the writer."""
STEP_RECORDS: Final = 1000
MAX_TABLE_DATABASES: Final = MAX_DATABASES - len(FIXED_NAMES) - 2 * RING_SEGMENTS
"""What is left beside the log for tables, of which each needs two, and indexes."""
_BUILD: Final = struct.Struct(">H")


class FreeSlots(NamedTuple):
    """Slots that nothing uses: of tables, and of indexes (numbered apart)."""

    tables: tuple[int, ...]
    indexes: tuple[int, ...]


def allocate_slots(
    layouts: Mapping[int, TableLayout], *, tables: int = 0, indexes: int = 0
) -> FreeSlots:
    """Return the lowest free slots from 16 up. They are taken by `define_table` only.

    Raises:
        StorageError: There are not so many left.
    """
    used = {index.slot for layout in layouts.values() for index in layout.indexes}
    return FreeSlots(_lowest_free(set(layouts), tables), _lowest_free(used, indexes))


def _lowest_free(used: set[int], count: int) -> tuple[int, ...]:
    free = [slot for slot in range(FIRST_FREE_SLOT, FIRST_FREE_SLOT + len(used) + count)]
    found = tuple(slot for slot in free if slot not in used)[:count]
    if found and found[-1] > MAX_SLOT:
        raise StorageError("there are no free slots left")
    return found


def check_room(engine: Engine, layouts: Iterable[TableLayout]) -> None:
    """Check that tables can be defined before the first of them is.

    A database of the environment is never given back (see `environment`), but an index
    or table that is added takes over those of a slot that became free.

    Raises:
        StorageError: With the numbers; the store has not so many databases.
    """
    wanted = {layout.slot: layout for layout in layouts}
    others = [one for slot, one in engine.layouts.items() if slot not in wanted]
    handles = engine.handles
    tables = {*handles.records, *wanted}
    indexes = {*handles.indexes, *(one.slot for table in wanted.values() for one in table.indexes)}
    if 2 * len(tables) + len(indexes) <= MAX_TABLE_DATABASES:
        return
    count = sum(len(table.indexes) for table in wanted.values())
    kept = sum(len(table.indexes) for table in others)
    raise StorageError(
        f"the schema has {len(wanted)} tables (the server's own included) and {count} indexes, "
        f"the store keeps {len(others)} tables with {kept} indexes that are declared no more; "
        f"indexes and twice the tables together may be {MAX_TABLE_DATABASES}: "
        "declare fewer, or use another data directory"
    )


def define_table(engine: Engine, layout: TableLayout) -> None:
    """Make a table, or change the indexes and names of one that exists.

    Data is never deleted. Removed indexes are emptied; an added index of a table with
    records is listed in ``engine.building`` until `build_index` is through. An
    identical layout writes nothing.

    Raises:
        StorageError: A slot of an index belongs to another index.
        DiskFull: Nothing was changed.
        StorageFailed: The engine is read-only now.
    """
    old = engine.layouts.get(layout.slot)
    if old == layout:
        return
    _check_slots(engine.layouts, layout)
    engine.open_databases(
        record_name(layout.slot),
        grave_name(layout.slot),
        *(index_name(index.slot) for index in layout.indexes),
    )
    kept = set(old.indexes) if old else set()
    removed = [index for index in kept if index not in layout.indexes]
    added = [index for index in layout.indexes if index not in kept]
    building = engine.building - {index.slot for index in removed}
    with engine.write() as transaction:
        for index in removed:
            _empty_index(engine, transaction, index.slot)
        if transaction.stat(engine.handles.records[layout.slot])["entries"]:
            building |= {index.slot for index in added}
            for index in added:
                _put_progress(engine, transaction, layout.slot, index.slot, b"")
        row = meta.encode_layout(layout)
        transaction.put(meta.table_row_name(layout.slot), row, db=engine.handles.meta)
    engine.layouts = {**engine.layouts, layout.slot: layout}
    engine.building = building


def _check_slots(layouts: Mapping[int, TableLayout], layout: TableLayout) -> None:
    slots = [index.slot for index in layout.indexes]
    taken = {
        index.slot
        for other in layouts.values()
        if other.slot != layout.slot
        for index in other.indexes
    }
    if len(set(slots)) != len(slots) or taken.intersection(slots):
        raise StorageError(f"table {layout.name} names the slot of another index")


def drop_table(engine: Engine, slot: int) -> None:
    """Remove a table with its records, graves and indexes; its log entries stay.

    The slot is free at once: reuse it only when every reader has passed the position of
    the schema entry that took the table away.
    """
    layout = engine.layouts[slot]
    with engine.write() as transaction:
        transaction.drop(engine.handles.records[slot], delete=False)
        transaction.drop(engine.handles.graves[slot], delete=False)
        for index in layout.indexes:
            _empty_index(engine, transaction, index.slot)
        transaction.delete(meta.table_row_name(slot), db=engine.handles.meta)
    engine.layouts = {key: value for key, value in engine.layouts.items() if key != slot}
    engine.building -= {index.slot for index in layout.indexes}


def _empty_index(engine: Engine, transaction: Transaction, slot: int) -> None:
    transaction.drop(engine.handles.indexes[slot], delete=False)
    transaction.delete(meta.build_row_name(slot), db=engine.handles.meta)


def _put_progress(
    engine: Engine, transaction: Transaction, slot: int, index_slot: int, last: bytes
) -> None:
    row = _BUILD.pack(slot) + last
    transaction.put(meta.build_row_name(index_slot), row, db=engine.handles.meta)


def build_index(engine: Engine, table: TableLayout, index: IndexLayout) -> Iterator[int]:
    """Fill an index from the table's records; yields after each committed step.

    A step takes at most 10 ms or 1,000 records. Between steps others may write; a
    restart goes on where the last step ended. An index that is complete yields nothing.

    Yields:
        How many records the step has indexed.
    """
    extractor = IndexExtractor(table, only=index)
    while index.slot in engine.building:
        with engine.snapshot() as snapshot:
            row = snapshot.meta_row(meta.build_row_name(index.slot))
            assert row is not None, "it is listed as building"
            pairs, last, count = _next_pairs(snapshot, table.slot, row[_BUILD.size :], extractor)
        with engine.write() as transaction:
            with transaction.cursor(engine.handles.indexes[index.slot]) as cursor:
                cursor.putmulti(sorted(pairs))
            if last:
                _put_progress(engine, transaction, table.slot, index.slot, last)
            else:
                transaction.delete(meta.build_row_name(index.slot), db=engine.handles.meta)
        if not last:
            engine.building -= {index.slot}
        yield count


def _next_pairs(
    snapshot: Snapshot, slot: int, after: bytes, extractor: IndexExtractor
) -> tuple[list[tuple[bytes, bytes]], bytes, int]:
    """Return index pairs of the next records, the last key (empty at the end), a count."""
    deadline = time.monotonic() + STEP_MS / 1000
    pairs: list[tuple[bytes, bytes]] = []
    count = 0
    for key, stored in snapshot.scan_stored(slot, after=after or None):
        pairs += ((encoded, key) for _, encoded in extractor.entries(stored))
        count += 1
        if count == STEP_RECORDS or time.monotonic() > deadline:
            return pairs, key, count
    return pairs, b"", count
