"""Fills indexes that were added and empties those that were removed, in bounded steps.

Each step is one commit, between the groups of the writer, and is over in about 5 ms. Where a
build stands is a row that changes in the same commit, so that after a kill it goes on there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from lyredb.storage import meta
from lyredb.storage.indexing import IndexExtractor
from lyredb.storage.layout import IndexLayout, TableLayout
from lyredb.storage.shape import BUILD, put_progress
from lyredb.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

STEP_MS: Final = 5.0
"""How long one step may read, which is what a group that comes meanwhile waits for."""
STEP_RECORDS: Final = 1000
STEP_ENTRIES: Final = 4000
"""Deleted by one step: some 4 ms."""


class IndexBuilds:
    """What is left to build and to empty in one engine.

    Attributes:
        records: How many records were put into indexes since the process began.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._extractor: IndexExtractor | None = None
        self._of: tuple[TableLayout, IndexLayout] | None = None
        self.records = 0

    @property
    def is_due(self) -> bool:
        """There is something to do."""
        return bool(self._engine.building or self._engine.dropping)

    def step(self) -> None:
        """Do one step: indexes that somebody waits for come before those that are removed.

        Raises:
            DiskFull: Nothing was done; the step may be made again.
            StorageFailed: The engine is read-only now.
        """
        for layout in self._engine.layouts.values():
            for index in layout.indexes:
                if index.slot in self._engine.building:
                    self.records += self._build(layout, index)
                    return
        for slot in self._engine.dropping:
            empty_step(self._engine, slot)
            return

    def _build(self, layout: TableLayout, index: IndexLayout) -> int:
        if self._extractor is None or self._of != (layout, index):
            self._of = (layout, index)
            self._extractor = IndexExtractor(layout, only=index)
        return build_step(self._engine, layout, index, self._extractor)


def build_index(engine: Engine, table: TableLayout, index: IndexLayout) -> Iterator[int]:
    """Fill an index from the table's records; yields after each committed step.

    A step takes at most 5 ms or 1,000 records. Between steps others may write; a
    restart goes on where the last step ended. An index that is complete yields nothing.

    Yields:
        How many records the step has indexed.
    """
    extractor = IndexExtractor(table, only=index)
    while index.slot in engine.building:
        yield build_step(engine, table, index, extractor)


def build_step(
    engine: Engine, table: TableLayout, index: IndexLayout, extractor: IndexExtractor
) -> int:
    """Do one step of a build and return how many records it has indexed."""
    with engine.snapshot() as snapshot:
        row = snapshot.meta_row(meta.build_row_name(index.slot))
        assert row is not None, "it is listed as building"
        pairs, last, count = _next_pairs(snapshot, table.slot, row[BUILD.size :], extractor)
    with engine.write() as transaction:
        with transaction.cursor(engine.handles.indexes[index.slot]) as cursor:
            cursor.putmulti(sorted(pairs))
        if last:
            put_progress(engine, transaction, table.slot, index.slot, last)
        else:
            transaction.delete(meta.build_row_name(index.slot), db=engine.handles.meta)
    if not last:
        engine.note_building(engine.building - {index.slot})
    return count


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


def empty_step(engine: Engine, slot: int) -> None:
    """Delete the next entries of a removed index; its slot is free when none is left.

    The disk's minimum does not hold for it: it makes room.
    """
    with engine.write(below_minimum=True) as transaction:
        with transaction.cursor(engine.handles.indexes[slot]) as cursor:
            left = cursor.first()
            for _ in range(STEP_ENTRIES):
                if not left:
                    break
                cursor.delete()
                left = bool(cursor.key())
        if not left:
            transaction.delete(meta.drop_row_name(slot), db=engine.handles.meta)
    if not left:
        engine.dropping -= {slot}
