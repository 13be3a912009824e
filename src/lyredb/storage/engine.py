"""The engine: one data directory, its environment, its tables and its log.

An engine belongs to one process and, for writing, to one thread. Reading goes through
`Engine.snapshot`, writing through `writer.Writer`; what changes the shape of the store
(tables, indexes, segments) is in `shape`, `retention` and `logx`, and all of it commits
through `Engine.write`.

A commit that fails because the disk is full is rolled back (`DiskFull`) and may be
tried again. After any other failure nothing is retried: the environment is closed and
opened again once, for reading only, and what is on disk then tells what happened.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lyredb.errors import EngineClosed, StorageError, StorageFailed
from lyredb.storage import directory as directories
from lyredb.storage import index_builds, meta, retention, shape
from lyredb.storage.clock import Clock
from lyredb.storage.data_directory import DirectoryLock, free_bytes
from lyredb.storage.directory import Directory
from lyredb.storage.engine_statistics import EngineStatistics
from lyredb.storage.environment import (
    MAX_DATABASES,
    DatabasesFull,
    EngineError,
    Environment,
    Handles,
    MapFull,
    Transaction,
    is_disk_full,
)
from lyredb.storage.known_log import KnownLog
from lyredb.storage.layout import IndexLayout, TableLayout
from lyredb.storage.log_index import LogIndex
from lyredb.storage.opening import initialise, opening_error
from lyredb.storage.record import has_deadline, is_expired
from lyredb.storage.settings import StorageSettings
from lyredb.storage.snapshot import Snapshot
from lyredb.storage.space import Space

_logger: Final = logging.getLogger(__name__)


def wall_clock_ms() -> int:
    """Return the milliseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1_000_000


