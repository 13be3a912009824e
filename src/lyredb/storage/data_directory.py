"""The data directory: one process at a time, and enough space on its disk."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from lyredb.errors import DataDirectoryInUse, StorageFailed

LOCK_FILE: Final = "lyredb.lock"


class DirectoryLock:
    """An exclusive lock on a data directory, held until `release` or the process ends.

    The lock is the file's flock; the process id in it is for the message only. Processes
    that inherit its descriptor (`inherited`) hold it together: it is free when the last of
    them has ended or released it.

    Attributes:
        descriptor: To be inherited by children; -1 after `release`.

    Raises:
        DataDirectoryInUse: Somebody holds it, this very process included.
        StorageFailed: The directory cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
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


def free_bytes(path: Path) -> int:
    """Return the space on the path's disk that an ordinary user may still fill."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
