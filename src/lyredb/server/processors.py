"""How many processors this process may use: what is there, less what it may not have.

A container often sees all processors of its machine and is stopped most of the time when
it uses them: its share is the CPU quota of its control groups, not their number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lyredb.server.core_settings import MAX_WORKERS

_PROC: Final = Path("/proc/self/cgroup")
_MOUNT: Final = Path("/sys/fs/cgroup")


def usable_processors(*, groups: Path = _PROC, mount: Path = _MOUNT) -> int:
    """Return how many processors can be kept busy, at least 1.

    Args:
        groups: The control groups of this process (cgroups(7)).
        mount: Where their files are.
    """
    quotas = list(_quotas(groups, mount))
    return max(1, int(min([_affinity(), MAX_WORKERS, *quotas])))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(groups: Path, mount: Path) -> Iterator[float]:
    """Yield the quota of each control group that has one, in processors."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:  # no Linux, or no /proc: nothing limits us that we could read
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for folder in _up_from(mount, path):
                yield from _quota_v2(folder / "cpu.max")
        elif "cpu" in controllers.split(","):
            for folder in _up_from(mount / controllers, path):
                yield from _quota_v1(folder)


def _up_from(root: Path, path: str) -> Iterator[Path]:
    """Yield a group's folder and those above it: the tightest quota counts.

    In a container the path may be that of the host, whose folders are not to be seen; the
    mount then shows the container's own group.
    """
    folder = root / path.lstrip("/")
    while folder != root and root in folder.parents:
        yield folder
        folder = folder.parent
    yield root


def _quota_v2(file: Path) -> Iterator[float]:
    """``max 100000`` or ``150000 100000``: microseconds, of each so many."""
    quota, _, period = _read(file).partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        yield int(quota) / int(period)


def _quota_v1(folder: Path) -> Iterator[float]:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period):  # -1 is no quota
        yield int(quota) / int(period)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
