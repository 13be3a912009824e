"""The data directory: one process at a time, and enough space on its disk."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Final

from lyredb.errors import DataDirectoryInUse, StorageFailed

LOCK_FILE: Final = "lyredb.lock"
BACKUP_FILE: Final = "backup.json"
"""What makes a directory a backup: its manifest."""
NO_SPACE: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
"""The error numbers of a full disk, or of a quota that is used up."""


class DirectoryLock:
    """An exclusive lock on a data directory, held until `release` or the process ends.

    The lock is the file's flock; the process id in it is for the message only. Processes
    that inherit its descriptor (`inherited`) hold it together: it is free when the last of
    them has ended or released it.

    Attributes:
        descriptor: To be inherited by children; -1 after `release`.

    Raises:
        DataDirectoryInUse: Somebody holds it, this very process included.
        StorageFailed: The directory cannot be made or written, belongs to another user,
            others may write it, or it is a backup.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_unsafe(path.stat())
            _refuse_backup(path)
            self.descriptor = os.open(
                path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise StorageFailed(f"the data directory cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self.descriptor, 20).decode("ascii", "replace").strip()
            os.close(self.descriptor)
            raise DataDirectoryInUse(
                f"process {holder or 'unknown'} has the data directory open"
            ) from error
        try:
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise StorageFailed(
                f"the data directory cannot be written: {error.strerror}"
            ) from error

    @classmethod
    def inherited(cls, descriptor: int) -> DirectoryLock:
        """Return the part of this process in a lock that its parent has taken."""
        os.set_inheritable(descriptor, False)
        lock = cls.__new__(cls)
        lock.descriptor = descriptor
        return lock

    def release(self) -> None:
        """Give up the part of this process. A second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _refuse_unsafe(status: os.stat_result) -> None:
    """Refuse a directory in which others could put files of their own in place of ours.

    That it is readable by others is no harm: each file in it is for its owner alone.
    """
    if status.st_uid != os.geteuid():
        raise StorageFailed(
            f"the data directory belongs to user {status.st_uid}, and this is user "
            f"{os.geteuid()}: run as its owner, or use a directory below it"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StorageFailed(
            "others than its owner may write the data directory: take that away (chmod 700)"
        )


def _refuse_backup(path: Path) -> None:
    """Refuse to write into a backup: its log has the identity of the one that it was taken from.

    What is written here would stand at positions that are others' there, and a subscriber
    who comes back with one of those would miss changes that nobody tells it of.
    """
    if (path / BACKUP_FILE).exists():
        raise StorageFailed(
            "the data directory is a backup: make one of it with `lyredb restore`, and use that"
        )


def free_bytes(path: Path) -> int:
    """Return the space on the path's disk that an ordinary user may still fill."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def sync_directory(path: Path) -> None:
    """Have the names in a directory on disk, as a file's `fsync` does not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
