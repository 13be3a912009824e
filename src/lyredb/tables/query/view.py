"""What one answer reads: every table and index as of one position.

At first that is a snapshot. It must not be held long (pages that it sees are not reused),
so after `HOLD_S`, or when results are handed out before the end, it is let go, and what
is left is read **as of** its position: each part in a fresh snapshot, where

* a record that was touched since is taken from the log (`asof.record_at`), and
* an index is walked without the records that changed since, which are put in where they
  stood: they are few, and known from the log.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from lyredb.errors import PositionLost
from lyredb.storage.asof import record_at, scan_at
from lyredb.storage.indexing import IndexExtractor
from lyredb.storage.record import is_expired
from lyredb.storage.snapshot import Snapshot
from lyredb.tables.query.costs import Meter
from lyredb.tables.query.ranges import EVERYTHING, Range
from lyredb.tables.stored import StoredTable

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

HOLD_S: Final = 0.05
"""How long a snapshot is held. A writer at full speed makes the file grow by some MB in
that time; nearly every answer is complete before."""
Row = tuple[bytes, bytes]
"""Stored key and stored record."""
Shape = Callable[[list[Row]], list[object]]
"""Makes a value of each row."""
FIRST_BATCH: Final = 32
LARGEST_BATCH: Final = 512


class View:
    """All reading of one answer; not for several threads.

    Attributes:
        meter: Counts what is read.
        batch: How many rows are read before others may have a turn.
        generation: Another one when what was open before has ended.
    """

    def __init__(self, engine: Engine, meter: Meter) -> None:
        self._engine = engine
        self._snapshot: Snapshot | None = None
        self._opened = 0.0
        self._position = -1
        self._now_ms = 0
        self._is_later = False
        self._changes: dict[int, dict[bytes, bytes | None]] = {}
        self._tables: dict[int, StoredTable] = {}
        self._known_to = 0
        self.meter = meter
        self.batch = FIRST_BATCH
        self.generation = 0
        self.has_moved = False

    @property
    def position(self) -> int:
        """The position that everything is read as of."""
        if self._position < 0:
            self.snapshot()
        return self._position

    def snapshot(self) -> Snapshot:
        """Return the snapshot of the moment, open.

        Raises:
            PositionLost: The log does not hold what followed the view's position; so does
                whatever reads here.
        """
        if self._snapshot is None:
            snapshot = self._engine.snapshot()
            self._snapshot = snapshot
            self._opened = time.monotonic()
            self.generation += 1
            if self._position < 0:
                self._position = self._known_to = snapshot.position
                self._now_ms = snapshot.now_ms
            else:
                snapshot.now_ms = self._now_ms
                self._is_later = snapshot.position != self._position
                if not snapshot.floor - 1 <= self._position:
                    raise PositionLost(
                        "the answer took so long that the log does not hold its beginning any more"
                    )
        return self._snapshot

    @property
    def is_old(self) -> bool:
        """The snapshot has been held for long enough."""
        return self._snapshot is not None and time.monotonic() - self._opened > HOLD_S

    def let_go(self) -> None:
        """End the snapshot; what follows is read as of its position."""
        self.has_moved = True
        self.close()

    def close(self) -> None:
        """End the snapshot. A second call does nothing."""
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None

    def noting(self, table: StoredTable, shape: Shape) -> Shape:
        """Return what makes values of the rows that are found; a view may look at them."""
        return shape

    def get(self, slot: int, key: bytes) -> bytes | None:
        """Return a record, ``None`` when there is none or it has expired."""
        snapshot = self._snapshot or self.snapshot()
        if not self._is_later:
            return snapshot.get(slot, key)
        stored = record_at(snapshot, slot, key, self._position)
        return None if stored is None or is_expired(stored, self._now_ms) else stored

    def get_many(self, slot: int, keys: Sequence[bytes]) -> list[Row]:
        """Return those records that there are, in the order of the keys."""
        snapshot = self._snapshot or self.snapshot()
        if not self._is_later:
            return snapshot.get_many(slot, keys)
        found = ((key, self.get(slot, key)) for key in keys)
        return [(key, stored) for key, stored in found if stored is not None]

    def page(
        self, slot: int, part: Range, after: bytes | None, *, reverse: bool
    ) -> tuple[list[Row], bytes | None] | None:
        """Return `Snapshot.page` of `batch` records, while the snapshot is that of the position.

        Else ``None``: then `records` are what there is.
        """
        snapshot = self.snapshot()
        if self._is_later:
            return None
        return snapshot.page(slot, *part, self.batch, after=after, reverse=reverse)

    def records(
        self, slot: int, part: Range, after: bytes | None, *, reverse: bool
    ) -> Iterator[Row]:
        """Yield records in the order of their keys, as long as the snapshot is open."""
        snapshot = self.snapshot()
        start, stop = part
        if not self._is_later:
            return snapshot.scan(slot, start, stop, after=after, reverse=reverse)
        now_ms = self._now_ms
        found = scan_at(snapshot, slot, self._position, start, stop, after=after, reverse=reverse)
        return ((key, stored) for key, stored in found if not is_expired(stored, now_ms))

    def index_page(
        self, index_slot: int, part: Range, after: Row | None, *, reverse: bool
    ) -> list[Row] | None:
        """Return `Snapshot.index_page` of `batch` entries; ``None`` as of `page`."""
        snapshot = self.snapshot()
        if self._is_later:
            return None
        return snapshot.index_page(index_slot, *part, self.batch, after=after, reverse=reverse)

    def entries(
        self,
        table: StoredTable,
        index_slot: int,
        part: Range,
        after: Row | None,
        *,
        reverse: bool,
    ) -> Iterator[Row]:
        """Yield encoded value and key of an index, as long as the snapshot is open."""
        snapshot = self.snapshot()
        walked = snapshot.index_rows(index_slot, *part, after=after, reverse=reverse)
        if not self._is_later:
            return walked
        changed = self._changed(table)
        if not changed:
            return walked
        before = self._entries_before(table, index_slot, part, changed)
        order = _descending if reverse else _ascending
        if after is not None:
            before = [one for one in before if order(one) > order(after)]
        before.sort(key=order)
        unchanged = (one for one in walked if one[1] not in changed)
        return heapq.merge(unchanged, before, key=order)

    def _changed(self, table: StoredTable) -> dict[bytes, bytes | None]:
        """The records of a table that changed since the position, as they were then."""
        snapshot = self.snapshot()
        if table.slot not in self._tables:
            # What was read before for others has to be read again for this one.
            self._tables[table.slot] = table
            self._changes[table.slot] = {}
            self._known_to = self._position
        while self._known_to < snapshot.position:
            for entry in snapshot.entries(self._known_to):
                self._known_to = entry.seq
                images = self._changes.get(entry.slot)
                if images is None or not entry.changes_record or entry.key in images:
                    continue
                images[entry.key] = record_at(snapshot, entry.slot, entry.key, self._position)
            self.meter.remember(sum(map(len, self._changes.values())))
        return self._changes[table.slot]

    def _entries_before(
        self,
        table: StoredTable,
        index_slot: int,
        part: Range,
        changed: dict[bytes, bytes | None],
    ) -> list[Row]:
        index = next(one for one in table.layout.indexes if one.slot == index_slot)
        extractor = IndexExtractor(table.layout, index)
        start, stop = part
        return [
            (encoded, key)
            for key, image in changed.items()
            if image is not None
            for _, encoded in extractor.entries(image)
            if start <= encoded < stop
        ]

    def estimate_index(self, index_slot: int, part: Range) -> int:
        """Return about how many entries an index has in a range."""
        if part == EVERYTHING:
            return self.snapshot().index_count(index_slot)
        return self.snapshot().estimate_index(index_slot, *part)

    def estimate_records(self, slot: int, part: Range) -> int:
        """Return about how many records a table has in a range."""
        if part == EVERYTHING:
            return self.count(slot)
        return self.snapshot().estimate_records(slot, *part)

    def count(self, slot: int) -> int:
        """Return how many records a table has now, expired ones included."""
        return self.snapshot().count(slot)


def _ascending(entry: Row) -> tuple[bytes, bytes]:
    return entry


_FLIP: Final = bytes(255 - byte for byte in range(256))


def _descending(entry: Row) -> tuple[bytes, bytes]:
    """Order values from above, keys from below.

    Flipped bytes end with what is above all others: of two values of which one begins the
    other, the longer is the greater.
    """
    return entry[0].translate(_FLIP) + b"\xff" * 2, entry[1]


class RecordWalk:
    """Records of ranges of keys, in batches; goes on where it was in another snapshot."""

    def __init__(self, view: View, slot: int, parts: list[Range], *, reverse: bool = False) -> None:
        self._view = view
        self._slot = slot
        self._parts = list(reversed(parts)) if reverse else list(parts)
        self._reverse = reverse
        self._after: bytes | None = None
        self._rows: Iterator[Row] = iter(())
        self._generation = -1

    def next(self) -> list[Row] | None:
        """Return the next records; ``None`` after the last."""
        view = self._view
        while self._parts:
            page = view.page(self._slot, self._parts[0], self._after, reverse=self._reverse)
            if page is not None:
                rows, self._after = page
                if self._after is None:
                    self._parts.pop(0)
                return rows
            if self._generation != view.generation:
                self._rows = view.records(
                    self._slot, self._parts[0], self._after, reverse=self._reverse
                )
                self._generation = view.generation
            batch = list(islice(self._rows, view.batch))
            if batch:
                self._after = batch[-1][0]
                return batch
            self._parts.pop(0)
            self._after = None
            self._generation = -1
        return None


class IndexWalk:
    """Entries of ranges of an index, in batches; goes on where it was in another snapshot."""

    def __init__(
        self,
        view: View,
        table: StoredTable,
        index_slot: int,
        parts: list[Range],
        *,
        reverse: bool = False,
    ) -> None:
        self._view = view
        self._table = table
        self._index_slot = index_slot
        self._parts = list(reversed(parts)) if reverse else list(parts)
        self._reverse = reverse
        self._after: Row | None = None
        self._entries: Iterator[Row] = iter(())
        self._generation = -1

    def next(self) -> list[Row] | None:
        """Return the next pairs of encoded value and key; ``None`` after the last."""
        view = self._view
        while self._parts:
            page = view.index_page(
                self._index_slot, self._parts[0], self._after, reverse=self._reverse
            )
            if page is not None:
                if len(page) == view.batch:
                    self._after = page[-1]
                else:
                    self._parts.pop(0)
                    self._after = None
                return page
            if self._generation != view.generation:
                self._entries = view.entries(
                    self._table,
                    self._index_slot,
                    self._parts[0],
                    self._after,
                    reverse=self._reverse,
                )
                self._generation = view.generation
            batch = list(islice(self._entries, view.batch))
            if batch:
                self._after = batch[-1]
                return batch
            self._parts.pop(0)
            self._after = None
            self._generation = -1
        return None
