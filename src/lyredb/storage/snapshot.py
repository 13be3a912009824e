"""A consistent view of records, graves, indexes and log at one position.

A snapshot is an LMDB read transaction: pages that it sees are not reused while it is
open, so it should live for milliseconds. Longer reading pages through fresh snapshots:
`frontier` and `asof`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Final

from lyredb.errors import EngineClosed, PositionLost, StorageFailed
from lyredb.storage import directory as directories
from lyredb.storage import meta
from lyredb.storage.directory import Directory
from lyredb.storage.entry import Entry, decode_entry
from lyredb.storage.environment import EngineError, Handle, Handles, Transaction
from lyredb.storage.estimate import estimate_range
from lyredb.storage.record import HAS_EXPIRES, is_expired
from lyredb.storage.walking import backwards, forwards, values_down, values_up

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

DEFAULT_ENTRIES: Final = 2000
"""What one step of the tail reads at most."""
DEFAULT_ENTRY_BYTES: Final = 8 * 1024 * 1024


def seq_key(seq: int) -> bytes:
    """Return the key of a position in the log."""
    return seq.to_bytes(8, "big")


class Snapshot:
    """Reads as of one position; a context manager, closed at its end.

    Cursors of its iterators die with it. Reading after the end, or after the engine
    has reopened its environment, raises `StorageFailed`, after ``engine.close()``
    `EngineClosed`.

    Attributes:
        now_ms: The time by which records count as expired.
    """

    __slots__ = (
        "_directory",
        "_engine",
        "_handles",
        "_position",
        "_reading",
        "_transaction",
        "now_ms",
    )

    def __init__(self, engine: Engine, transaction: Transaction, handles: Handles) -> None:
        self._engine = engine
        self._transaction = transaction
        self._handles = handles
        self._reading = _Reading(engine)
        self._position = -1
        self._directory: Directory | None = None
        self.now_ms = engine.now_ms()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the snapshot. A second call does nothing."""
        self._transaction.abort()

    @property
    def position(self) -> int:
        """The last position whose effects are visible."""
        if self._position < 0:
            self._load()
        return self._position

    @property
    def directory(self) -> Directory:
        """The log's segments as of the position."""
        if self._directory is None:
            self._load()
        assert self._directory is not None
        return self._directory

    @property
    def floor(self) -> int:
        """The first position that the log still holds, or will hold."""
        return directories.floor_of(self.directory)

    def _load(self) -> None:
        row = self.meta_row(meta.POSITION)
        assert row is not None, "every environment has a position row"
        self._position, _, number = meta.decode_position(row)
        self._directory = self._engine.directory_of(number, self)

    def get(self, slot: int, key: bytes) -> bytes | None:
        """Return the stored record, ``None`` when there is none or it has expired."""
        try:
            stored = self._transaction.get(key, db=self._handles.records[slot])
        except EngineError as error:
            raise _failed(self._engine) from error
        return None if stored is None or is_expired(stored, self.now_ms) else stored

    def get_many(self, slot: int, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """Return key and record of those that there are, in the order of the keys.

        In one call of LMDB: half of what `get` costs for each.
        """
        with self._reading, self._transaction.cursor(self._handles.records[slot]) as cursor:
            return self._unexpired(cursor.getmulti(keys))

    def _unexpired(self, rows: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        # Most have no deadline, and are told apart without a call.
        now_ms = self.now_ms
        return [
            row for row in rows if not row[1][19] & HAS_EXPIRES or not is_expired(row[1], now_ms)
        ]

    def page(
        self,
        slot: int,
        start: bytes,
        stop: bytes,
        count: int,
        *,
        after: bytes | None = None,
        reverse: bool = False,
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """Return the next records of a `scan`, and behind which key it goes on.

        At most ``count``, fewer where deadlines have passed; ``None`` after the last.
        """
        with self._reading, self._transaction.cursor(self._handles.records[slot]) as cursor:
            walk = backwards if reverse else forwards
            rows = list(islice(walk(cursor, start, stop, after), count))
        return self._unexpired(rows), rows[-1][0] if len(rows) == count else None

    def stored(self, slot: int, key: bytes) -> bytes | None:
        """Return the stored record even when its deadline has passed."""
        with self._reading:
            return self._transaction.get(key, db=self._handles.records[slot])

    def unref_row(self, name: bytes) -> bytes | None:
        """Return a row about the files of blobs; see `blob_rows`."""
        with self._reading:
            return self._transaction.get(name, db=self._handles.unref)

    def scan_unref(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows about the files of blobs whose names begin so, in order."""
        return self._beginning(self._handles.unref, prefix)

    def grave(self, slot: int, key: bytes) -> bytes | None:
        """Return the header left by a deleted record or by messages without a record."""
        with self._reading:
            return self._transaction.get(key, db=self._handles.graves[slot])

    def scan(
        self,
        slot: int,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        after: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and record for ``start <= key < stop`` in key order, or backwards.

        Args:
            slot: The table.
            start: First key.
            stop: First key that is out, ``None`` for the end of the table.
            after: Go on behind this key in the direction of the scan.
            reverse: From the highest key down.
        """
        for key, stored in self._walk(
            self._handles.records[slot], start, stop, after=after, reverse=reverse
        ):
            # Most have no deadline: without a call a scan takes a quarter less.
            if not stored[19] & HAS_EXPIRES or not is_expired(stored, self.now_ms):
                yield key, stored

    def scan_stored(
        self,
        slot: int,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        after: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield like `scan`, records whose deadline has passed included."""
        return self._walk(self._handles.records[slot], start, stop, after=after, reverse=reverse)

    def scan_graves(
        self,
        slot: int,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        after: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and header of the graves in a range."""
        return self._walk(self._handles.graves[slot], start, stop, after=after, reverse=reverse)

    def scan_index(
        self, index_slot: int, start: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs of encoded value and record key of an index, in order.

        Args:
            index_slot: The index.
            start: First encoded value.
            stop: First one that is out, ``None`` for the end of the index.
        """
        return self._walk(self._handles.indexes[index_slot], start, stop)

    def scan_logx(
        self, ring_slot: int, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of a segment's index in a range, in order or backwards."""
        return self._walk(self._handles.logx[ring_slot], start, stop, reverse=reverse)

    def scan_meta(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the meta rows whose name begins with `prefix`."""
        return self._beginning(self._handles.meta, prefix)

    def index_keys(self, index_slot: int, encoded: bytes) -> Iterator[bytes]:
        """Yield, in order, the keys of the records indexed with exactly this value.

        Records whose deadline has passed are among them; `get` hides those.
        """
        with self._reading, self._transaction.cursor(self._handles.indexes[index_slot]) as cursor:
            if cursor.set_key(encoded):
                yield from cursor.iternext_dup()

    def index_rows(
        self,
        index_slot: int,
        start: bytes,
        stop: bytes,
        *,
        after: tuple[bytes, bytes] | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield encoded value and record key for ``start <= value < stop``.

        Values ascend, or descend with `reverse`; the keys of one value ascend in both.
        Records whose deadline has passed are among them.

        Args:
            index_slot: The index.
            start: First value.
            stop: First value that is out.
            after: Go on behind this pair in the direction of the walk.
            reverse: From the highest value down.
        """
        with self._reading, self._transaction.cursor(self._handles.indexes[index_slot]) as cursor:
            yield from (
                values_down(cursor, start, stop, after)
                if reverse
                else values_up(cursor, start, stop, after)
            )

    def index_page(
        self,
        index_slot: int,
        start: bytes,
        stop: bytes,
        count: int,
        *,
        after: tuple[bytes, bytes] | None = None,
        reverse: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Return the next pairs of `index_rows`, at most ``count``; fewer at the end only."""
        with self._reading, self._transaction.cursor(self._handles.indexes[index_slot]) as cursor:
            walk = values_down if reverse else values_up
            return list(islice(walk(cursor, start, stop, after), count))

    def estimate_index(self, index_slot: int, start: bytes, stop: bytes) -> int:
        """Return about how many entries an index has in a range. O(log n)."""
        return self._estimate(self._handles.indexes[index_slot], start, stop, is_index=True)

    def index_count(self, index_slot: int) -> int:
        """Return how many entries an index has. O(1)."""
        with self._reading:
            return self._transaction.stat(self._handles.indexes[index_slot])["entries"]

    def estimate_records(self, slot: int, start: bytes, stop: bytes | None) -> int:
        """Return about how many records a table has in a range of keys. O(log n)."""
        return self._estimate(self._handles.records[slot], start, stop, is_index=False)

    def estimate_graves(self, slot: int, start: bytes, stop: bytes | None) -> int:
        """Return about how many graves a table has in a range of keys. O(log n)."""
        return self._estimate(self._handles.graves[slot], start, stop, is_index=False)

    def _estimate(self, handle: Handle, start: bytes, stop: bytes | None, *, is_index: bool) -> int:
        with self._reading, self._transaction.cursor(handle) as cursor:
            entries = self._transaction.stat(handle)["entries"]
            return estimate_range(cursor, entries, start, stop, has_duplicates=is_index)

    def count(self, slot: int) -> int:
        """Return how many records are stored, expired ones included. O(1)."""
        with self._reading:
            return self._transaction.stat(self._handles.records[slot])["entries"]

    def meta_row(self, name: bytes) -> bytes | None:
        """Return a row of ``meta``; see `meta`."""
        with self._reading:
            return self._transaction.get(name, db=self._handles.meta)

    def session_row(self, name: bytes) -> bytes | None:
        """Return a session's progress row."""
        with self._reading:
            return self._transaction.get(name, db=self._handles.sess)

    def session_rows(
        self, start: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the progress rows of a range of names, all by default, with their names."""
        return self._walk(self._handles.sess, start, stop)

    def entries(
        self,
        after: int,
        *,
        limit: int = DEFAULT_ENTRIES,
        max_bytes: int = DEFAULT_ENTRY_BYTES,
    ) -> list[Entry]:
        """Return the entries after a position, in order, without gap.

        At least one, if there is one, whatever its size.

        Raises:
            PositionLost: The log has lost entries after it, or never came so far.
        """
        return [
            decode_entry(seq, stored)
            for seq, stored in self.raw_entries(after, limit=limit, max_bytes=max_bytes)
        ]

    def raw_entries(
        self,
        after: int,
        *,
        limit: int = DEFAULT_ENTRIES,
        max_bytes: int = DEFAULT_ENTRY_BYTES,
    ) -> list[tuple[int, bytes]]:
        """Return like `entries`, not decoded, each with its position.

        Raises:
            PositionLost: The log has lost entries after it, or never came so far.
        """
        if not self.floor - 1 <= after <= self.position:
            raise PositionLost("the log does not hold what followed this position")
        found: list[tuple[int, bytes]] = []
        left = max_bytes
        with self._reading:
            while after < self.position and len(found) < limit and left > 0:
                segment = directories.segment_of(self.directory, after + 1)
                assert segment is not None, "the floor was checked"
                handle = self._handles.log[directories.ring_slot(segment)]
                before = len(found)
                left = self._collect(handle, after, limit, left, found)
                assert len(found) > before, "the log has no gaps"
                after = found[-1][0]
        return found

    def _collect(
        self, handle: Handle, after: int, limit: int, left: int, found: list[tuple[int, bytes]]
    ) -> int:
        with self._transaction.cursor(handle) as cursor:
            if not cursor.set_range(seq_key(after + 1)):
                return left
            seq = int.from_bytes(cursor.key(), "big")
            room = limit - len(found)
            for stored in cursor.iternext(keys=False):  # positions have no gaps
                found.append((seq, stored))
                seq += 1
                left -= len(stored)
                room -= 1
                if left <= 0 or not room:
                    break
        return left

    def raw_entry(self, seq: int) -> bytes | None:
        """Return the stored entry at a position, ``None`` when the log has none there."""
        segment = directories.segment_of(self.directory, seq)
        if segment is None or seq > self.position:
            return None
        with self._reading:
            return self._transaction.get(
                seq_key(seq), db=self._handles.log[directories.ring_slot(segment)]
            )

    def entry(self, seq: int) -> Entry | None:
        """Return the entry at a position, ``None`` when the log has none there."""
        stored = self.raw_entry(seq)
        return None if stored is None else decode_entry(seq, stored)

    def entries_of(
        self, slot: int, key: bytes | None, after: int, upto: int, *, reverse: bool = False
    ) -> Iterator[Entry]:
        """Yield the entries of a table, or of one key, with ``after < seq <= upto``.

        Only those that the log still holds, in order or from the last to the first. Cost:
        the entries taken, and once after a restart the entries of the open segment.
        """
        return self._engine.log_index.entries_of(self, slot, key, after, upto, reverse=reverse)

    def positions_of(self, slot: int, key: bytes | None, after: int, upto: int) -> Iterator[int]:
        """Yield in order where the entries are, as `entries_of`; some may be of other keys."""
        return self._engine.log_index.positions_of(self, slot, key, after, upto)

    def catch_up_index(self) -> bool:
        """Do a bounded part of what `entries_of` would do first; tell whether nothing is left."""
        return self._engine.log_index.catch_up(self)

    def log_count(self, ring_slot: int) -> int:
        """Return how many entries a segment has. O(1)."""
        with self._reading:
            return self._transaction.stat(self._handles.log[ring_slot])["entries"]

    def log_bytes(self, ring_slot: int) -> int:
        """Return the bytes of the pages that a segment takes."""
        with self._reading:
            return pages_bytes(self._transaction, self._handles.log[ring_slot])

    def _walk(
        self,
        handle: Handle,
        start: bytes,
        stop: bytes | None,
        *,
        after: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        with self._reading, self._transaction.cursor(handle) as cursor:
            if reverse:
                yield from backwards(cursor, start, stop, after)
            else:
                yield from forwards(cursor, start, stop, after)

    def _beginning(self, handle: Handle, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for name, row in self._walk(handle, prefix, None):
            if not name.startswith(prefix):
                return
            yield name, row


class _Reading:
    """Tells errors of LMDB in our words; a class, since each read of a snapshot enters it."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, EngineError):
            raise _failed(self._engine) from error


def _failed(engine: Engine) -> EngineClosed | StorageFailed:
    if engine.is_closed:
        return EngineClosed("the engine was closed while a snapshot was open")
    return StorageFailed("the snapshot can no longer be read")


def pages_bytes(transaction: Transaction, handle: Handle) -> int:
    """Return the bytes of the pages that a database takes."""
    stat = transaction.stat(handle)
    pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return pages * stat["psize"]
