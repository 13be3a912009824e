"""What a process uses, as the kernel counts it (proc(5))."""

from __future__ import annotations

import errno
import os
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_NO_FILE_LEFT: Final = (errno.EMFILE, errno.ENFILE)
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessStatistics:
    """Numbers of one process at one moment.

    Attributes:
        pid: Its number.
        cpu_s: User and system CPU seconds since it began.
        resident_bytes: Memory in use, pages of the data file that it has read included.
        open_files: Open descriptors, connections included.
        max_files: How many it may have.
        threads: Of the process, those of libraries included.
        started_s: When it began, in seconds since 1970.
    """

    pid: int
    cpu_s: float
    resident_bytes: int
    open_files: int
    max_files: int
    threads: int
    started_s: float


def process_statistics(pid: int | None = None) -> ProcessStatistics:
    """Return the numbers of a process of our user, this one by default.

    Elsewhere than on Linux only this process can be asked, and what that system does not
    tell is 0.

    Raises:
        ProcessLookupError: It has ended, or cannot be looked at.
    """
    if not sys.platform.startswith("linux"):
        return _portable()
    number = pid or os.getpid()
    folder = Path(f"/proc/{number}")
    try:
        line = (folder / "stat").read_text()
        open_files = _count_files(folder / "fd")
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"process {number} has ended") from None
    except OSError as error:
        if error.errno not in _NO_FILE_LEFT or number != os.getpid():
            raise ProcessLookupError(f"process {number} cannot be looked at: {error}") from None
        return _without_files()
    # The name, in parentheses, may contain anything; what follows its last ")" is fixed.
    fields = line[line.rindex(")") + 2 :].split()
    user, system = int(fields[11]), int(fields[12])
    return ProcessStatistics(
        pid=number,
        cpu_s=(user + system) / _TICKS_PER_S,
        resident_bytes=int(fields[21]) * _PAGE_BYTES,
        open_files=open_files,
        max_files=resource.prlimit(number, resource.RLIMIT_NOFILE)[0],
        threads=int(fields[17]),
        started_s=_booted_s() + int(fields[19]) / _TICKS_PER_S,
    )


def _count_files(folder: Path) -> int:
    """Return how many descriptors are open, without listing them where that is possible.

    A list of 10,000 connections costs 3 ms, in which nobody is served. The size of the folder
    is their number from Linux 6.2 on, and 0 before.
    """
    return os.stat(folder).st_size or len(os.listdir(folder))


def _booted_s() -> float:
    """Seconds since 1970 at the boot, by the clocks as they are set now."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _without_files() -> ProcessStatistics:
    """What can be told of this process when it may open no file any more.

    That is when the numbers are wanted most: all its files are open.
    """
    told = _portable()
    return replace(told, open_files=told.max_files)


def _portable() -> ProcessStatistics:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return ProcessStatistics(
        pid=os.getpid(),
        cpu_s=used.ru_utime + used.ru_stime,
        resident_bytes=0,
        open_files=0,
        max_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        threads=0,
        started_s=0.0,
    )