class Engine:
    """An open data directory; made by `Engine.open`.

    Attributes:
        settings: As given.
        now_ms: The wall clock, as given.
        path: The data directory.
        clock: Stamps versions; restored from the log.
        position: The last position that is committed.
        form: The row ``format``; the writer replaces it.
        layouts: The tables by slot. Replaced, never changed in place.
        dropping: The slots of removed indexes that are not empty yet, and not free.
        log_index: Finds the entries of a table or key; see `Snapshot.entries_of`.
    """

    def __init__(
        self,
        environment: Environment,
        lock: DirectoryLock | None,
        *,
        path: Path,
        settings: StorageSettings,
        now_ms: Callable[[], int],
        free_bytes_of: Callable[[Path], int],
    ) -> None:
        self._environment = environment
        self._lock = lock
        self._space = Space(path, settings, now_ms, free_bytes_of)
        self._failure = ""
        self._closed = False
        self._log = KnownLog(environment)
        self.settings = settings
        self.path = path
        self.now_ms = now_ms
        self.position = 0
        self.clock = Clock(now_ms)
        self.layouts: Mapping[int, TableLayout] = {}
        self.dropping: frozenset[int] = frozenset()
        self._building: frozenset[int] = frozenset()
        self.log_index = LogIndex(self)
        self.form = self._load()
        self._log.follows = environment.readonly

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        settings: StorageSettings | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
        readonly: bool = False,
        free_bytes_of: Callable[[Path], int] = free_bytes,
        lock: DirectoryLock | None = None,
    ) -> Engine:
        """Open a data directory, and make it when it does not exist.

        Args:
            path: The directory.
            settings: Limits; the defaults when not given.
            now_ms: The wall clock.
            readonly: Read beside the process that writes; the directory must exist.
            free_bytes_of: Tells the free space on the disk of a path.
            lock: The directory's, when this process holds it already; the engine's from now
                on.

        Raises:
            DataDirectoryInUse: Another process writes it, or this one has it open.
            FormatMismatch: Its format is unknown to this version.
            DiskFull: There is no space to make it.
            StorageFailed: The operating system refuses.
        """
        directory = Path(path)
        settings = settings or StorageSettings()
        if lock is None and not readonly:
            lock = DirectoryLock(directory)
        environment = None
        try:
            environment = Environment(directory, map_size=settings.map_size, readonly=readonly)
            if not readonly:
                initialise(environment, now_ms())
            return cls(
                environment,
                lock,
                path=directory,
                settings=settings,
                now_ms=now_ms,
                free_bytes_of=free_bytes_of,
            )
        except BaseException as error:
            if environment is not None:
                environment.close()
            if lock is not None:
                lock.release()
            if isinstance(error, EngineError):
                raise opening_error(error) from error
            raise

    def _load(self) -> meta.Format:
        """Read the rows that say what is in the store."""
        with self.snapshot() as snapshot:
            row = snapshot.meta_row(meta.FORMAT)
            if row is None:
                raise StorageFailed("the data directory was never completely made")
            form = meta.decode_format(row, page_size=self._environment.page_size())
            self._load_position(snapshot)
            self._load_shape(snapshot)
        return form

    def _load_shape(self, snapshot: Snapshot) -> None:
        """Read which tables and indexes there are, all of one moment."""
        layouts = (meta.decode_layout(*row) for row in snapshot.scan_meta(meta.TABLE_PREFIX))
        self.layouts = {layout.slot: layout for layout in layouts}
        self._building = _slots(snapshot, meta.BUILD_PREFIX)
        self.dropping = _slots(snapshot, meta.DROP_PREFIX)

    def _load_position(self, snapshot: Snapshot) -> None:
        row = snapshot.meta_row(meta.POSITION)
        assert row is not None, "written together with the format"
        self.position, version, number = meta.decode_position(row)
        self.clock = Clock(self.now_ms, version)
        self._log.adopt(self._log.directory_of(number, snapshot), number)

    def refresh(self) -> int:
        """Take note of what the writing process has committed; return the last position.

        For an engine that was opened for reading; tables stay as they are until
        `refresh_shape`. One that writes knows already.

        Raises:
            EngineClosed, StorageFailed: As `snapshot`.
        """
        if self._log.follows:
            with self.snapshot() as snapshot:
                self.position = snapshot.position
        return self.position

    def refresh_shape(self) -> None:
        """Take note of the tables and indexes that the writing process has by now.

        Raises:
            EngineClosed, StorageFailed: As `snapshot`.
        """
        if not self._log.follows:
            return
        while True:
            # A database must be open before the transaction in which it is read.
            self._environment.discover()
            with self.snapshot() as snapshot:
                self._load_shape(snapshot)
            slots = {index.slot for table in self.layouts.values() for index in table.indexes}
            opened = self.handles
            if opened.indexes.keys() >= slots and opened.records.keys() >= self.layouts.keys():
                return

    @property
    def building(self) -> frozenset[int]:
        """The slots of indexes that are not complete, and must not be used.

        An engine that reads looks at the store while there are any: an index that is
        complete here is complete in every snapshot that begins afterwards.
        """
        if self._building and self._log.follows:
            with self.snapshot() as snapshot:
                self._building = _slots(snapshot, meta.BUILD_PREFIX)
        return self._building

    def note_building(self, slots: frozenset[int]) -> None:
        """Take note of a commit that changed which indexes are complete. Only for this room."""
        self._building = slots

    @property
    def log_id(self) -> bytes:
        """The random identity of the log, 16 bytes; positions are worth nothing in another."""
        return self.form.log_id

    @property
    def directory(self) -> Directory:
        """The log's segments, oldest first."""
        return self._log.directory

    @property
    def floor(self) -> int:
        """The first position that the log still holds, or will hold."""
        return directories.floor_of(self._log.directory)

    @property
    def handles(self) -> Handles:
        """The open databases. Only for the modules of this room."""
        return self._environment.handles

    @property
    def generation(self) -> int:
        """How often the environment was reopened; older snapshots are dead."""
        return self._environment.generation

    @property
    def is_closed(self) -> bool:
        """``close()`` was called."""
        return self._closed

    @property
    def failure(self) -> str:
        """Why the engine is read-only, or empty."""
        return self._failure

    @property
    def full(self) -> str:
        """What has no space for writes, or empty: ``disk full`` or ``data file full``.

        The disk's minimum is looked at now; a commit that found no space counts until the
        next one succeeds. Reads go on meanwhile.
        """
        return self._space.lack

    def snapshot(self) -> Snapshot:
        """Begin a snapshot; a context manager.

        Raises:
            EngineClosed: ``close()`` was called.
            StorageFailed: The environment cannot be read.
        """
        if self._closed:
            raise EngineClosed("the engine is closed")
        try:
            return Snapshot(self, self._log.begin_read(), self._environment.handles)
        except EngineError as error:
            raise StorageFailed("the data file cannot be read") from error

    def record(self, slot: int, key: bytes) -> bytes | None:
        """Return one stored record as of now, ``None`` when there is none or it has expired.

        As `Snapshot.get`, for a third of what making a snapshot of one read costs.

        Raises:
            EngineClosed: ``close()`` was called.
            StorageFailed: The environment cannot be read.
        """
        if self._closed:
            raise EngineClosed("the engine is closed")
        environment = self._environment
        try:
            stored = environment.get(environment.handles.records[slot], key)
        except EngineError as error:
            raise StorageFailed("the data file cannot be read") from error
        is_gone = stored is not None and has_deadline(stored) and is_expired(stored, self.now_ms())
        return None if is_gone else stored

    def directory_of(self, number: int, snapshot: Snapshot) -> Directory:
        """Return the directory that was in force when the snapshot began."""
        return self._log.directory_of(number, snapshot)

    def position_at(self, ms: int) -> int:
        """Return the position after which everything happened at or after a time.

        A time below the floor gives the floor's predecessor, one in the future the
        last position.
        """
        with self.snapshot() as snapshot:
            return retention.position_at(snapshot, ms)

    def list_meta(self, prefix: str = "") -> dict[str, bytes]:
        """Return all rows written by SCHEMA mutations whose name begins so."""
        with self.snapshot() as snapshot:
            return {
                name.removeprefix(meta.SCHEMA_PREFIX).decode(): row
                for name, row in snapshot.scan_meta(meta.SCHEMA_PREFIX + prefix.encode())
            }

    def define_table(self, layout: TableLayout) -> None:
        """Make a table, or change one that exists; see `shape.define_table`."""
        shape.define_table(self, layout)

    def drop_table(self, slot: int) -> None:
        """Remove a table with its records; see `shape.drop_table`."""
        shape.drop_table(self, slot)

    def allocate_slots(self, *, tables: int = 0, indexes: int = 0) -> shape.FreeSlots:
        """Return the lowest free slots; see `shape.allocate_slots`."""
        return shape.allocate_slots(self.layouts, tables, indexes, taken=self.dropping)

    def check_room(self, layouts: Iterable[TableLayout]) -> None:
        """Check that all these tables can be defined; see `shape.check_room`."""
        shape.check_room(self, layouts)

    def build_index(self, table: TableLayout, index: IndexLayout) -> Iterator[int]:
        """Fill an index in bounded steps; see `index_builds.build_index`."""
        return index_builds.build_index(self, table, index)

    def open_databases(self, *names: str) -> None:
        """Create and open databases before the commit that needs them.

        Raises:
            DiskFull: Nothing was created.
            StorageFailed: The engine is read-only now.
            StorageError: There are too many; nothing was created.
        """
        self._check_writable()
        try:
            self._environment.ensure(names)
        except EngineError as error:
            raise self._failed_commit(error) from error

    @contextmanager
    def write(self, *, below_minimum: bool = False) -> Iterator[Transaction]:
        """Run one write transaction: committed and on disk at the end of the block.

        An exception in the block rolls it back. The caller must not hold a snapshot's
        iterator across it that it still needs after a failure.

        Args:
            below_minimum: Go on below ``min_free_bytes``, as long as there is space at all.

        Raises:
            DiskFull: The disk or the map is full; rolled back, may be tried again.
            StorageFailed: It may or may not be on disk; the engine is read-only now.
            EngineClosed: ``close()`` was called.
        """
        self._check_writable(below_minimum=below_minimum)
        transaction: Transaction | None = None
        try:
            transaction = self._environment.write()
            yield transaction
            transaction.commit()
            self._space.note_success()
        except EngineError as error:
            if transaction is not None:
                _abort(transaction)
            raise self._failed_commit(error) from error
        except BaseException:
            if transaction is not None:
                transaction.abort()
            raise

    def advance(self, position: int) -> None:
        """Take note of a commit that moved the position. For the writer only."""
        self.position = position

    def position_row(self, position: int) -> bytes:
        """Return the meta row that a commit up to `position` writes."""
        return meta.encode_position(position, self.clock.last, self._log.number)

    def put_directory(self, transaction: Transaction, directory: Directory) -> int:
        """Write a new directory in a transaction and return its number for `adopt`."""
        number = self._log.number + 1
        handle = self.handles.meta
        transaction.put(meta.DIRECTORY, meta.encode_directory(directory), db=handle)
        row = meta.encode_position(self.position, self.clock.last, number)
        transaction.put(meta.POSITION, row, db=handle)
        return number

    def adopt(self, directory: Directory, number: int) -> None:
        """Use a directory, after its commit."""
        self._log.adopt(directory, number)

    def statistics(self) -> EngineStatistics:
        """Return the numbers of this moment."""
        with self.snapshot() as snapshot:
            return EngineStatistics.of(
                snapshot,
                used_bytes=self._environment.used_bytes(),
                readers=self._environment.readers(),
                tables=len(self.layouts),
                building=len(self.building),
                failed=bool(self._failure),
            )

    def check_readers(self) -> int:
        """Free the reader slots that dead processes left, and return how many."""
        return self._environment.check_readers()

    def close(self) -> None:
        """Close the environment and let others have the directory.

        Nothing is lost: every acknowledged write is on disk. A second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._environment.close()
        if self._lock is not None:
            self._lock.release()

    def _check_writable(self, *, below_minimum: bool = False) -> None:
        if self._closed:
            raise EngineClosed("the engine is closed")
        if self._failure:
            raise StorageFailed(self._failure)
        if self._environment.readonly:
            raise StorageError("the engine was opened for reading only")
        if not self._environment.is_in_place():
            self._failure = (
                "the data file was deleted or moved while it was in use; nothing was written, "
                "and the database is read-only until it is reopened"
            )
            _logger.critical("%s", self._failure)
            raise StorageFailed(self._failure)
        if not below_minimum and self._space.is_below_minimum():
            raise self._space.below_minimum()

    def _failed_commit(self, error: EngineError) -> StorageError:
        """Say what a failed commit means, and put the engine into the state for it."""
        if isinstance(error, MapFull):
            return self._space.file_full()
        if isinstance(error, DatabasesFull):
            return StorageError(
                f"the store has its {MAX_DATABASES} databases for tables, indexes and the log; "
                "nothing was made"
            )
        space = self._space
        full = is_disk_full(error) or space.is_below_minimum() or space.is_used_up()
        if full and self._environment.is_usable():
            return self._space.disk_full()
        _logger.critical("commit failed, the engine is read-only from here: %s", error)
        self._failure = "a write failed on disk; the database is read-only until it is reopened"
        self._reopen()
        return StorageFailed(self._failure)

    def _reopen(self) -> None:
        before = self.position
        try:
            self._environment.reopen_readonly()
            with self.snapshot() as snapshot:
                self._log.number = -1
                self._load_position(snapshot)
        except StorageError as error:
            _logger.critical("the data file cannot be read either: %s", error)
            return
        _logger.critical("reopened at position %d, before it was %d", self.position, before)


def _slots(snapshot: Snapshot, prefix: bytes) -> frozenset[int]:
    return meta.slots_in((name for name, _ in snapshot.scan_meta(prefix)), prefix)


def _abort(transaction: Transaction) -> None:
    """End a transaction whose commit may have ended it already."""
    try:
        transaction.abort()
    except EngineError as error:
        _logger.debug("the failed commit had ended its transaction: %s", error)
