"""How a server is: its processes, how far each has read the log, what the store takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

import msgspec

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class ProcessStatus(msgspec.Struct, frozen=True, rename="camel"):
    """One process of the server.

    Attributes:
        role: What it is; ``server`` does everything in one process.
        worker: Its number, 0 for those that are no worker.
        pid: Process id.
        position: The log position that its subscribers have been told.
        connections: Open ones by protocol.
        memory_bytes: Resident, 0 when it cannot be told.
        state: ``starting``, ``ready``, ``waiting`` (to be started again) or ``ended``.
        restarts: How often it was started again.
    """

    role: Literal["supervisor", "writer", "worker", "server"]
    pid: int
    worker: int = 0
    position: int = 0
    connections: dict[str, int] = {}
    memory_bytes: int = 0
    state: str = "ready"
    restarts: int = 0


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """A server at one moment. Sizes are bytes.

    Attributes:
        version: Of LyreDB.
        format: Of the data directory.
        uptime_s: Since the server was started, whichever of its processes were since then.
        position: The last log position.
        floor: The first one that the log still holds.
        log_bytes: What the log takes.
        used_bytes: What of the data file is in use.
        failure: Why nothing can be written, or empty.
        processes: The supervisor first, then the writer, then workers by number.
    """

    version: str
    format: str
    uptime_s: float
    position: int
    floor: int
    log_bytes: int
    used_bytes: int
    failure: str
    processes: list[ProcessStatus]

    def lag_of(self, process: ProcessStatus) -> int:
        """How many log entries its subscribers are behind."""
        return max(0, self.position - process.position)


def memory_of(pid: int) -> int:
    """Return the resident bytes of a process, 0 when this system or process does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * _PAGE_BYTES
