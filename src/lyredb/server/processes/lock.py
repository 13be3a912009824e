"""Taking the lock of the data directory, also right after another server was killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from lyredb.errors import DataDirectoryInUse
from lyredb.storage.data_directory import LOCK_FILE, DirectoryLock

ORPHANS_S: Final = 5.0
"""For the children of a supervisor that is dead: the kernel kills them when it dies, and one
that is in the middle of a commit ends with that."""
_LOOK_S: Final = 0.02


def take_lock(data_dir: Path) -> DirectoryLock:
    """Return the lock, which all processes of the server will hold together.

    It waits for children of a dead supervisor: while one of them lives, it has the ports too.

    Raises:
        DataDirectoryInUse: Another server has it; names the directory and what to do.
        StorageFailed: The directory cannot be made or written.
    """
    deadline = time.monotonic() + ORPHANS_S
    while True:
        try:
            return DirectoryLock(data_dir)
        except DataDirectoryInUse as error:
            if time.monotonic() >= deadline or holder_lives(data_dir):
                raise told(error, data_dir) from error
        time.sleep(_LOOK_S)


def told(error: DataDirectoryInUse, data_dir: Path) -> DataDirectoryInUse:
    """Return the error for the operator; its own message has no path, as clients may see it."""
    return DataDirectoryInUse(f"{error}: {data_dir}; stop that one or choose another (--data)")


def holder_lives(data_dir: Path) -> bool:
    """Tell whether the process that took the lock is still there."""
    try:
        pid = int((data_dir / LOCK_FILE).read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, IndexError):
        return True  # somebody has it, whoever that is
    return state not in ("Z", "X")
