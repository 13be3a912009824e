"""What is done once when a data directory is opened: its first rows, and why it cannot be."""

from __future__ import annotations

import os

from lyredb.errors import DiskFull, StorageError, StorageFailed
from lyredb.storage import meta
from lyredb.storage.environment import (
    EngineError,
    Environment,
    MapFull,
    is_disk_full,
    log_name,
    logx_name,
)


def initialise(environment: Environment, now_ms: int) -> None:
    """Make what every store has; a store that has it stays as it is."""
    environment.ensure(("meta", "sess", "unref", log_name(0), logx_name(0)))
    handle = environment.handles.meta
    with environment.write() as transaction:
        if transaction.get(meta.FORMAT, db=handle) is not None:
            return
        form = meta.Format(
            meta.FORMAT_MAJOR,
            meta.FORMAT_MINOR,
            0,
            meta.ENGINE,
            environment.page_size(),
            os.urandom(16),
        )
        segment = meta.Segment(number=0, first_seq=1, first_ms=now_ms)
        transaction.put(meta.FORMAT, meta.encode_format(form), db=handle)
        transaction.put(meta.DIRECTORY, meta.encode_directory((segment,)), db=handle)
        transaction.put(meta.POSITION, meta.encode_position(0, 0, 0), db=handle)


def opening_error(error: EngineError) -> StorageError:
    """Return what it means that the environment could not be opened or made."""
    if is_disk_full(error):
        return DiskFull("there is no space for the data file on the disk of storage.path")
    if isinstance(error, MapFull):
        return DiskFull("storage.mapSize is too small for the data file")
    return StorageFailed("the data file cannot be opened or made")
