"""What a search inside a transaction reads: its position, with its own writes on top.

The query engine reads through a `View`, which can read as of a position already: what has
changed since is put in where it stood. Own writes are put in the same way. Records that are
found are noted, so that the commit checks them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lyredb.resources.transaction import Transaction
from lyredb.storage.snapshot import Snapshot
from lyredb.tables.query.costs import Meter
from lyredb.tables.query.ranges import Range
from lyredb.tables.query.view import Row, Shape, View
from lyredb.tables.stored import StoredTable

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine


class TransactionView(View):
    """All reading of one search inside a transaction.

    Own writes are those of when the search first reads their table.

    Args:
        transaction: Inside of which.
        engine: What is read.
        meter: Counts what is read.
    """

    def __init__(self, transaction: Transaction, engine: Engine, meter: Meter) -> None:
        super().__init__(engine, meter)
        self._transaction = transaction
        self._position = self._known_to = transaction.position
        self._now_ms = transaction.now_ms
        self._own: dict[int, dict[bytes, bytes | None]] = {}

    def snapshot(self) -> Snapshot:
        """Return the snapshot of the moment, open; never read as it is."""
        snapshot = super().snapshot()
        self._is_later = True
        return snapshot

    def noting(self, table: StoredTable, shape: Shape) -> Shape:
        """Return a shape that notes what it shapes as read."""
        transaction = self._transaction

        def noted(rows: list[Row]) -> list[object]:
            for key, stored in rows:
                transaction.note_read(table.slot, key, stored)
            return shape(rows)

        return noted

    def get(self, slot: int, key: bytes) -> bytes | None:
        """Return a record as the transaction sees it, and note that it was read."""
        own = self._own_of(slot)
        if key in own:
            return own[key]
        stored = super().get(slot, key)
        self._transaction.note_read(slot, key, stored)
        return stored

    def records(
        self, slot: int, part: Range, after: bytes | None, *, reverse: bool
    ) -> Iterator[Row]:
        """Yield records in the order of their keys, own ones in place of others."""
        rows = super().records(slot, part, after, reverse=reverse)
        own = self._own_of(slot)
        if not own:
            return rows
        mine = [
            (key, stored)
            for key, stored in own.items()
            if stored is not None and _is_in(key, part, after, reverse=reverse)
        ]
        mine.sort(reverse=reverse)
        others = (row for row in rows if row[0] not in own)
        return heapq.merge(others, mine, key=lambda row: row[0], reverse=reverse)

    def _changed(self, table: StoredTable) -> dict[bytes, bytes | None]:
        return {**super()._changed(table), **self._own_of(table.slot)}

    def _own_of(self, slot: int) -> dict[bytes, bytes | None]:
        own = self._own.get(slot)
        if own is None:
            own = self._own[slot] = self._transaction.own(slot)
        return own


def _is_in(key: bytes, part: Range, after: bytes | None, *, reverse: bool) -> bool:
    start, stop = part
    if not start <= key < stop:
        return False
    return after is None or (key < after if reverse else key > after)
