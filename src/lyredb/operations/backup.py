"""A hot copy of a data directory, made by a process of its own beside the server.

The copy is one read transaction: exactly the state of one position, users, roles and
sessions included, without the pages that are free. Left out is what another place must
not have by a copy: the keys that sign tokens, the first administrator's password file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from lyredb.errors import DiskFull, FormatMismatch, InvalidInput, StorageFailed
from lyredb.operations.blob_copy import CopiedBlobs, copy_blobs
from lyredb.operations.draft import new_directory
from lyredb.storage.blob_files import DIRECTORY as BLOBS
from lyredb.storage.blob_files import BlobFiles
from lyredb.storage.data_directory import BACKUP_FILE
from lyredb.storage.data_file import FILE_NAME
from lyredb.storage.engine import Engine, wall_clock_ms
from lyredb.storage.environment import EngineError, Environment, is_disk_full
from lyredb.storage.format import has_database, read_format
from lyredb.storage.settings import StorageSettings

MANIFEST: Final = BACKUP_FILE
MANIFEST_FORMAT: Final = 1
_LOCK_FILE: Final = "lock.mdb"
_FILES: Final = (FILE_NAME, _LOCK_FILE, MANIFEST)
_FOLDERS: Final = (BLOBS,)
_LOOK_S: Final = 0.1
"""How often a running copy is looked at."""

Progress = Callable[[int, int], None]
"""Gets how much is done, and of how much."""


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """What a backup is.

    Attributes:
        manifest: Number of this form.
        version: Of the LyreDB that made it.
        format: Of the data, ``major.minor``.
        position: The last position that is in it.
        log_id: Identity of the log that it was taken from, hexadecimal.
        created_ms: When the copy was complete, since 1970.
        size_bytes: Of the data file.
        blobs: How many files of blobs there are.
        blob_bytes: Of all of them.
    """

    manifest: int
    version: str
    format: str
    position: int
    log_id: str
    created_ms: int
    size_bytes: int
    blobs: int = 0
    blob_bytes: int = 0


def back_up(
    data_dir: Path,
    destination: Path,
    *,
    version: str,
    on_progress: Progress = lambda done, of: None,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> Manifest:
    """Copy a data directory; on return the copy is on disk and has been opened once.

    Must not run in a process that has the directory open. While it runs, a server that
    writes reuses no page, so its data file grows by what it writes.

    Args:
        data_dir: May be in use.
        destination: Must not exist, or be an empty directory. Made 0700.
        version: Of this LyreDB, for the manifest.
        on_progress: Gets bytes done and bytes at most: the copy leaves free pages out.
        now_ms: The wall clock.

    Raises:
        InvalidInput: The destination is taken.
        DiskFull: There is no space for it; nothing is left there.
        StorageError: The directory cannot be read or the copy not be written.
    """
    if not has_database(data_dir):
        raise InvalidInput(f"there is no database in {data_dir}")
    settings = StorageSettings()
    environment = Environment(data_dir, map_size=settings.map_size, readonly=True)
    files = BlobFiles(data_dir)
    try:
        most = environment.used_bytes()
        # Space for all of it is not demanded: nobody knows how much of it is free pages.
        with (
            files.held(),
            new_directory(destination, needs_bytes=0, files=_FILES, folders=_FOLDERS) as draft,
        ):
            _copy(environment, draft / FILE_NAME, most, on_progress)
            copied = copy_blobs(draft, files, draft)
            manifest = _describe(draft, version, now_ms(), copied)
            write_synced(draft / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    finally:
        environment.close()
    whole = manifest.size_bytes + manifest.blob_bytes
    on_progress(whole, whole)
    return manifest


def read_manifest(source: Path) -> Manifest:
    """Return the manifest of a backup.

    Raises:
        InvalidInput: It is no backup, or not a whole one.
        FormatMismatch: A later version made it.
    """
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
        size = (source / FILE_NAME).stat().st_size
    except OSError as error:
        raise InvalidInput(f"{source} is no backup: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the manifest of {source} is damaged") from error
    if manifest.manifest != MANIFEST_FORMAT:
        raise FormatMismatch(
            f"the backup was made by LyreDB {manifest.version}; restore it by that"
        )
    if size != manifest.size_bytes:
        raise InvalidInput(f"the backup has {size} of {manifest.size_bytes} bytes")
    return manifest


def write_synced(path: Path, content: bytes) -> None:
    """Write a file (0600) and have it on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _copy(environment: Environment, path: Path, most: int, on_progress: Progress) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        copying = _Copying(environment, descriptor)
        copying.start()
        while copying.is_alive():
            copying.join(_LOOK_S)
            on_progress(min(os.fstat(descriptor).st_size, most), most)
        copying.check()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Copying(threading.Thread):
    """The copy in a thread, so that somebody can look how far it is."""

    def __init__(self, environment: Environment, descriptor: int) -> None:
        super().__init__(name="lyredb-backup", daemon=True)  # Ctrl-C must not wait for it
        self._environment = environment
        self._descriptor = descriptor
        self._error: EngineError | None = None

    def run(self) -> None:
        try:
            self._environment.copy_to(self._descriptor)
        except EngineError as error:
            self._error = error

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is None:
            return
        if is_disk_full(self._error):
            raise DiskFull("there is no space for the backup") from self._error
        raise StorageFailed(f"the data file cannot be copied: {self._error}") from self._error


def _describe(draft: Path, version: str, now_ms: int, copied: CopiedBlobs) -> Manifest:
    """Open the copy, which proves that it can be, and say what it is."""
    settings = StorageSettings()
    form = read_format(draft, map_size=settings.map_size)
    engine = Engine.open(draft, settings=settings, readonly=True)
    try:
        position, log_id = engine.position, engine.log_id.hex()
    finally:
        engine.close()
    (draft / _LOCK_FILE).unlink(missing_ok=True)  # LMDB's; each opening makes its own
    return Manifest(
        manifest=MANIFEST_FORMAT,
        version=version,
        format=f"{form.major}.{form.minor}",
        position=position,
        log_id=log_id,
        created_ms=now_ms,
        size_bytes=(draft / FILE_NAME).stat().st_size,
        blobs=copied.count,
        blob_bytes=copied.size_bytes,
    )
