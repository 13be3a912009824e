"""The format number of a data directory, and what is done to it as a whole.

Reads the row ``format`` without judging it, for commands that say what a directory is
before anything opens it; raises it in one transaction with the change that it stands
for; and gives the log another identity.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from lyredb.errors import DiskFull, FormatMismatch, StorageFailed
from lyredb.storage import meta
from lyredb.storage.data_directory import DirectoryLock
from lyredb.storage.data_file import FILE_NAME
from lyredb.storage.environment import (
    EngineError,
    Environment,
    Handles,
    MapFull,
    Transaction,
    is_disk_full,
)

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

Change: TypeAlias = Callable[[Transaction, Handles], None]
"""Rewrites what a format changed, in the transaction that also writes its number."""

_formats: Final = msgspec.msgpack.Decoder(meta.Format)


def has_database(path: Path) -> bool:
    """Tell whether there is a data file in a directory."""
    return (path / FILE_NAME).is_file()


def read_format(path: Path, *, map_size: int) -> meta.Format:
    """Return the row ``format`` of a data directory as it is, known to us or not.

    Works beside a server that writes the directory.

    Raises:
        FormatMismatch: The data file is none of this engine's, or the row is damaged.
        StorageFailed: There is no data in the directory, or it cannot be read.
    """
    environment = _open(path, map_size, readonly=True)
    try:
        return _read(environment)
    except EngineError as error:
        raise StorageFailed("the data file cannot be read") from error
    finally:
        environment.close()


def change_format(path: Path, change: Change, *, major: int, minor: int, map_size: int) -> None:
    """Run a change and write the new format number, both or neither.

    Raises:
        DataDirectoryInUse: A server has the directory open.
        DiskFull: Nothing was changed.
        StorageFailed, FormatMismatch: As `read_format`; nothing was changed.
    """
    lock = DirectoryLock(path)
    try:
        environment = _open(path, map_size, readonly=False)
        try:
            row = meta.encode_format(replace(_read(environment), major=major, minor=minor))
            with environment.write() as transaction:
                change(transaction, environment.handles)
                transaction.put(meta.FORMAT, row, db=environment.handles.meta)
        except EngineError as error:
            if isinstance(error, MapFull) or is_disk_full(error):
                raise DiskFull("there is no space to change the format") from error
            raise StorageFailed("the format could not be changed") from error
        finally:
            environment.close()
    finally:
        lock.release()


def renew_log_id(engine: Engine) -> bytes:
    """Give the log a new random identity and return it: positions of before are worth nothing.

    Close the engine afterwards; it goes on by the old one.

    Raises:
        StorageError: As every write.
    """
    log_id = os.urandom(16)
    with engine.write(below_minimum=True) as transaction:
        row = transaction.get(meta.FORMAT, db=engine.handles.meta)
        assert row is not None, "the engine is open"
        form = replace(_formats.decode(row), log_id=log_id)
        transaction.put(meta.FORMAT, meta.encode_format(form), db=engine.handles.meta)
    return log_id


def _open(path: Path, map_size: int, *, readonly: bool) -> Environment:
    if not has_database(path):
        raise StorageFailed("there is no database in this directory")
    return Environment(path, map_size=map_size, readonly=readonly)


def _read(environment: Environment) -> meta.Format:
    handle = environment.handles.meta
    row = None if handle is None else environment.get(handle, meta.FORMAT)
    if row is None:
        raise StorageFailed("the data directory was never completely made")
    try:
        return _formats.decode(row)
    except msgspec.DecodeError as error:
        raise FormatMismatch("the data directory's format row is damaged") from error
