"""The data directory: one process at a time, and enough space on its disk."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from lyredb.errors import DataDirectoryInUse, StorageFailed

_LOCK_FILE: Final = "lyredb.lock"


class DirectoryLock:
    """An exclusive lock on a data directory, held until `release` or the process ends.

    The lock is the file's flock; the process id in it is for the message only.

    Raises:
        DataDirectoryInUse: Somebody holds it, this very process included.
        StorageFailed: The directory cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(
                path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise StorageFailed(f"the data directory cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise DataDirectoryInUse(
                f"process {holder or 'unknown'} has the data directory open"
            ) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise StorageFailed(
                f"the data directory cannot be written: {error.strerror}"
            ) from error

    def release(self) -> None:
        """Let others have the directory. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def free_bytes(path: Path) -> int:
    """Return the space on the path's disk that an ordinary user may still fill."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
