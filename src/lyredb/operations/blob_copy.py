"""The files of blobs from one directory into another, as the copy of the store has them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lyredb.errors import DiskFull, StorageFailed
from lyredb.storage.blob_files import BlobFiles
from lyredb.storage.blob_rows import FILE, owner_of
from lyredb.storage.data_directory import NO_SPACE, sync_directory
from lyredb.storage.engine import Engine

_CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CopiedBlobs:
    """How many files were copied, and of which size together."""

    count: int
    size_bytes: int


def copy_blobs(store: Path, source: BlobFiles, destination: Path) -> CopiedBlobs:
    """Copy every file that a store knows; each is on disk when this returns.

    One file at a time, in parts: memory does not depend on how many or how large they are.

    Args:
        store: A directory whose data file says which files there are; nobody has it open.
        source: Where they are. They must be held while a server uses them.
        destination: A data directory in the making.

    Raises:
        DiskFull: There is no space for them.
        StorageFailed: One is missing, or cannot be read or written.
    """
    target = BlobFiles(destination)
    count = size_bytes = 0
    shards: set[Path] = set()
    engine = Engine.open(store, readonly=True)
    try:
        with engine.snapshot() as snapshot:
            for name, row in snapshot.scan_unref(FILE):
                id = name[len(FILE) :]
                if source.size_of(id) < 0:
                    if owner_of(row) is None:
                        continue  # dropped, and removed a moment ago
                    raise StorageFailed(f"the file {id.hex()} of a blob is missing")
                place = target.path_of(id)
                size_bytes += _copy(source.path_of(id), place)
                shards.add(place.parent)
                count += 1
    finally:
        engine.close()
    for shard in shards:
        sync_directory(shard)
    if shards:
        sync_directory(next(iter(shards)).parent)
    return CopiedBlobs(count, size_bytes)


def _copy(source: Path, place: Path) -> int:
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with source.open("rb") as reading, os.fdopen(descriptor, "wb", buffering=0) as writing:
            size = 0
            while part := reading.read(_CHUNK_BYTES):
                rest = memoryview(part)
                while rest:
                    rest = rest[writing.write(rest) or 0 :]
                size += len(part)
            os.fsync(descriptor)
        return size
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull("there is no space for the files of blobs") from error
        raise StorageFailed(f"the file of a blob cannot be copied: {error.strerror}") from error
