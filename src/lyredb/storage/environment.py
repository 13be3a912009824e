"""The LMDB environment and its handles; the only module that opens LMDB.

Handles are few and for ever: py-lmdb cannot close one, a handle opened in a read
transaction dies with it, and one created in an aborted write is dead. So they are
opened here alone: all existing ones when the environment opens, new ones in a write
transaction of their own, before the group that needs them. The tables of handles are
replaced, never changed, so that a snapshot keeps those that existed when it began.

The environment is never opened with ``writemap`` (a full disk would be a SIGBUS) nor
without ``sync``; a commit is the pages, fdatasync, then the meta page on a second
descriptor that is O_DSYNC.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import lmdb

from lyredb.errors import FormatMismatch, StorageFailed
from lyredb.storage.data_directory import NO_SPACE
from lyredb.storage.data_file import FILE_NAME, check_complete

Transaction: TypeAlias = "lmdb.Transaction[bytes]"
Cursor: TypeAlias = "lmdb.Cursor[bytes]"
Handle: TypeAlias = Any
"""A database of the environment; py-lmdb's class for it is private."""

EngineError: TypeAlias = lmdb.Error
MapFull: TypeAlias = lmdb.MapFullError
DatabasesFull: TypeAlias = lmdb.DbsFullError

MAX_DATABASES: Final = 1024
MAX_READERS: Final = 1024
SPARE_TRANSACTIONS: Final = 8
"""Ended read transactions that are kept to be renewed, which is cheaper than a new one."""
_LMDB_MAJOR: Final = 0
"""The 0.9 format; the 1.0 engine in the same package is not used."""
FIXED_NAMES: Final = ("meta", "sess", "unref")


@dataclass(frozen=True, slots=True)
class Handles:
    """The open databases by role; the numbers are table, index and ring slots."""

    meta: Handle = None
    sess: Handle = None
    unref: Handle = None
    records: Mapping[int, Handle] = field(default_factory=dict)
    graves: Mapping[int, Handle] = field(default_factory=dict)
    indexes: Mapping[int, Handle] = field(default_factory=dict)
    log: Mapping[int, Handle] = field(default_factory=dict)
    logx: Mapping[int, Handle] = field(default_factory=dict)


def record_name(slot: int) -> str:
    """Return the name of a table's records."""
    return f"r{slot}"


def grave_name(slot: int) -> str:
    """Return the name of a table's graves."""
    return f"g{slot}"


def index_name(slot: int) -> str:
    """Return the name of an index."""
    return f"x{slot}"


def log_name(ring_slot: int) -> str:
    """Return the name of a log segment's entries."""
    return f"log.{ring_slot:02d}"


def logx_name(ring_slot: int) -> str:
    """Return the name of a log segment's index."""
    return f"logx.{ring_slot:02d}"


