"""Keeps the index of the log complete: in memory for the newest, written for the sealed.

Memory is built from the log itself: after a restart in steps, from then on by what each
commit logs. A sealed segment's index is written in steps with its progress in ``meta``;
until it is complete, memory serves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from lyredb.storage import directory as directories
from lyredb.storage import meta
from lyredb.storage.entry import Entry
from lyredb.storage.logx import BUCKETS, SegmentIndex, offsets_between, stored_offsets
from lyredb.storage.meta import Segment
from lyredb.storage.overlay import Address
from lyredb.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

_PROGRESS: Final = struct.Struct(">QH")
"""Number of the segment, and how many parts of its index are written."""
_ROWS_PER_STEP: Final = 4000


class LogIndex:
    """The index of one engine's log.

    Args:
        engine: Written by this process when `step` is used; a reading process has an
            index of its own, in memory alone.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._memory: dict[int, SegmentIndex] = {}

    def note(self, first_seq: int, addresses: Sequence[Address]) -> None:
        """Take what a commit has logged, if memory is complete up to there."""
        segment = self._engine.directory[-1]
        index = self._of(segment)
        if index.next_seq == first_seq:
            index.add(addresses)

    @property
    def is_due(self) -> bool:
        """A sealed segment waits for its index to be written."""
        return self._next_sealed() is not None

    def step(self) -> None:
        """Read or write a bounded part of the oldest missing index.

        Raises:
            DiskFull: Nothing was written; the step may be made again.
            StorageFailed: The engine is read-only now.
        """
        segment = self._next_sealed()
        if segment is None:
            return
        index = self._of(segment)
        if index.next_seq <= segment.last_seq:
            with self._engine.snapshot() as snapshot:
                index.catch_up(snapshot, segment.last_seq)
            return
        self._write(segment, index)

    def entries_of(
        self,
        snapshot: Snapshot,
        slot: int,
        key: bytes | None,
        after: int,
        upto: int,
        *,
        reverse: bool = False,
    ) -> Iterator[Entry]:
        """Yield the entries of a table, or of one key, with ``after < seq <= upto``.

        In order, or from the last to the first. Only entries that the log still holds and the
        snapshot sees. Cost: what is taken, and O(log n) for each segment between. What memory
        lacks after a restart is read first: O(entries of the open segment), once.
        """
        for seq in self.positions_of(snapshot, slot, key, after, upto, reverse=reverse):
            entry = snapshot.entry(seq)
            if entry is not None and (key is None or entry.key == key) and entry.slot == slot:
                yield entry

    def positions_of(
        self,
        snapshot: Snapshot,
        slot: int,
        key: bytes | None,
        after: int,
        upto: int,
        *,
        reverse: bool = False,
    ) -> Iterator[int]:
        """Yield where the entries are, as `entries_of`, and others whose hash is the same."""
        upto = min(upto, snapshot.position)
        directory = snapshot.directory
        for segment in reversed(directory) if reverse else directory:
            last = segment.last_seq or snapshot.position
            if last <= after or segment.first_seq > upto:
                continue
            begin = segment.first_seq
            bounds = max(after + 1 - begin, 0), min(upto, last) - begin
            for offset in self._offsets(snapshot, segment, slot, key, bounds, reverse=reverse):
                yield begin + offset

    def catch_up(self, snapshot: Snapshot) -> bool:
        """Read a bounded part of what memory lacks, as after a start; tell whether it has all."""
        for segment in snapshot.directory:
            if not segment.indexed:
                last = segment.last_seq or snapshot.position
                if not self._of(segment).catch_up(snapshot, last):
                    return False
        return True

    def _offsets(
        self,
        snapshot: Snapshot,
        segment: Segment,
        slot: int,
        key: bytes | None,
        bounds: tuple[int, int],
        *,
        reverse: bool,
    ) -> Iterator[int]:
        """Yield the offsets from the first to the last of the bounds that the index has."""
        if segment.indexed:
            return stored_offsets(snapshot, segment, slot, key, bounds, reverse=reverse)
        index = self._of(segment)
        last = segment.last_seq or snapshot.position
        while not index.catch_up(snapshot, last):
            pass
        if key is None:
            return offsets_between(index.of_slot(slot), bounds, reverse=reverse)
        return index.of_key(slot, key, bounds, reverse=reverse)

    def _of(self, segment: Segment) -> SegmentIndex:
        index = self._memory.get(segment.number)
        if index is None:
            index = self._memory[segment.number] = SegmentIndex(segment)
            self._forget()
        return index

    def _forget(self) -> None:
        """Drop the memory of segments that have an index or are gone."""
        needed = {part.number for part in self._engine.directory if not part.indexed}
        for number in [number for number in self._memory if number not in needed]:
            del self._memory[number]

    def _next_sealed(self) -> Segment | None:
        for segment in self._engine.directory[:-1]:
            if not segment.indexed:
                return segment
        return None

    def _write(self, segment: Segment, index: SegmentIndex) -> None:
        """Write the next parts: part 0 is the tables, part n the keys of bucket n - 1."""
        engine = self._engine
        done = self._progress(segment)
        new, number = engine.directory, -1
        handle = engine.handles.logx[directories.ring_slot(segment)]
        with engine.write() as transaction:
            if not done:
                transaction.drop(handle, delete=False)
            written = 0
            while done <= BUCKETS and written < _ROWS_PER_STEP:
                rows = list(index.key_rows(done - 1) if done else index.slot_rows())
                with transaction.cursor(handle) as cursor:
                    cursor.putmulti(rows)
                written += len(rows)
                done += 1
            row = _PROGRESS.pack(segment.number, done)
            transaction.put(meta.INDEXING, row, db=engine.handles.meta)
            if done > BUCKETS:
                new = directories.with_indexed(engine.directory, segment.number)
                number = engine.put_directory(transaction, new)
        if number >= 0:
            engine.adopt(new, number)
            self._forget()

    def _progress(self, segment: Segment) -> int:
        with self._engine.snapshot() as snapshot:
            row = snapshot.meta_row(meta.INDEXING)
        if row is None:
            return 0
        number, done = _PROGRESS.unpack(row)
        return done if number == segment.number else 0
