"""A directory that is made beside its place and appears there whole, or not at all.

What is written goes into ``NAME.partial``, is flushed to the disk, and takes its name by
one rename. One that a kill has left is written over by the next; the lock tells it from
one that somebody is writing at this moment.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lyredb.errors import DiskFull, InvalidInput, StorageFailed
from lyredb.storage.data_directory import free_bytes, sync_directory

SUFFIX: Final = ".partial"


@contextmanager
def new_directory(
    place: Path, *, needs_bytes: int, files: Sequence[str], folders: Sequence[str] = ()
) -> Iterator[Path]:
    """Give a directory (0700) to be filled; at the end of the block it stands at its place.

    After an exception nothing is left of it.

    Args:
        place: Must not exist, or be an empty directory.
        needs_bytes: Refused at once when the disk has less.
        files: The names of all files that are made in it, those that are removed again too.
        folders: The names of all directories that are made in it.

    Raises:
        InvalidInput: The place is taken, or somebody is writing there.
        DiskFull: There is no space for it.
        StorageFailed: The operating system refuses.
    """
    draft = place.with_name(place.name + SUFFIX)
    try:
        with _locked(place, draft) as descriptor:
            _clear(draft, files, folders)
            _check_space(draft, needs_bytes)
            try:
                yield draft
                os.fsync(descriptor)
                os.rename(draft, place)
                sync_directory(place.parent)
            except BaseException:
                if draft.is_dir():
                    _clear(draft, files, folders)
                    draft.rmdir()
                raise
    except OSError as error:
        raise StorageFailed(f"{place} cannot be made: {error.strerror or error}") from error


@contextmanager
def _locked(place: Path, draft: Path) -> Iterator[int]:
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise InvalidInput(f"{place} exists and is no directory; choose another place")
    if place.is_dir() and any(place.iterdir()):
        raise InvalidInput(f"{place} is not empty and stays as it is; choose another place")
    place.parent.mkdir(parents=True, exist_ok=True)
    draft.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, draft)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, draft: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InvalidInput(f"another process is writing {draft}") from error


def _clear(draft: Path, files: Sequence[str], folders: Sequence[str]) -> None:
    for name in folders:
        if (draft / name).is_dir():
            shutil.rmtree(draft / name)
    for name in files:
        (draft / name).unlink(missing_ok=True)
    foreign = next(draft.iterdir(), None)
    if foreign is not None:
        raise InvalidInput(f"{foreign} is none of our files; move it away")


def _check_space(draft: Path, needs_bytes: int) -> None:
    free = free_bytes(draft)
    if free < needs_bytes:
        raise DiskFull(f"{needs_bytes} bytes are needed in {draft.parent}, {free} are free")
