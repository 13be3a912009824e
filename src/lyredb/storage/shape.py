"""Changes to the shape of the store: tables, and indexes that are added or removed.

A table's layout is a row in ``meta``. An index that is added to a table with records
has a progress row until it is built; the writer keeps it up to date from its first moment,
so that build and writes may alternate. One that is removed is written no more from the same
commit on, and emptied afterwards, before its slot is free. Both steps: `index_builds`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from lyredb.errors import StorageError
from lyredb.storage import meta
from lyredb.storage.blob_rows import FILE, BlobRows, owner_of, put_dropped
from lyredb.storage.directory import RING_SEGMENTS
from lyredb.storage.environment import (
    FIXED_NAMES,
    MAX_DATABASES,
    Transaction,
    grave_name,
    index_name,
    record_name,
)
from lyredb.storage.layout import FIRST_FREE_SLOT, MAX_SLOT, TableLayout

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

EMPTIED_AT_ONCE: Final = 1000
"""Entries of an index that is emptied in the commit that removes it: some 0.1 ms."""
MAX_TABLE_DATABASES: Final = MAX_DATABASES - len(FIXED_NAMES) - 2 * RING_SEGMENTS
"""What is left beside the log for tables, of which each needs two, and indexes."""
BUILD: Final = struct.Struct(">H")
"""How a progress row begins: with the slot of the table."""


class FreeSlots(NamedTuple):
    """Slots that nothing uses: of tables, and of indexes (numbered apart)."""

    tables: tuple[int, ...]
    indexes: tuple[int, ...]


def allocate_slots(
    layouts: Mapping[int, TableLayout],
    tables: int,
    indexes: int,
    *,
    taken: frozenset[int],
) -> FreeSlots:
    """Return the lowest free slots from 16 up. They are taken by `define_table` only.

    Args:
        layouts: The tables that there are.
        tables: How many slots of tables are wanted.
        indexes: How many slots of indexes are wanted.
        taken: Slots of indexes that are not free though no table has them.

    Raises:
        StorageError: There are not so many left.
    """
    used = {index.slot for layout in layouts.values() for index in layout.indexes}
    return FreeSlots(_lowest_free(set(layouts), tables), _lowest_free(used | taken, indexes))


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

    Data is never deleted. A removed index is listed in ``engine.dropping`` until it is
    empty, a small one is emptied at once; an added index of a table with records is listed
    in ``engine.building`` until it is built. An identical layout writes nothing.

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
    dropping = engine.dropping
    with engine.write() as transaction:
        for index in removed:
            dropping |= _remove_index(engine, transaction, index.slot)
        if transaction.stat(engine.handles.records[layout.slot])["entries"]:
            building |= {index.slot for index in added}
            for index in added:
                put_progress(engine, transaction, layout.slot, index.slot, b"")
        row = meta.encode_layout(layout)
        transaction.put(meta.table_row_name(layout.slot), row, db=engine.handles.meta)
    engine.layouts = {**engine.layouts, layout.slot: layout}
    engine.note_building(building)
    engine.dropping = dropping


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
        _drop_files(engine, transaction, slot)
        for index in layout.indexes:
            _empty_index(engine, transaction, index.slot)
        transaction.delete(meta.table_row_name(slot), db=engine.handles.meta)
    engine.layouts = {key: value for key, value in engine.layouts.items() if key != slot}
    engine.note_building(engine.building - {index.slot for index in layout.indexes})


def _drop_files(engine: Engine, transaction: Transaction, slot: int) -> None:
    """Have the files of a table's records go when the log has no entry of today any more."""
    rows: BlobRows = {}
    with transaction.cursor(engine.handles.unref) as cursor:
        found = cursor.set_range(FILE)
        while found and cursor.key().startswith(FILE):
            owner = owner_of(cursor.value())
            if owner is not None and owner[0] == slot:
                put_dropped(rows, cursor.key()[len(FILE) :], engine.position)
            found = cursor.next()
    for name, value in rows.items():
        transaction.put(name, value or b"", db=engine.handles.unref)


def _remove_index(engine: Engine, transaction: Transaction, slot: int) -> frozenset[int]:
    """Empty a small index now; return the slot of a large one, which is emptied in steps."""
    if transaction.stat(engine.handles.indexes[slot])["entries"] <= EMPTIED_AT_ONCE:
        _empty_index(engine, transaction, slot)
        return frozenset()
    transaction.delete(meta.build_row_name(slot), db=engine.handles.meta)
    transaction.put(meta.drop_row_name(slot), b"", db=engine.handles.meta)
    return frozenset((slot,))


def _empty_index(engine: Engine, transaction: Transaction, slot: int) -> None:
    transaction.drop(engine.handles.indexes[slot], delete=False)
    transaction.delete(meta.build_row_name(slot), db=engine.handles.meta)


def put_progress(
    engine: Engine, transaction: Transaction, slot: int, index_slot: int, last: bytes
) -> None:
    """Write how far the build of an index has come: the last key, empty for none."""
    row = BUILD.pack(slot) + last
    transaction.put(meta.build_row_name(index_slot), row, db=engine.handles.meta)
