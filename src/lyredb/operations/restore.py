"""A data directory from a backup.

The log gets a new identity: what happened at a position after the backup is not in it,
and other things will happen there. Subscribers that come back with a position of before
get current state and are told, instead of a gap that nobody sees.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lyredb.errors import LyreError, StorageFailed
from lyredb.operations.backup import Manifest, Progress, read_manifest
from lyredb.operations.blob_copy import CopiedBlobs, copy_blobs
from lyredb.operations.draft import new_directory
from lyredb.operations.upgrade import upgrade
from lyredb.security.session_rows import all_removals
from lyredb.storage.blob_files import DIRECTORY as BLOBS
from lyredb.storage.blob_files import BlobFiles
from lyredb.storage.check import check
from lyredb.storage.data_file import FILE_NAME
from lyredb.storage.engine import Engine
from lyredb.storage.format import renew_log_id
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.mutation import Applied
from lyredb.storage.writer import Writer

_CHUNK_BYTES: Final = 8 * 1024 * 1024
_NAMED_PROBLEMS: Final = 3
_FILES: Final = (FILE_NAME, "lock.mdb", "lyredb.lock")


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: the backup's manifest, and the log's new identity."""

    manifest: Manifest
    log_id: str


def restore(
    source: Path,
    data_dir: Path,
    *,
    on_copy: Progress = lambda done, of: None,
    on_check: Progress = lambda done, of: None,
) -> Restored:
    """Make a data directory from a backup; it appears whole and checked, or not at all.

    A backup of an earlier format is brought to the present one on the way.

    Args:
        source: A backup; stays as it is.
        data_dir: Must not exist, or be empty.
        on_copy: Gets bytes done, and of how many.
        on_check: Gets parts checked, and of how many.

    Raises:
        InvalidInput: The source is no whole backup, or the directory is not empty.
        FormatMismatch: A later version made it.
        StorageFailed: The backup is damaged: its records, indexes and log do not agree.
    """
    manifest = read_manifest(source)
    needs_bytes = manifest.size_bytes + manifest.blob_bytes
    with new_directory(data_dir, needs_bytes=needs_bytes, files=_FILES, folders=(BLOBS,)) as draft:
        _copy(source / FILE_NAME, draft / FILE_NAME, manifest.size_bytes, on_copy)
        upgrade(draft)
        copied = copy_blobs(draft, BlobFiles(source), draft)
        if copied != CopiedBlobs(manifest.blobs, manifest.blob_bytes):
            raise StorageFailed("the backup has not all files of its blobs")
        log_id = _verify(draft, manifest, on_check)
    return Restored(manifest, log_id)


def _copy(source: Path, place: Path, size: int, on_copy: Progress) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
        done = 0
        while chunk := reading.read(_CHUNK_BYTES):
            writing.write(chunk)
            done += len(chunk)
            on_copy(done, size)
        writing.flush()
        os.fsync(descriptor)


def _verify(draft: Path, manifest: Manifest, on_check: Progress) -> str:
    engine = Engine.open(draft)
    try:
        if (engine.position, engine.log_id.hex()) != (manifest.position, manifest.log_id):
            raise StorageFailed("the backup's data is not what its manifest says")
        problems = check(engine, on_check)
        if problems:
            named = "; ".join(problems[:_NAMED_PROBLEMS])
            raise StorageFailed(f"the backup is damaged, {len(problems)} problems: {named}")
        _end_logins(engine)
        return renew_log_id(engine).hex()
    finally:
        engine.close()


def _end_logins(engine: Engine) -> None:
    """Remove the sessions of browsers: some of them were ended after the backup."""
    if SESSION_SLOT not in engine.layouts:
        return
    writer = Writer(engine, call_soon=lambda callback: None)  # `commit_now` calls it
    while True:
        with engine.snapshot() as snapshot:
            removals = all_removals(snapshot)
        if not removals:
            return
        results: list[Applied | LyreError] = []
        writer.submit(removals, results.append)
        writer.commit_now()
        for result in results:
            if isinstance(result, LyreError):
                raise result