class Environment:
    """One open LMDB environment. Not for use before a fork, nor twice in a process.

    Args:
        path: A directory that exists.
        map_size: Largest size of the data file in bytes.
        readonly: Open for reading beside the process that writes.

    Raises:
        FormatMismatch: The file is none of this engine's.
        StorageFailed: It cannot be opened, or is cut off.
    """

    def __init__(self, path: Path, *, map_size: int, readonly: bool) -> None:
        self._path = path
        self._file_path = str(path / FILE_NAME)
        self._map_size = map_size
        self.readonly = readonly
        self.generation = 0
        self.handles = Handles()
        self._open()

    def _open(self) -> None:
        check_complete(self._path)
        try:
            self._lmdb = lmdb.open(
                str(self._path),
                map_size=self._map_size,
                readonly=self.readonly,
                create=not self.readonly,
                subdir=True,
                sync=True,
                metasync=True,
                map_async=False,
                writemap=False,
                mode=0o600,
                max_dbs=MAX_DATABASES,
                max_readers=MAX_READERS,
                max_spare_txns=SPARE_TRANSACTIONS,
                lib_version=_LMDB_MAJOR,
            )
            try:
                self._open_existing()
            except BaseException:
                self._lmdb.close()
                raise
        except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError) as error:
            raise FormatMismatch("the data file is none of this engine's format") from error
        except lmdb.Error as error:
            raise StorageFailed(f"the data file cannot be opened: {error.reason}") from error

    def _open_existing(self) -> None:
        self._file = os.stat(self._file_path)
        self.handles = Handles()
        self.discover()

    def discover(self) -> None:
        """Open the databases that exist and are not open yet.

        Outside of transactions: a handle is of no use to those that have begun before.
        """
        opened = {
            name: self._lmdb.open_db(name.encode(), dupsort=name.startswith("x"), create=False)
            for name in sorted(raw.decode() for raw in self._lmdb.dbs())
            if not self._has(name)
        }
        self._add(opened)

    def ensure(self, names: Iterable[str]) -> None:
        """Create and open the databases that are not open yet, in one commit.

        Raises:
            lmdb.Error: Nothing was created.
        """
        missing = [name for name in dict.fromkeys(names) if not self._has(name)]
        if not missing:
            return
        with self._lmdb.begin(write=True) as txn:
            opened = {
                name: self._lmdb.open_db(name.encode(), txn=txn, dupsort=name.startswith("x"))
                for name in missing
            }
        self._add(opened)

    def _has(self, name: str) -> bool:
        if name in FIXED_NAMES:
            return getattr(self.handles, name) is not None
        role, number = _role_of(name)
        return number in getattr(self.handles, role)

    def _add(self, opened: Mapping[str, Handle]) -> None:
        changes: dict[str, Any] = {}
        for name, handle in opened.items():
            if name in FIXED_NAMES:
                changes[name] = handle
                continue
            role, number = _role_of(name)
            changes.setdefault(role, dict(getattr(self.handles, role)))[number] = handle
        self.handles = replace(self.handles, **changes)

    def read(self) -> Transaction:
        """Begin a read transaction; the caller ends it."""
        return self._lmdb.begin()

    def get(self, database: Handle, key: bytes) -> bytes | None:
        """Return one value as of the last commit, of whichever process."""
        transaction = self._lmdb.begin(database)
        try:
            return transaction.get(key)
        finally:
            transaction.abort()

    def write(self) -> Transaction:
        """Begin the write transaction; the caller ends it."""
        return self._lmdb.begin(write=True)

    def is_in_place(self) -> bool:
        """Tell whether the file that is open is still the one in the directory.

        A file that was deleted or moved takes writes as before, and they are lost with it.
        """
        try:
            return os.path.samestat(self._file, os.stat(self._file_path))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def page_size(self) -> int:
        """Return the size of a page in bytes."""
        return self._lmdb.stat()["psize"]

    def used_bytes(self) -> int:
        """Return the size of the data file that is in use."""
        return (self._lmdb.info()["last_pgno"] + 1) * self.page_size()

    def readers(self) -> int:
        """Return how many reader slots are in use."""
        return self._lmdb.info()["num_readers"]

    def check_readers(self) -> int:
        """Free the reader slots of dead processes and return how many there were."""
        return self._lmdb.reader_check()

    def copy_to(self, descriptor: int) -> None:
        """Write the data file as of now to an open file, without the pages that are free.

        One read transaction as long as the copy takes: a process that writes meanwhile
        reuses no page. Other threads run meanwhile.

        Raises:
            lmdb.Error: What was written is worth nothing.
        """
        self._lmdb.copyfd(descriptor, compact=True)

    def is_usable(self) -> bool:
        """Tell whether a transaction can begin; not so after a failed meta write."""
        try:
            self._lmdb.begin(write=not self.readonly).abort()
        except lmdb.Error:
            return False
        return True

    def reopen_readonly(self) -> None:
        """Close and open again for reading: the way out of a failed commit.

        Transactions that are still open end here. Handles get a new generation.

        Raises:
            StorageFailed: It cannot be opened again.
        """
        self._lmdb.close()
        self.readonly = True
        self.generation += 1
        self._open()

    def close(self) -> None:
        """Close; transactions that are still open end."""
        self._lmdb.close()


def _role_of(name: str) -> tuple[str, int]:
    if name.startswith("logx."):
        return "logx", int(name[5:])
    if name.startswith("log."):
        return "log", int(name[4:])
    roles = {"r": "records", "g": "graves", "x": "indexes"}
    if name[0] not in roles or not name[1:].isdigit():
        raise FormatMismatch("the data file has a database that this version does not know")
    return roles[name[0]], int(name[1:])


def is_disk_full(error: lmdb.Error) -> bool:
    """Tell whether the operating system said that the disk or a quota is full."""
    return error.code in NO_SPACE
